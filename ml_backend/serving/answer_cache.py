"""Predictions that were computed before: for a known image and version nothing is decoded again.

Label Studio asks for the same task again and again: when it is opened, for *Retrieve predictions*,
after its labels changed. The image's bytes and the model decide the prediction, so their hash finds
it, whatever the task is called.
"""

from __future__ import annotations

import hashlib

from cachetools import LRUCache

from ml_backend.learners.base import Prediction
from ml_backend.system.bounded_cache import BoundedCache

BYTES = 64_000_000  # of all predictions kept, about

# Of a version: its string, the SHA-256 of the image file, µm a pixel where that is known.
Key = tuple[str, str, float | None]


class AnswerCache(BoundedCache[Key, Prediction]):
    """Keeps the predictions that were used last, made from FLOOR on; safe for threads.

    Args:
        size: Bytes, about, that they take together.
    """

    def __init__(self, size: int = BYTES) -> None:
        super().__init__(LRUCache(size, getsizeof=_measure))


def make_key(version: str, content: bytes, pixel_size: float | None) -> Key:
    """Make the key of an image's prediction.

    Args:
        version: Of the model.
        content: Of the image file.
        pixel_size: µm that a pixel shows, where it is known.
    """
    return version, hashlib.sha256(content).hexdigest(), pixel_size


def _measure(prediction: Prediction) -> int:
    """Estimate the bytes that a prediction takes."""
    named = len(prediction.choices) + sum(map(len, prediction.region_choices))
    return 1_000 + 120 * len(prediction.boxes) + 120 * named
