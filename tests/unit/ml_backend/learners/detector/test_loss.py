"""The loss leaves ignored regions out and adds what is found in deleted boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ml_backend.learners.detector.loss import compute_deleted_loss, mask_ignored
from ml_backend.learners.detector.training_data.augmentation import DELETED, TrainingImage


def anchors() -> torch.Tensor:
    """The points of a canvas of 64 × 64: 8 × 8, 4 × 4 and 2 × 2 cells."""
    from ultralytics.utils.tal import make_anchors

    feats = [torch.zeros(1, 4, side, side) for side in (8, 4, 2)]
    points, strides = make_anchors(feats, torch.tensor([8.0, 16.0, 32.0]), 0.5)
    return points * strides


def test_ignored_regions_do_not_enter_the_loss() -> None:
    points = anchors()
    scores = torch.full((1, 2, len(points)), 3.0, requires_grad=True)
    kept = mask_ignored(scores, [np.array([[0, 0, 32, 64]], np.float32)], points)
    torch.nn.functional.binary_cross_entropy_with_logits(
        kept, torch.zeros_like(kept), reduction="sum"
    ).backward()
    assert scores.grad is not None
    punished = scores.grad[0, 0] > 0
    # Left half of each grid: 4 of 8 columns, 2 of 4, 1 of 2.
    assert int((~punished).sum()) == 8 * 4 + 4 * 2 + 2 * 1
    assert not punished[0] and punished[7]


def test_the_most_confident_cell_of_a_deleted_box_enters_the_loss() -> None:
    """And nothing else: no less sure cell there, none elsewhere, none on a true object."""
    points = anchors()
    logits = torch.linspace(-2, 2, 2 * len(points)).reshape(1, 2, -1)
    logits = logits.repeat(2, 1, 1).requires_grad_()
    place, cell = [0, 0, 30, 30], [0, 0, 64, 14]
    boxes = np.array([place, cell], np.float32)
    seen = TrainingImage(
        np.zeros((64, 64, 3)), boxes, np.array([DELETED, 1]), np.zeros((0, 4), np.float32)
    )
    empty = replace(seen, xyxy=boxes[:0], label=np.zeros(0, int))
    loss = compute_deleted_loss(logits, [seen, empty], points)
    x, y = points.T
    there = (x <= 30) & (y <= 30) & (y > 14)
    expected = torch.where(there, logits[0, 1], torch.tensor(-9.0)).argmax()
    # The loss of a logit that should say no: -log(1 - p).
    sure = torch.sigmoid(logits[0, 1, expected])
    assert torch.isclose(loss, -torch.log(1 - sure))
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.nonzero().tolist() == [[0, 1, int(expected)]]
    assert compute_deleted_loss(logits, [empty, empty], points) == 0
