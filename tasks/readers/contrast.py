"""What is black and white in a scan whose samples have more than 8 bits: by a few of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import pyvips  # type: ignore[import-untyped]

from ml_backend.imaging.decode import (
    UnreadableImage,
    convert_to_rgb,
    find_contrast_limits,
    stretch_contrast,
)
from tasks.readers.planes import CUT_OFF, Rendering

SAMPLED_PIXELS = 1_000_000  # of a scan, which the percentiles are taken of
SAMPLED_PLANES = 16


@runtime_checkable
class SampledPlane(Protocol):
    """A plane of which a few samples can be read."""

    @property
    def deep(self) -> bool:
        """Whether its samples have more than 8 bits and must be stretched to be shown."""
        ...

    def sample(self, pixels: int) -> np.ndarray:
        """Read about so many of its px, evenly chosen: (H, W, C) in its own numbers."""
        ...


class Contrast:
    """What is black and white in planes of one series of a file.

    Attributes:
        planes: Those whose samples say what is black and white, where nothing else does.
    """

    def __init__(self, dtype: np.dtype) -> None:
        """Take the type of the samples."""
        self.planes: list[SampledPlane] = []
        self._dtype = dtype
        self._limits: tuple[float, float] | None = None

    def apply(self, rendering: Rendering) -> None:
        """Use the limits that a whole scan is shown with, if it has any for this type."""
        self._limits = rendering.limits_of(self._dtype) or self._limits

    def limits(self) -> tuple[float, float]:
        """Return what is black and what is white, measured where it is not known yet.

        Raises:
            UnreadableImage: No plane can be sampled.
        """
        if self._limits is None:
            samples = [*_samples(self.planes)]
            if not samples:
                raise UnreadableImage(CUT_OFF)
            self._limits = find_contrast_limits(np.concatenate(samples))
        return self._limits

    def make_renderer(self, deep: bool) -> Callable[[np.ndarray], np.ndarray]:
        """Return what makes (H, W, 3) uint8 RGB of samples (H, W, C).

        Args:
            deep: Whether the samples have more than 8 bits; they are stretched then.
        """
        if not deep:
            return lambda samples: convert_to_rgb(samples, "srgb")
        limits = self.limits()
        return lambda samples: stretch_contrast(samples, limits)


def measure_limits(planes: Sequence[SampledPlane]) -> tuple[tuple[str, float, float], ...]:
    """Measure what is black and white in all of these planes.

    Returns:
        (name of the type, black, white) for each type of samples; see `Rendering.limits`.
    """
    by_type: dict[str, list[np.ndarray]] = {}
    for samples in _samples(planes):
        by_type.setdefault(samples.dtype.name, []).append(samples)
    return tuple(
        (name, *find_contrast_limits(np.concatenate(samples)))
        for name, samples in sorted(by_type.items())
    )


def _samples(planes: Sequence[SampledPlane]) -> Iterator[np.ndarray]:
    """Of up to SAMPLED_PLANES of the planes (N, 1, 1) each, together about SAMPLED_PIXELS."""
    step = max(1, math.ceil(len(planes) / SAMPLED_PLANES))
    chosen = planes[step // 2 :: step]
    for plane in chosen:
        try:
            yield plane.sample(SAMPLED_PIXELS // len(chosen)).reshape(-1, 1, 1)
        except (pyvips.Error, OSError, ValueError):
            continue  # the reason is given when the plane is read


def choose_stride(width: int, height: int, pixels: int) -> int:
    """Return every how many of its columns and rows leave a plane about so many px."""
    return max(1, math.isqrt(width * height // max(1, pixels)))
