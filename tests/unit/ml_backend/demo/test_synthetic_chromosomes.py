"""Dividing cells: the light of each phase, and how many groups it shows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ml_backend.demo.synthetic_chromosomes import (
    Karyotype,
    generate_anaphase,
    generate_metaphase,
    generate_prophase,
    generate_telophase,
)

CELL = Karyotype(
    count=16,
    length=60,
    thickness=8,
    nucleus=45,
    grain=4,
    contrast=0.15,
    nucleoli=2,
    chromocentres=0,
)


@pytest.mark.parametrize(
    "generate", [generate_prophase, generate_metaphase, generate_anaphase, generate_telophase]
)
def test_a_cell_is_light_of_about_1_that_ends_inside_its_patch(generate: object) -> None:
    for seed in range(6):
        light = generate(np.random.default_rng(seed), CELL)  # type: ignore[operator]
        assert np.isfinite(light).all() and light.min() >= 0
        assert 0.7 < np.percentile(light[light > 0.2 * light.max()], 95) < 1.6
        edge = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
        assert edge.max() < 0.05 * light.max()


def test_late_phases_are_two_groups_and_earlier_ones_are_one() -> None:
    """Blurred, so that the rods of a group become one spot."""
    groups = {}
    for generate in (generate_prophase, generate_telophase):
        counts = []
        for seed in range(12):
            light = generate(np.random.default_rng(seed), CELL)
            blurred = cv2.GaussianBlur(light, (0, 0), 0.12 * CELL.nucleus)
            parts, _, stats, _ = cv2.connectedComponentsWithStats(
                (blurred > 0.4 * blurred.max()).astype(np.uint8)
            )
            counts.append(int((stats[1:parts, cv2.CC_STAT_AREA] > 100).sum()))
        groups[generate] = np.median(counts)
    assert groups == {generate_prophase: 1, generate_telophase: 2}
