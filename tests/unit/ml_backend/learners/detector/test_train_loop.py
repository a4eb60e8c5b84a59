"""The learning rate over a training, and how often a large image is seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from ml_backend.learners.detector.hyperparameters import Recipe
from ml_backend.learners.detector.train_loop import (
    compute_rate_share,
    is_out_of_memory,
    repeat_by_area,
)
from ml_backend.learners.detector.training_data.training_images import TrainingImage

RECIPE = Recipe()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", [30, 400, 1700])
def test_the_rate_is_that_of_torch_s_schedulers(steps: int) -> None:
    rising = min(max(RECIPE.warmup_steps, RECIPE.warmup * steps), steps / 2)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = SequentialLR(
        optimizer,
        [
            LinearLR(optimizer, 1 / (rising + 1), 1.0, math.ceil(rising)),
            CosineAnnealingLR(optimizer, math.ceil(steps - rising), eta_min=0.01),
        ],
        [math.ceil(rising)],
    )
    for step in range(steps):
        expected = optimizer.param_groups[0]["lr"]
        assert compute_rate_share(step, steps, RECIPE) == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        schedule.step()


@given(st.integers(2, 3000))
def test_the_rate_rises_to_its_peak_and_falls_to_a_hundredth(steps: int) -> None:
    shares = np.array([compute_rate_share(step, steps, RECIPE) for step in range(steps + 1)])
    peak = int(shares.argmax())
    assert (np.diff(shares[: peak + 1]) > 0).all() and (np.diff(shares[peak:]) <= 0).all()
    assert shares[0] > 0 and shares.max() <= 1 and shares[-1] == pytest.approx(0.01)
    assert peak <= max(RECIPE.warmup_steps, RECIPE.warmup * steps, steps / 2) + 1


def make_image(width: int, height: int) -> TrainingImage:
    return TrainingImage(
        np.zeros((height, width, 3), np.uint8), np.zeros((0, 4)), np.zeros(0, int), np.zeros((0, 4))
    )


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(1, 900)), min_size=1, max_size=5))
def test_an_image_is_seen_as_often_as_it_holds_canvases(sides: list[tuple[int, int]]) -> None:
    images = [make_image(*side) for side in sides]
    times = np.bincount(repeat_by_area(images, (256, 320)), minlength=len(images))
    for (width, height), number in zip(sides, times.tolist(), strict=True):
        assert number == max(1, round(width * height / (256 * 320)))


def test_memory_that_ran_out_is_known_from_other_faults() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    )
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of memory"))
