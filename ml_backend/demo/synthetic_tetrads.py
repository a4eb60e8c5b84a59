"""Pollen of a quartet (qrt) mutant: grains that stay together in fours, threes and twos."""

from __future__ import annotations

import numpy as np

from ml_backend.demo.synthetic_texture import compute_smoothstep, make_disc, make_smooth_noise

# How many grains of each kind of group, and where they may lie, in grain diameters.
ARRANGEMENTS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "Tetrad": (
        ((-0.46, -0.46), (0.46, -0.46), (-0.46, 0.46), (0.46, 0.46)),
        ((-0.8, 0), (0, -0.46), (0, 0.46), (0.8, 0)),
        ((0, 0), (0, -0.85), (0.74, 0.42), (-0.74, 0.42)),
        ((-0.5, -0.4), (0.45, -0.5), (0, 0.4), (0.95, 0.4)),
    ),
    "Triad": (
        ((-0.48, 0.28), (0.48, 0.28), (0, -0.55)),
        ((-0.85, 0.15), (0, -0.1), (0.8, 0.25)),
    ),
    "Dyad": (((-0.46, 0), (0.46, 0)),),
    "Monad": (((0.0, 0.0),),),
}
RIM = np.array([56, 48, -22], np.float32)  # RGB that the wall adds to the inside: yellow
INSIDE = np.array([68, 76, 46], np.float32)


def generate_group(rng: np.random.Generator, name: str, grain: float) -> np.ndarray:
    """Generate a group of grains.

    Args:
        rng: Where the randomness comes from.
        name: A key of ARRANGEMENTS.
        grain: The radius of a grain, px.

    Returns:
        Its light, float32 (H, W, 3) RGB in 0..255.
    """
    arrangements = ARRANGEMENTS[name]
    layout = np.array(arrangements[rng.integers(len(arrangements))]) * 1.72 * grain
    turn = rng.uniform(0, 2 * np.pi)
    layout = layout @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    layout += rng.normal(0, 0.09 * grain, layout.shape)
    reach = int(np.ceil(np.abs(layout).max() + 2.2 * grain))
    light = np.zeros((2 * reach + 1, 2 * reach + 1, 3), np.float32)
    for cx, cy in layout:
        patch = _grain(rng, grain * np.exp(rng.normal(0, 0.06)))
        side = len(patch)
        top, left = (round(c) + reach - side // 2 for c in (cy, cx))
        light[top : top + side, left : left + side] += patch
    return light


def _grain(rng: np.random.Generator, radius: float) -> np.ndarray:
    stretch = rng.uniform(0.68, 0.95)
    radii = (radius / np.sqrt(stretch), radius * np.sqrt(stretch))
    rho, x, y = make_disc(rng, radii, roughness=0.03, margin=1.45)
    soft = 1.5 / radius
    rim = np.exp(-(((rho - 0.82) / rng.uniform(0.2, 0.32)) ** 2))
    inside = compute_smoothstep(1 - rho, soft)
    # Lit from one side: the wall is brighter there.
    angle = rng.uniform(0, 2 * np.pi)
    lit = 1 + 0.35 * (x * np.cos(angle) + y * np.sin(angle)) / radius
    light = rim[..., None] * RIM + inside[..., None] * INSIDE * rng.uniform(0.8, 1.3)
    lit = lit + 0.13 * make_smooth_noise(rng, rho.shape, 2.5)
    return light * np.clip(lit, 0.5, 1.5)[..., None] * rng.uniform(0.75, 1.1)
