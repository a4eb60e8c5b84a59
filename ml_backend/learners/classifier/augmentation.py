"""Other looks of the same cell: turned, mirrored, nearer, shifted, in another light."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ml_backend.learners.classifier.hyperparameters import Recipe


def augment(images: Tensor, recipe: Recipe, rng: torch.Generator) -> Tensor:
    """Turn freely, mirror, zoom, shift (in one resampling) and re-tone each image.

    Args:
        images: (B, 3, S, S) float in 0..1.
        recipe: Ranges, and the side of the result.
        rng: Source of randomness.

    Returns:
        (B, 3, size, size) in 0..1.
    """
    count = len(images)

    def sample(limit: float) -> Tensor:
        return (torch.rand(count, generator=rng) * 2 - 1) * limit

    angle, scale = sample(math.pi), torch.exp(sample(math.log(1 + recipe.zoom)))
    mirror = torch.where(sample(1) < 0, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [
        torch.stack([cos * mirror, -sin, sample(2 * recipe.shift)], 1),
        torch.stack([sin * mirror, cos, sample(2 * recipe.shift)], 1),
    ]
    shape = [count, 1, recipe.size, recipe.size]
    grid = F.affine_grid(torch.stack(rows, 1), shape, align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    gamma, gain, offset = (
        value.view(count, 1, 1, 1)
        for value in (
            torch.exp(sample(recipe.gamma)),
            torch.exp(sample(recipe.gain)),
            sample(recipe.offset),
        )
    )
    return (images.clamp(min=1e-4) ** gamma * gain + offset).clamp(0, 1)
