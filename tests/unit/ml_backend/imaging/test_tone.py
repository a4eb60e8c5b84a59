"""Tone: the formula by hand, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml_backend.imaging.tone import Tone, set_tone

PLAIN = {"contrast": 1.0, "brightness": 0.0, "gamma": 1.0}


def test_a_value_by_hand() -> None:
    """Half 100, half 120: mean 110, deviation 10, so that 100 is 1 deviation below.

    90 - 16 = 74; 3 · 74 + 30 = 252; 255 · (252 / 255)³ = 246.09; the other half is white.
    """
    pixels = np.full((2, 2, 3), 100, np.uint8)
    pixels[1] = 120
    assert set_tone(pixels, Tone())[:, 0, 0].tolist() == [246, 255]


@given(arrays(np.uint8, (3, 4, 3)), st.floats(0.2, 5), st.floats(0.2, 5))
def test_brighter_stays_brighter(pixels: np.ndarray, contrast: float, gamma: float) -> None:
    toned = set_tone(pixels, Tone(contrast=contrast, gamma=gamma)).reshape(-1).astype(int)
    assert (np.diff(toned[np.argsort(pixels.reshape(-1))]) >= 0).all()


def test_mean_and_deviation_are_set() -> None:
    pixels = np.random.default_rng(0).normal(140, 9, (60, 60, 3)).round().astype(np.uint8)
    toned = set_tone(pixels, Tone(90, 16, **PLAIN))
    assert toned.mean() == pytest.approx(90, abs=0.1)
    assert toned.std() == pytest.approx(16, abs=0.1)


def test_a_blank_image_stays_one_and_a_tone_has_limits() -> None:
    assert set(set_tone(np.full((3, 3, 3), 7, np.uint8), Tone(**PLAIN)).flat) == {90}
    with pytest.raises(ValueError, match="greater than 0"):
        Tone(gamma=0)
