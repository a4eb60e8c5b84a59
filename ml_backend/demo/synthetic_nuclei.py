"""What lies around dividing cells: interphase nuclei, torn chromatin, dust."""

from __future__ import annotations

import numpy as np

from ml_backend.demo.synthetic_chromosomes import Karyotype
from ml_backend.demo.synthetic_texture import blur, compute_smoothstep, make_disc, make_smooth_noise


def generate_interphase(rng: np.random.Generator, kind: Karyotype) -> np.ndarray:
    """Generate an interphase nucleus: round and grainy, with dark nucleoli.

    In some species it has bright chromocentres, too.

    Returns:
        Its light, float32 (H, W), about 1 where it is bright.
    """
    radius = kind.nucleus * np.exp(rng.normal(0, 0.18))
    stretch = rng.uniform(0.7, 1.0) if rng.random() < 0.85 else rng.uniform(0.4, 0.65)
    radii = (radius / np.sqrt(stretch), radius * np.sqrt(stretch))
    rho, x, y = make_disc(rng, radii, roughness=rng.uniform(0.02, 0.12), margin=1.7)
    edge = rng.uniform(0.05, 0.15)
    if rng.random() < 0.15:  # frayed, as if the squash had torn the membrane
        edge += 0.1
        rho = rho + rng.uniform(0.01, 0.03) * make_smooth_noise(rng, rho.shape, 0.15 * radius + 2)
    body = compute_smoothstep(1 - rho, edge) * (0.72 + 0.28 * np.sqrt(np.clip(1 - rho * rho, 0, 1)))
    fine = make_smooth_noise(rng, rho.shape, kind.grain)
    coarse = make_smooth_noise(rng, rho.shape, rng.uniform(3, 7) * kind.grain)
    body *= np.clip(1 + kind.contrast * (0.35 * fine + 0.4 * coarse), 0.3, 1.8)
    for _ in range(rng.integers(0, kind.nucleoli + 1)):
        cx, cy = _inside(rng, radii, 0.55)
        hole = radius * rng.uniform(0.16, 0.36)
        far = np.hypot(x - cx, (y - cy) * rng.uniform(0.8, 1.2)) / hole
        body *= 1 - rng.uniform(0.35, 0.65) * compute_smoothstep(1 - far, 0.25)
    for _ in range(kind.chromocentres and rng.integers(4, kind.chromocentres + 1)):
        cx, cy = _inside(rng, radii, 0.85)
        spot = radius * rng.uniform(0.07, 0.12)
        body += rng.uniform(0.5, 1.4) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spot**2))
    return blur(body.astype(np.float32), rng.uniform(1.0, 2.5))


def generate_debris(rng: np.random.Generator, kind: Karyotype) -> np.ndarray:
    """Generate the remnant of a nucleus: torn, smeared or speckled.

    Returns:
        Its light, float32 (H, W), about 1 where it is bright.
    """
    if rng.random() < 0.5:
        return _smear(rng, kind)
    radius = kind.nucleus * rng.uniform(0.6, 1.3)
    radii = (radius, radius * rng.uniform(0.4, 0.9))
    rho, x, y = make_disc(rng, radii, roughness=0.4, margin=1.6)
    body = 0.12 * compute_smoothstep(1 - rho, 0.3)
    for _ in range(rng.integers(15, 50)):
        cx, cy = _inside(rng, radii, 1.0)
        spot = radius * rng.uniform(0.02, 0.06) + 1
        body += rng.uniform(0.15, 0.8) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spot**2))
    return blur(body.astype(np.float32), rng.uniform(0.8, 2.0))


def _smear(rng: np.random.Generator, kind: Karyotype) -> np.ndarray:
    radius = kind.nucleus * rng.uniform(0.7, 1.2)
    stretch = rng.uniform(0.3, 0.7)
    rho, _, _ = make_disc(rng, (radius, radius * stretch), roughness=0.35, margin=1.6)
    body = compute_smoothstep(1 - rho, rng.uniform(0.15, 0.35))
    cloud = make_smooth_noise(rng, rho.shape, radius / 3) + 0.3 * make_smooth_noise(
        rng, rho.shape, 8
    )
    body *= np.clip(0.6 + 0.4 * cloud, 0.03, 1.6)
    return blur(body.astype(np.float32), rng.uniform(2.0, 5.0))


def _inside(
    rng: np.random.Generator, radii: tuple[float, float], depth: float
) -> tuple[float, float]:
    """A point within `depth` of the smaller radius from the middle."""
    angle, far = rng.uniform(0, 2 * np.pi), depth * min(radii) * np.sqrt(rng.random())
    return far * np.cos(angle), far * np.sin(angle)
