"""Dividing cells as DAPI shows them: rods of light, bent, scattered or pulled apart."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.demo.synthetic_texture import blur, make_smooth_noise

STEPS = 14  # points of one chromosome's axis; smooth at every length that occurs


@dataclass(frozen=True)
class Karyotype:
    """The chromosomes and the interphase nucleus of a species.

    Attributes:
        count: Chromosomes of a cell.
        length: Of a metaphase chromosome, px.
        thickness: Of a metaphase chromosome, px.
        nucleus: Radius of an interphase nucleus, px.
        grain: Width of its chromatin spots, px.
        contrast: Their standard deviation as a share of the light.
        nucleoli: The largest number of dark nucleoli.
        chromocentres: The largest number of bright spots; 0 for none.
    """

    count: int
    length: float
    thickness: float
    nucleus: float
    grain: float
    contrast: float
    nucleoli: int
    chromocentres: int


def generate_prophase(rng: np.random.Generator, kind: Karyotype) -> np.ndarray:
    """Generate a prophase: threads that condense inside a nucleus that is still round.

    Returns:
        The light of one cell, float32 (H, W), about 1 where it is bright.
    """
    radii = kind.nucleus * rng.uniform(0.85, 1.15) * np.array([1, rng.uniform(0.75, 1)])
    thickness = max(3.0, kind.thickness * rng.uniform(0.6, 0.85))
    # As many threads as fill the same share of the nucleus, whatever the species.
    length = 0.9 * kind.nucleus
    room = np.pi * radii.prod()
    count = int(np.clip(rng.uniform(0.7, 1.1) * room / (length * thickness), 8, 90))
    axes = _confined(rng, count, length, radii)
    light = _rods(rng, axes, thickness, notch=False)
    # Between the threads the nucleus still glows.
    light = light + 0.35 * cv2.GaussianBlur(light, (0, 0), 0.12 * float(radii[0]))
    return _grainy(rng, light, 0.12, 2 * thickness)


def generate_metaphase(rng: np.random.Generator, kind: Karyotype) -> np.ndarray:
    """Generate a metaphase: a spread seen from the pole, or the plate seen from its side.

    Returns:
        The light of one cell, float32 (H, W), about 1 where it is bright.
    """
    return _spread(rng, kind) if rng.random() < 0.6 else _plate(rng, kind)


def generate_anaphase(rng: np.random.Generator, kind: Karyotype) -> np.ndarray:
    """Generate an anaphase: two groups on their way to the poles, arms towards each other.

    Returns:
        The light of one cell, float32 (H, W), about 1 where it is bright.
    """
    gap = rng.uniform(0.3, 1.0) * (0.6 * kind.length + 3 * kind.thickness)
    reach = _plate_reach(rng, kind) * 0.85
    half = kind.count
    along = np.concatenate([_spaced(rng, half, reach), _spaced(rng, half, reach)])
    centres = np.stack([along, rng.normal(0, 0.7 * kind.thickness, 2 * half)], 1)
    up = np.repeat([-1.0, 1.0], half)
    # The group's line bows: its ends lag behind the middle.
    bow = 0.3 * reach * (centres[:, 0] / reach) ** 2
    centres[:, 1] += up * (gap + kind.length * 0.3 - bow)
    arm = 0.5 * kind.length * rng.uniform(0.55, 1.25, 2 * half)
    opening = rng.uniform(0.05, 0.4, 2 * half)
    arms = []
    for side in (-1, 1):
        # An arm leaves its centromere towards the equator.
        heading = -up * (np.pi / 2 - side * opening) + rng.normal(0, 0.15, 2 * half)
        arms.append(_walk(rng, centres, heading, arm, bend=0.25))
    axes = _turned(rng, np.concatenate([arms[0][:, ::-1], arms[1]], axis=1))
    return _grainy(rng, _rods(rng, axes, 0.8 * kind.thickness, notch=False), 0.12, kind.thickness)


def generate_telophase(rng: np.random.Generator, kind: Karyotype) -> np.ndarray:
    """Generate a telophase: two dense, flat groups that become daughter nuclei.

    Returns:
        The light of one cell, float32 (H, W), about 1 where it is bright.
    """
    width = 0.6 * kind.nucleus * rng.uniform(0.85, 1.15)
    radii = np.array([width, width * rng.uniform(0.4, 0.65)])
    thickness = max(3.0, 0.7 * min(kind.thickness, 0.3 * width))
    length = max(0.8 * width, 3 * thickness)
    apart = radii[1] * rng.uniform(1.05, 1.6) + 0.5 * thickness
    count = int(np.clip(1.7 * np.pi * radii.prod() / (length * thickness), 7, 60))
    groups = []
    for side in (-1, 1):
        tilt = rng.normal(0, 0.15)
        turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
        groups.append(_confined(rng, count, length, radii) @ turn + [0, side * apart])
    axes = _turned(rng, np.concatenate(groups))
    light = _rods(rng, axes, thickness, notch=False)
    light = 0.65 * light + 0.5 * cv2.GaussianBlur(light, (0, 0), 0.7 * thickness)
    return _grainy(rng, light, 0.12, thickness)


def _spread(rng: np.random.Generator, kind: Karyotype) -> np.ndarray:
    cover = kind.count * (kind.length + kind.thickness) * kind.thickness
    loose = rng.uniform(1.1, 1.9) if rng.random() < 0.5 else rng.uniform(0.7, 1.05)
    radius = loose * np.sqrt(cover / np.pi) + 0.3 * kind.length
    radii = radius * np.array([1, rng.uniform(0.65, 1)])
    centres = _scattered(rng, kind.count, radii)
    length = kind.length * rng.uniform(0.65, 1.25, kind.count)
    heading = rng.uniform(0, 2 * np.pi, kind.count)
    axes = _walk(rng, centres, heading, length, bend=rng.uniform(0.4, 1.1))
    axes += (centres - axes[:, STEPS // 2])[:, None]
    light = _rods(rng, axes, kind.thickness, notch=True)
    return _grainy(rng, light, 0.12, kind.thickness)


def _plate(rng: np.random.Generator, kind: Karyotype) -> np.ndarray:
    reach = _plate_reach(rng, kind)
    centres = np.stack(
        [_spaced(rng, kind.count, reach), rng.normal(0, 0.6 * kind.thickness, kind.count)], 1
    )
    arms = []
    for side in (-1, 1):
        length = 0.5 * kind.length * rng.uniform(0.5, 1.2, kind.count)
        fan = 0.5 * centres[:, 0] / reach
        heading = side * (np.pi / 2 - fan) + rng.normal(0, 0.35, kind.count)
        arms.append(_walk(rng, centres, heading, length, bend=0.35))
    axes = _turned(rng, np.concatenate([arms[0][:, ::-1], arms[1]], axis=1))
    return _grainy(rng, _rods(rng, axes, kind.thickness, notch=False), 0.12, kind.thickness)


def _plate_reach(rng: np.random.Generator, kind: Karyotype) -> float:
    """Half the length of the metaphase plate in px."""
    return kind.thickness * np.sqrt(kind.count) * rng.uniform(0.75, 1.3)


def _spaced(rng: np.random.Generator, count: int, reach: float) -> np.ndarray:
    """Places along a plate from -reach to reach, roughly evenly filled: (count,) in px."""
    step = 2 * reach / count
    return np.linspace(-reach, reach, count) + rng.normal(0, 0.6 * step, count)


def _scattered(rng: np.random.Generator, count: int, radii: np.ndarray) -> np.ndarray:
    """Points in an ellipse, each the best of five candidates by its distance: (count, 2) px."""
    points = np.zeros((count, 2))
    for i in range(count):
        angle, depth = rng.uniform(0, 2 * np.pi, 5), np.sqrt(rng.random(5))
        tries = np.stack([depth * np.cos(angle), depth * np.sin(angle)], 1) * radii
        if i:
            nearest = np.hypot(*(tries[:, None] - points[None, :i]).transpose(2, 0, 1)).min(1)
            points[i] = tries[nearest.argmax()]
        else:
            points[i] = tries[0]
    return points


def _walk(
    rng: np.random.Generator,
    starts: np.ndarray,
    heading: np.ndarray,
    length: float | np.ndarray,
    *,
    bend: float,
) -> np.ndarray:
    """Smoothly bending lines from `starts` (N, 2): axes (N, STEPS, 2); `bend` in radians."""
    count = len(starts)
    # A steady curve, a kink near the middle (the centromere), and a little random wavering.
    at = np.linspace(-1, 1, STEPS)
    curve = rng.normal(0, bend, count)[:, None] * at * 0.6
    kink = rng.normal(0, bend, count)[:, None] * np.tanh(at * 5)
    waver = np.cumsum(rng.normal(0, 0.07, (count, STEPS)), axis=1)
    angle = np.asarray(heading)[:, None] + curve + kink + waver
    step = np.broadcast_to(np.asarray(length) / (STEPS - 1), count)[:, None]
    path = np.cumsum(np.stack([np.cos(angle), np.sin(angle)], 2) * step[..., None], axis=1)
    return starts[:, None] + path - path[:, :1]


def _confined(rng: np.random.Generator, count: int, length: float, radii: np.ndarray) -> np.ndarray:
    """Threads that wander inside an ellipse and turn at its wall: (count, STEPS * 2, 2) px."""
    steps = 2 * STEPS
    at = _scattered(rng, count, 0.95 * radii)
    heading = rng.uniform(0, 2 * np.pi, count)
    turning = rng.normal(0, 0.15, count)
    axes = np.empty((count, steps, 2))
    for i in range(steps):
        axes[:, i] = at
        turning = 0.8 * turning + rng.normal(0, 0.16, count)
        heading = heading + turning
        ahead = at + (length / steps) * np.stack([np.cos(heading), np.sin(heading)], 1)
        out = np.hypot(*(ahead / radii).T) > 1
        # At the wall a thread runs along it, as threads on the nuclear envelope do.
        wall = np.arctan2(at[:, 1], at[:, 0]) + np.pi / 2
        wall = np.where(np.cos(wall - heading) < 0, wall + np.pi, wall)
        inward = np.arctan2(-at[:, 1], -at[:, 0])
        along = np.arctan2(
            np.sin(wall) + 0.35 * np.sin(inward), np.cos(wall) + 0.35 * np.cos(inward)
        )
        heading = np.where(out, along, heading)
        at = at + (length / steps) * np.stack([np.cos(heading), np.sin(heading)], 1)
        over = np.maximum(np.hypot(*(at / radii).T), 1)
        at = at / over[:, None]
    return axes


def _turned(rng: np.random.Generator, axes: np.ndarray) -> np.ndarray:
    """The whole figure turned by a random angle."""
    turn = rng.uniform(0, 2 * np.pi)
    return axes @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def _rods(
    rng: np.random.Generator, axes: np.ndarray, thickness: float, *, notch: bool
) -> np.ndarray:
    """Light of rods around the axes (N, S, 2): a float32 patch, about 1 in a single rod.

    Where rods cross, their light adds, but less than in full: the overlap is thinner than
    two rods side by side. `notch` darkens the middle of each rod, the centromere.
    """
    margin = int(np.ceil(2.5 * thickness)) + 3
    low = np.floor(axes.min((0, 1))).astype(int) - margin
    size = np.ceil(axes.max((0, 1))).astype(int) + margin - low
    light = np.zeros((size[1], size[0]), np.float32)
    wide, narrow = max(1, round(thickness)), max(1, round(0.5 * thickness))
    for axis in axes - low:
        corner = np.maximum(np.floor(axis.min(0)).astype(int) - margin, 0)
        end = np.minimum(np.ceil(axis.max(0)).astype(int) + margin, size)
        rod = np.zeros((end[1] - corner[1], end[0] - corner[0]), np.uint8)
        points = [np.round((axis - corner) * 16).astype(np.int32)]
        cv2.polylines(rod, points, False, 150, wide, cv2.LINE_AA, 4)
        cv2.polylines(rod, points, False, 235, narrow, cv2.LINE_AA, 4)
        if notch:
            middle = points[0][len(axis) // 2 + int(rng.integers(-2, 3))]
            radius = round(0.45 * thickness * 16)
            cv2.circle(rod, middle.tolist(), radius, 120, -1, cv2.LINE_AA, 4)
        gain = rng.uniform(0.8, 1.15) / 235
        light[corner[1] : end[1], corner[0] : end[0]] += rod.astype(np.float32) * gain
    light = blur(light, max(0.8, 0.2 * thickness))
    return 1.6 * light / (1.0 + light)


def _grainy(
    rng: np.random.Generator, light: np.ndarray, contrast: float, grain: float
) -> np.ndarray:
    """The light with its fine structure, its brighter parts brought to about 1."""
    noise = make_smooth_noise(rng, light.shape, max(3.0, 0.8 * grain))
    glow = make_smooth_noise(rng, light.shape, max(light.shape) / 2.5)
    light = light / np.percentile(light[light > 0.2 * light.max()], 95)
    return light * np.clip(1 + contrast * noise + 0.1 * glow, 0.3, 1.8)
