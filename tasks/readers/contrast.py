"""What is black and white in a scan whose samples have more than 8 bits: by a few of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyvips  # type: ignore[import-untyped]

from ml_backend.imaging.decode import UnreadableImage, as_rgb, contrast, stretched
from tasks.readers.planes import CUT_OFF

SAMPLED_PIXELS = 1_000_000  # of a scan, which the percentiles are taken of
SAMPLED_PLANES = 16


@runtime_checkable
class Sampled(Protocol):
    """A plane that a few of its numbers can be taken of: (H, W, C)."""

    @property
    def deep(self) -> bool:
        """Whether its samples have to be stretched to be shown."""
        ...

    def sample(self, pixels: int) -> np.ndarray: ...


class Shades:
    """What is black and white in a scan, found out when it is first asked for."""

    def __init__(self, limits: tuple[float, float] | None = None) -> None:
        self.planes: list[Any] = []
        self._limits = limits

    def limits(self) -> tuple[float, float]:
        if self._limits is None:
            samples = [*_samples(self.planes)]
            if not samples:
                raise UnreadableImage(CUT_OFF)
            self._limits = contrast(np.concatenate(samples))
        return self._limits

    def shown(self, deep: bool) -> Callable[[np.ndarray], np.ndarray]:
        """What makes (H, W, 3) uint8 RGB of samples (H, W, C): deep ones are stretched."""
        if not deep:
            return lambda samples: as_rgb(samples, "srgb")
        limits = self.limits()
        return lambda samples: stretched(samples, limits)


def ranges(planes: Sequence[Sampled]) -> tuple[tuple[str, float, float], ...]:
    """What is black and white in these planes, by the type of their samples; see `Showing`."""
    by_type: dict[str, list[np.ndarray]] = {}
    for one in _samples(planes):
        by_type.setdefault(one.dtype.name, []).append(one)
    return tuple((name, *contrast(np.concatenate(ones))) for name, ones in sorted(by_type.items()))


def _samples(planes: Sequence[Sampled]) -> Iterator[np.ndarray]:
    """Of up to SAMPLED_PLANES of the planes (N, 1, 1) each, together about SAMPLED_PIXELS."""
    step = max(1, math.ceil(len(planes) / SAMPLED_PLANES))
    chosen = planes[step // 2 :: step]
    for plane in chosen:
        try:
            yield plane.sample(SAMPLED_PIXELS // len(chosen)).reshape(-1, 1, 1)
        except (pyvips.Error, OSError, ValueError):
            continue  # said when it is its turn


def stride(width: int, height: int, pixels: int) -> int:
    """Every how many of its columns and rows leave a plane about so many px."""
    return max(1, math.isqrt(width * height // max(1, pixels)))
