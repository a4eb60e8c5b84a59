"""What makes generated cells look natural, by its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.demo.synthetic_texture import (
    blur,
    compute_smoothstep,
    make_disc,
    make_outline,
    make_smooth_noise,
)


@pytest.mark.parametrize("grain", [3.0, 10.0])
def test_noise_has_mean_0_deviation_1_and_spots_of_its_grain(grain: float) -> None:
    noise = make_smooth_noise(np.random.default_rng(1), (400, 500), grain)
    assert noise.shape == (400, 500) and noise.dtype == np.float32
    assert abs(noise.mean()) < 0.1 and 0.8 < noise.std() < 1.3
    neighbours = np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]
    far = np.corrcoef(noise[:, : -int(3 * grain)].ravel(), noise[:, int(3 * grain) :].ravel())[0, 1]
    assert neighbours > 0.7 and abs(far) < 0.15


@given(st.floats(0, 1), st.integers(0, 1000))
def test_an_outline_is_closed_and_a_circle_without_roughness(roughness: float, seed: int) -> None:
    angles = np.array([-np.pi, 0.0, 1.0, np.pi])
    radius = make_outline(np.random.default_rng(seed), angles, roughness)
    assert (
        radius[0] == pytest.approx(radius[-1]) and (radius >= 0.6).all() and (radius <= 1.5).all()
    )
    assert np.allclose(make_outline(np.random.default_rng(seed), angles, 0.0), 1)


@given(st.floats(2, 40), st.floats(0.3, 1), st.integers(0, 1000))
def test_a_smooth_disc_has_the_area_of_its_ellipse(
    radius: float, stretch: float, seed: int
) -> None:
    radii = (radius, radius * stretch)
    rho, x, y = make_disc(np.random.default_rng(seed), radii)
    assert rho.shape == x.shape == y.shape
    assert rho[rho.shape[0] // 2, rho.shape[1] // 2] == 0
    # Pixels are counted whole: the count is off by the outline's length at most.
    assert abs((rho < 1).sum() - np.pi * radii[0] * radii[1]) < 2 * np.pi * radius
    assert rho[0].min() > 1 and rho[-1].min() > 1  # all of it is on the patch


@given(st.floats(-5, 5), st.floats(0.01, 2))
def test_a_smoothstep_rises_from_0_to_1_and_is_a_half_in_the_middle(
    depth: float, width: float
) -> None:
    low, value, high = compute_smoothstep(np.array([depth - 0.1, depth, depth + 0.1]), width)
    assert 0 <= low <= value <= high <= 1
    at = compute_smoothstep(np.array([-width, 0.0, width]), width)
    assert at.tolist() == pytest.approx([0, 0.5, 1])


@given(st.floats(0.5, 4))
def test_blur_loses_no_light(sigma: float) -> None:
    light = np.zeros((9, 7), np.float32)
    light[4, 3] = 5
    blurred = blur(light, sigma)
    assert blurred.sum() == pytest.approx(5, rel=1e-3)
    assert blurred.shape == (9 + 2 * int(np.ceil(3 * sigma)), 7 + 2 * int(np.ceil(3 * sigma)))
