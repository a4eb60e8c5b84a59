"""Groups of pollen grains: as many as their name says."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.demo.synthetic_tetrads import ARRANGEMENTS, generate_group

GRAINS = {"Monad": 1, "Dyad": 2, "Triad": 3, "Tetrad": 4}


def test_every_arrangement_has_the_grains_of_its_name() -> None:
    assert {name: {len(grains) for grains in ways} for name, ways in ARRANGEMENTS.items()} == {
        name: {count} for name, count in GRAINS.items()
    }


@pytest.mark.parametrize("name", GRAINS)
def test_the_light_of_a_group_grows_with_its_grains(name: str) -> None:
    single, group = (
        np.median(
            [generate_group(np.random.default_rng(seed), kind, 11.0).sum() for seed in range(12)]
        )
        for kind in ("Monad", name)
    )
    assert group / single == pytest.approx(GRAINS[name], rel=0.25)
    light = generate_group(np.random.default_rng(0), name, 11.0)
    assert light.dtype == np.float32 and light.ndim == 3 and light.shape[2] == 3
    edge = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    assert np.abs(edge).max() < 0.05 * light.max()
