"""Projections: the brightest voxel on each line of sight, to scale in all three."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml_backend.imaging.projections import colour_channels, compose_picture, project_stack

STACKS = arrays(
    np.uint8, st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(1, 6), st.just(2))
)


@given(STACKS)
def test_of_cubic_voxels_a_projection_is_the_maximum(stack: np.ndarray) -> None:
    found = project_stack(stack, (0.3, 0.3, 0.3))
    for axis, number in (("z", 0), ("y", 1), ("x", 2)):
        np.testing.assert_array_equal(found[axis], stack.max(axis=number))  # type: ignore[index]


@pytest.mark.parametrize("voxel", [(0.6, 0.2, 0.2), (0.2, 0.2, 0.2), (0.3, 0.1, 0.2)])
def test_a_ball_stays_round_however_far_the_planes_lie_apart(voxel: tuple) -> None:
    grid = np.indices([round(20 / size) for size in voxel]).astype(float)
    place = [(axis + 0.5) * size - 10 for axis, size in zip(grid, voxel, strict=True)]
    ball = (np.sqrt(sum(axis**2 for axis in place)) < 6).astype(np.uint8) * 255
    for picture in project_stack(np.stack([ball, ball], axis=3), voxel).values():
        inside = picture[..., 0] > 127
        height, width = (int(inside.any(axis=1 - axis).sum()) for axis in (0, 1))
        assert picture.shape[:2] == pytest.approx((20 / min(voxel),) * 2, abs=1)
        assert height == pytest.approx(width, rel=0.07)
        assert height * min(voxel) == pytest.approx(12, rel=0.07)


@pytest.mark.parametrize(
    ("shape", "voxel", "words"),
    [
        ((1, 5, 5, 2), (1, 1, 1), "a single plane"),
        ((5, 5, 2), (1, 1, 1), "axes Z, Y, X and channels"),
        ((5, 0, 5, 2), (1, 1, 1), "axes Z, Y, X and channels"),
        ((5, 5, 5, 2), (0, 1, 1), "has no size"),
        ((5, 5, 5, 2), (1, float("nan"), 1), "has no size"),
    ],
)
def test_what_cannot_be_projected_is_said(shape: Any, voxel: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        project_stack(np.zeros(shape, np.uint8), voxel)


def test_the_composite_shows_both_channels_of_the_plane_beside_three_projections() -> None:
    stack = np.zeros((8, 16, 16, 2), np.uint8)
    stack[2:6, 4:12, 4:12, 0] = 200
    stack[:, :2, :, 1] = 100
    projections = project_stack(stack, (2, 1, 1))
    picture = compose_picture(stack[4], projections, height=64)
    assert picture.shape == (64, 5 * 64 + 4 * 4, 3)
    dna, membrane = picture[:, :64], picture[:, 68:132]
    assert dna[32, 32].tolist() == [200] * 3 and membrane[32, 32].tolist() == [0] * 3
    assert membrane[0, 32].tolist() == [100] * 3
    along_z = picture[:, 136:200]
    assert along_z[32, 32].tolist() == [200, 0, 200] and along_z[0, 32].tolist() == [0, 100, 0]
    assert colour_channels(stack[4]).shape == (16, 16, 3)
