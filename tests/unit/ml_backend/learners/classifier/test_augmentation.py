"""What augmentation may and may not do to an image."""

from dataclasses import replace

import torch

from ml_backend.learners.classifier.augmentation import augment
from ml_backend.learners.classifier.hyperparameters import RECIPE

STILL = replace(RECIPE, zoom=0, shift=0, gamma=0, gain=0, offset=0, size=64)


def test_values_stay_in_range_and_shapes_are_the_recipes() -> None:
    images = torch.rand(6, 3, 80, 80, generator=torch.Generator().manual_seed(1))
    out = augment(images, RECIPE, torch.Generator().manual_seed(2))
    assert out.shape == (6, 3, RECIPE.size, RECIPE.size)
    assert out.min() >= 0 and out.max() <= 1


def test_turning_alone_keeps_a_disc_and_its_brightness() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    disc = (((x - 31.5) ** 2 + (y - 31.5) ** 2) < 400).float().expand(4, 3, 64, 64)
    out = augment(disc, STILL, torch.Generator().manual_seed(3))
    assert torch.allclose(out.mean((1, 2, 3)), disc.mean((1, 2, 3)), atol=0.01)


def test_the_same_seed_gives_the_same_images() -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    first, second = (augment(images, RECIPE, torch.Generator().manual_seed(9)) for _ in range(2))
    assert torch.equal(first, second)
