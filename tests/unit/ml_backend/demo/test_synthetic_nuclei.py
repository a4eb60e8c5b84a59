"""Interphase nuclei and debris."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ml_backend.demo.synthetic_chromosomes import Karyotype
from ml_backend.demo.synthetic_nuclei import generate_debris, generate_interphase

CELL = Karyotype(16, 60, 8, 45, 4, 0.15, 0, 0)


def test_a_nucleus_is_one_round_body_of_the_species_size() -> None:
    radii = []
    for seed in range(20):
        light = generate_interphase(np.random.default_rng(seed), CELL)
        body = (cv2.GaussianBlur(light, (0, 0), 4) > 0.3).astype(np.uint8)
        parts, _, stats, _ = cv2.connectedComponentsWithStats(body)
        areas = np.sort(stats[1:parts, cv2.CC_STAT_AREA])
        assert areas[-1] > 0.9 * areas.sum()
        radii.append(np.sqrt(areas.sum() / np.pi))
    assert 0.8 * CELL.nucleus < np.median(radii) < 1.2 * CELL.nucleus


def test_chromocentres_are_the_brightest_spots() -> None:
    plain, spotted = (
        [generate_interphase(np.random.default_rng(seed), kind).max() for seed in range(10)]
        for kind in (CELL, replace(CELL, chromocentres=12))
    )
    assert np.median(spotted) > np.median(plain)


def test_debris_is_dimmer_than_a_nucleus_in_all() -> None:
    nucleus, debris = (
        np.median([generate(np.random.default_rng(seed), CELL).sum() for seed in range(20)])
        for generate in (generate_interphase, generate_debris)
    )
    assert 0 < debris < nucleus
