"""The tone of a picture brought to that of others: mean and deviation, contrast, gamma."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tone:
    """How grey values are set.

    The defaults are those of Matsumoto et al. 2025 for chromosomes in bright field: with them the
    ground becomes white, and what is darker than it stands out.

    Attributes:
        mean: Of the grey values of the whole image, 0..255.
        deviation: Their standard deviation.
        contrast: Factor after that.
        brightness: Added after the factor.
        gamma: Power of the share of white, at last; more than 1 darkens.
    """

    mean: float = 90.0
    deviation: float = 16.0
    contrast: float = 3.0
    brightness: float = 30.0
    gamma: float = 3.0

    def __post_init__(self) -> None:
        if self.deviation <= 0 or self.contrast <= 0 or self.gamma <= 0:
            raise ValueError("deviation, contrast and gamma of a tone are greater than 0")


def set_tone(pixels: np.ndarray, tone: Tone) -> np.ndarray:
    """Set the tone of a whole image: 255 · (clip(contrast · normalised + brightness) / 255)^gamma.

    Every channel gets the same change, so that hues stay. An image of one grey stays one.

    Args:
        pixels: (H, W, 3) uint8.
        tone: What it is set to.

    Returns:
        (H, W, 3) uint8.
    """
    values = np.arange(256, dtype=np.float64)
    normalised = (values - pixels.mean()) / (pixels.std() or 1.0) * tone.deviation + tone.mean
    stretched = np.clip(tone.contrast * normalised + tone.brightness, 0, 255)
    table = np.round(255 * (stretched / 255) ** tone.gamma).astype(np.uint8)
    return table[pixels]
