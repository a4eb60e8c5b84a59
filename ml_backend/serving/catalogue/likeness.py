"""How much two cells look alike: a short description of a picture, compared by its angle.

The description holds where edges run in which direction (histograms of oriented gradients, Dalal
and Triggs 2005, doi 10.1109/CVPR.2005.177) and how bright the parts are. It turns with the picture:
dividing cells lie at any angle, so it is compared at four turns and both mirrored ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_SIDE, _PARTS, _DIRECTIONS = 64, 4, 8
# Numbers of a description.
LENGTH = _PARTS * _PARTS * (_DIRECTIONS + 1)
# How much brightness counts beside edges.
_BRIGHTNESS = 0.5
# So many are compared at a time: they lie in a core's cache, and a product as small as that is not
# shared among threads, which on a busy machine wait for each other longer than it takes.
_CHUNK = 256


@dataclass(frozen=True)
class Looks:
    """How N cells look, ready to be compared.

    Attributes:
        vectors: (N, LENGTH) int8, their descriptions.
        lengths: (N,) float32, the Euclidean lengths of these.
    """

    vectors: np.ndarray
    lengths: np.ndarray


def join_looks(descriptions: Sequence[bytes]) -> Looks:
    """Lay descriptions of cells into one matrix; their lengths are worked out once."""
    vectors = np.frombuffer(b"".join(descriptions), np.int8).reshape(-1, LENGTH)
    lengths = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _CHUNK):
        part = vectors[start : start + _CHUNK].astype(np.float32)
        lengths[start : start + _CHUNK] = np.linalg.norm(part, axis=1)
    return Looks(vectors, np.maximum(lengths, 1e-9))


def describe_look(crop: np.ndarray) -> bytes:
    """Describe how a cell looks.

    Args:
        crop: (S, S, 3) uint8, the cell in its middle.

    Returns:
        LENGTH numbers of 8 bits with sign, as bytes.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    small = (small - small.mean()) / max(float(small.std()), 1.0)
    dx, dy = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
    strength = np.hypot(dx, dy)
    direction = (np.arctan2(dy, dx) % np.pi) / np.pi * _DIRECTIONS
    # Upright edges in the middle of a direction, so that a mirrored picture has the same ones.
    bins = direction.round().astype(int) % _DIRECTIONS
    part = np.arange(_SIDE) * _PARTS // _SIDE
    cell = part[:, None] * _PARTS + part[None, :]
    edges = np.bincount(
        (cell * _DIRECTIONS + bins).ravel(),
        strength.ravel(),
        _PARTS * _PARTS * _DIRECTIONS,
    ).reshape(_PARTS, _PARTS, _DIRECTIONS)
    edges_share = edges / max(float(np.linalg.norm(edges)), 1e-9)
    light = cv2.resize(small, (_PARTS, _PARTS), interpolation=cv2.INTER_AREA)
    light = light / max(float(np.linalg.norm(light)), 1e-9) * _BRIGHTNESS
    vector = np.concatenate([edges_share.ravel(), light.ravel()])
    vector *= 127 / max(float(np.abs(vector).max()), 1e-9)
    return vector.round().astype(np.int8).tobytes()


def compare_looks(wanted: bytes, looks: Looks) -> np.ndarray:
    """Compare cells with one of them.

    Args:
        wanted: The description of that one.
        looks: Those of the N others.

    Returns:
        (N,) how much each looks like it: 1 is the same, at the turn that fits best.
    """
    turned = np.stack(_turn(np.frombuffer(wanted, np.int8).astype(np.float32)))
    turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-9)
    likeness = np.empty(len(looks.lengths), np.float32)
    for start in range(0, len(likeness), _CHUNK):
        others = looks.vectors[start : start + _CHUNK].astype(np.float32)
        likeness[start : start + _CHUNK] = (turned @ others.T).max(axis=0)
    return likeness / looks.lengths


def _turn(vector: np.ndarray) -> list[np.ndarray]:
    """The description of the same picture, turned by quarters and mirrored."""
    edges = vector[: -_PARTS * _PARTS].reshape(_PARTS, _PARTS, _DIRECTIONS)
    light = vector[-_PARTS * _PARTS :].reshape(_PARTS, _PARTS)
    found = []
    for mirrored in (False, True):
        if mirrored:
            # Directions run the other way round: θ becomes π - θ.
            backwards = -np.arange(_DIRECTIONS) % _DIRECTIONS
            edges, light = edges[:, ::-1, backwards], light[:, ::-1]
        for quarters in range(4):
            # A quarter turn moves each direction by half of all directions.
            moved = np.roll(edges, quarters * _DIRECTIONS // 2, axis=2)
            found.append(
                np.concatenate(
                    [np.rot90(moved, quarters).ravel(), np.rot90(light, quarters).ravel()]
                )
            )
    return found
