"""The loss of a training step: ultralytics' own, with regions left out and deleted boxes added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from ultralytics.utils.tal import make_anchors

from ml_backend.learners.detector.hyperparameters import Recipe
from ml_backend.learners.detector.training_data.augmentation import DELETED, TrainingImage

# A logit this low is a certain 'nothing': no gradient, next to no loss.
_NOTHING = -20.0


def compute_loss(
    criterion: Any,
    outputs: dict[str, Any],
    batch: dict[str, torch.Tensor],
    images: Sequence[TrainingImage],
    recipe: Recipe,
) -> torch.Tensor:
    """Compute the loss of a batch, summed over its images.

    Args:
        criterion: ultralytics' v8DetectionLoss.
        outputs: Of the network; changed in place.
        batch: The targets, as the criterion takes them.
        images: Those of the batch.
        recipe: The hyperparameters.
    """
    outputs["boxes"] = outputs["boxes"].float()
    points, strides = make_anchors(outputs["feats"], criterion.stride, 0.5)
    points, scores = points * strides, outputs["scores"].float()
    outputs["scores"] = mask_ignored(scores, [image.ignored for image in images], points)
    loss, _ = criterion(outputs, batch)
    deleted = compute_deleted_loss(scores, images, points) * len(images)
    return loss.sum() + recipe.deleted * recipe.cls * deleted


def mask_ignored(
    scores: torch.Tensor, ignored: Sequence[np.ndarray], points: torch.Tensor
) -> torch.Tensor:
    """Set the class logits in ignored regions to a certain 'nothing'.

    Such a logit has no gradient and next to no loss, so what the network answers there does not
    matter, and the pixels stay as they are.

    Args:
        scores: (B, classes, A) logits.
        ignored: (M, 4) regions of each image, input px.
        points: (A, 2), the centres of the cells, input px.
    """
    if not any(len(regions) for regions in ignored):
        return scores
    mask = torch.zeros(scores.shape[0], scores.shape[2], dtype=torch.bool, device=scores.device)
    for row, regions in zip(mask, ignored, strict=True):
        row |= _inside(points, regions)
    return scores.masked_fill(mask[:, None], _NOTHING)


def compute_deleted_loss(
    scores: torch.Tensor, images: Sequence[TrainingImage], points: torch.Tensor
) -> torch.Tensor:
    """Compute the mean loss of the most confident cell in each deleted box; 0 without any.

    Only the hardest cell of a box: that is what would draw the box again (Shrivastava et al.
    2016, online hard example mining). What an object or an ignored region shares with a deleted
    box is left to them.

    Args:
        scores: (B, classes, A) logits.
        images: Those of the batch.
        points: (A, 2), the centres of the cells, input px.
    """
    hardest = []
    for logits, image in zip(scores, images, strict=True):
        deleted = image.label == DELETED
        others = np.concatenate([image.xyxy[~deleted], image.ignored])
        for box in image.xyxy[deleted]:
            cells = _inside(points, box[None]) & ~_inside(points, others)
            if cells.any():
                hardest.append(nn.functional.softplus(logits[:, cells].max()))
    return torch.stack(hardest).mean() if hardest else scores.new_zeros(())


def _inside(points: torch.Tensor, regions: np.ndarray) -> torch.Tensor:
    """Tell which points, (A, 2), lie in any of the regions (N, 4)."""
    within = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    x, y = points.T
    for x1, y1, x2, y2 in regions.tolist():
        within |= (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)
    return within
