"""The shipped trunk, and what the network makes of images."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.learners.classifier.network import FEATURES, build, turn


def test_the_trunk_comes_with_the_package_and_tells_images_apart() -> None:
    network = build(3)
    flat = torch.full((1, 3, 96, 96), 0.5)
    striped = flat.clone()
    striped[..., ::4] = 1.0
    with torch.inference_mode():
        pooled = network.pool(torch.cat([flat, striped]))
    assert pooled.shape == (2, FEATURES) and torch.isfinite(pooled).all()
    assert (pooled[0] - pooled[1]).abs().max() > 0.5


def test_stages_hold_every_layer_that_learns_once() -> None:
    network = build(2)
    staged = [p for part in network.stages() for module in part for p in module.parameters()]
    assert len(staged) == len(set(map(id, staged)))
    assert {id(p) for p in staged} == {id(p) for p in network.parameters()}


@given(st.integers(0, 7))
def test_views_are_the_symmetries_of_the_square(view: int) -> None:
    image = torch.arange(2 * 3 * 5 * 5.0).reshape(2, 3, 5, 5)
    turned = turn(image, view)
    assert torch.equal(turned.flatten(1).sort().values, image.flatten(1).sort().values)
    inverse = (4 - view) % 4 if view < 4 else view  # a turn goes back, a mirror is its own way
    assert torch.equal(turn(turned, inverse), image)


def test_eight_views_differ() -> None:
    image = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert len({tuple(turn(image, view).flatten().tolist()) for view in range(8)}) == 8


@pytest.mark.parametrize("classes", [2, 16])
def test_there_is_a_logit_for_each_class(classes: int) -> None:
    with torch.inference_mode():
        assert build(classes)(torch.rand(2, 3, 96, 96)).shape == (2, classes)
