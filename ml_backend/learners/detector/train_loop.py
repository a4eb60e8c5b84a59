"""The optimisation: views in, weights out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.tal import make_anchors
from ultralytics.utils.torch_utils import ModelEMA

from ml_backend.learners.detector.augmentation import DELETED, TrainingImage, augment
from ml_backend.learners.detector.class_balancing import (
    compute_image_weights,
    resample_indices,
    weight_objects,
)
from ml_backend.learners.detector.copy_paste import paste_objects
from ml_backend.learners.detector.hyperparameters import Recipe
from ml_backend.learners.detector.preprocess import STRIDE

Progress = Callable[[dict[str, float]], None]
T = TypeVar("T")


class Diverged(ArithmeticError):
    """The loss is not a finite number any more."""


def is_out_of_memory(error: BaseException) -> bool:
    """Is this what Python or torch (on CPU or GPU) raise when memory runs out?"""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # The last is what oneDNN makes of a failed allocation.
    words = ("t allocate memory", "not enough memory", "out of memory", "not create a primitive")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def fit(
    model: Any,
    views: Sequence[TrainingImage],
    canvas: tuple[int, int],
    recipe: Recipe,
    seed: int,
    progress: Progress,
) -> dict[str, torch.Tensor]:
    """Train `model` on `views`; the state_dict of the running mean of its weights.

    model: ultralytics' DetectionModel, whose attributes torch takes for tensors.
    canvas: height and width of the input, multiples of 32; every other batch lies across.
    progress: called after every epoch with epoch, epochs, loss and seconds_left.
    Raises Diverged, and MemoryError or torch's out-of-memory errors.
    """
    rng = np.random.default_rng(seed)
    device = next(model.parameters()).device
    model.args = SimpleNamespace(box=recipe.box, cls=recipe.cls, dfl=recipe.dfl)
    criterion: Any = v8DetectionLoss(model)
    model.to(memory_format=torch.channels_last).train()
    for layer in model.model[: recipe.frozen]:
        layer.requires_grad_(False).eval()
    if recipe.frozen >= len(model.model) - 1:  # few images: their mean says little of others'
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
    optimizer = _optimizer(model, recipe)
    views = weight_objects(views)
    indices = repeat_by_area(views, canvas)
    steps = math.ceil(len(indices) / recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _rate(step, steps * recipe.epochs, recipe)
    )
    mean = ModelEMA(model, decay=recipe.ema, tau=1 / (1 - recipe.ema))
    half = device.type == "cuda" or _fast_bfloat16()
    started = time.monotonic()
    batches = _ahead(_batches(views, indices, canvas, recipe, rng))
    for epoch in range(1, recipe.epochs + 1):
        losses = []
        for chosen, shape in islice(batches, steps):
            batch = _to_tensors(chosen, shape, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                outputs = model(batch["img"])
            outputs["boxes"] = outputs["boxes"].float()
            points, strides = make_anchors(outputs["feats"], criterion.stride, 0.5)
            points, scores = points * strides, outputs["scores"].float()
            outputs["scores"] = _without_ignored(scores, [v.ignored for v in chosen], points)
            loss, _ = criterion(outputs, batch)
            stray = _seen_in_nothing(scores, chosen, points) * len(chosen)
            loss = loss.sum() + recipe.nothing * recipe.cls * stray
            if not torch.isfinite(loss):
                raise Diverged(f"the loss became {loss.item()} in epoch {epoch}")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            mean.update(model)
            losses.append(loss.item() / len(chosen))
        elapsed = time.monotonic() - started
        progress(
            {
                "epoch": epoch,
                "epochs": recipe.epochs,
                "loss": round(float(np.mean(losses)), 4),
                "seconds_left": round(elapsed / epoch * (recipe.epochs - epoch), 1),
            }
        )
    return mean.ema.state_dict()


def _batches(
    views: Sequence[TrainingImage],
    indices: np.ndarray,
    canvas: tuple[int, int],
    recipe: Recipe,
    rng: np.random.Generator,
) -> Iterator[tuple[list[TrainingImage], tuple[int, int]]]:
    """The augmented views of every step of all epochs, with the shape of their canvas."""
    weights = compute_image_weights(views)
    for _ in range(recipe.epochs):
        order = rng.permutation(resample_indices(indices, weights, rng))
        for start in range(0, len(order), recipe.batch):
            shape = canvas if rng.random() >= recipe.tiles else _half(canvas)
            shape = shape if rng.random() < 0.5 else shape[::-1]
            chosen = order[start : start + recipe.batch]
            yield [_seen_anew(views, weights, i, shape, recipe, rng) for i in chosen], shape


def _seen_anew(
    views: Sequence[TrainingImage],
    weights: np.ndarray | None,
    index: int,
    shape: tuple[int, int],
    recipe: Recipe,
    rng: np.random.Generator,
) -> TrainingImage:
    view = views[index]
    if rng.random() < recipe.grafted:
        view = paste_objects(view, views, recipe.grafts, rng, weights)
    return augment(view, shape, recipe, rng)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, each made by another thread while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(next, items, None)
        while (item := made.result()) is not None:
            made = pool.submit(next, items, None)
            yield item


def _optimizer(model: Any, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; the new head learns at the full rate, norms and biases do not decay."""
    head = {id(p) for p in model.model[-1].parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            rate = recipe.lr if id(parameter) in head else recipe.lr * recipe.lr_backbone
            decay = recipe.decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]
    )


def _rate(step: int, steps: int, recipe: Recipe) -> float:
    """The learning rate's share of its peak at one of all steps."""
    rising = min(max(recipe.warmup_steps, recipe.warmup * steps), steps / 2)
    if step < rising:
        return (step + 1) / (rising + 1)
    done = (step - rising) / max(steps - rising, 1)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * min(done, 1))) / 2


def _half(canvas: tuple[int, int]) -> tuple[int, int]:
    height, width = (-(-side // (2 * STRIDE)) * STRIDE for side in canvas)
    return height, width


def repeat_by_area(views: Sequence[TrainingImage], canvas: tuple[int, int]) -> np.ndarray:
    """Indices of the views of one epoch: as many canvases of each as its area holds."""
    area = canvas[0] * canvas[1]
    return np.repeat(
        np.arange(len(views)),
        [max(1, round(v.pixels.shape[0] * v.pixels.shape[1] / area)) for v in views],
    )


def _to_tensors(
    views: list[TrainingImage], shape: tuple[int, int], device: torch.device
) -> dict[str, torch.Tensor]:
    pixels = torch.from_numpy(np.stack([v.pixels for v in views])).to(device)
    size = np.array([shape[1], shape[0]], np.float32)
    real = [v.label != DELETED for v in views]
    label = np.concatenate([v.label[kept] for v, kept in zip(views, real, strict=True)])
    xyxy = np.concatenate([v.xyxy[kept] for v, kept in zip(views, real, strict=True)])
    xywh = np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], axis=1)
    return {
        # A permuted NHWC tensor is what torch calls channels_last.
        "img": pixels.permute(0, 3, 1, 2).float() / 255,
        "cls": torch.from_numpy(label).float().to(device),
        "bboxes": torch.from_numpy(xywh / np.tile(size, 2)).float().to(device),
        "batch_idx": torch.from_numpy(
            np.repeat(np.arange(len(views)), [kept.sum() for kept in real])
        )
        .float()
        .to(device),
    }


def _without_ignored(
    scores: torch.Tensor, ignored: list[np.ndarray], points: torch.Tensor
) -> torch.Tensor:
    """The class logits, with those of cells in ignored regions set to a certain 'nothing'.

    Such a logit has no gradient and next to no loss, so what the network says there is
    neither rewarded nor punished, and the pixels stay as they are.
    """
    if not any(len(regions) for regions in ignored):
        return scores
    mask = torch.zeros(scores.shape[0], scores.shape[2], dtype=torch.bool, device=scores.device)
    for row, regions in zip(mask, ignored, strict=True):
        row |= _inside(points, regions)
    return scores.masked_fill(mask[:, None], -20.0)


def _seen_in_nothing(
    scores: torch.Tensor, views: Sequence[TrainingImage], points: torch.Tensor
) -> torch.Tensor:
    """The mean loss of the most certain cell in each place where nothing is; 0 without any.

    Only the hardest one of a place: that is what would draw the box again (Shrivastava et al.
    2016, online hard example mining). What an object or an ignored region shares with a
    place is left to them.
    """
    hardest = []
    for image, view in zip(scores, views, strict=True):
        nothing = view.label == DELETED
        others = np.concatenate([view.xyxy[~nothing], view.ignored])
        for place in view.xyxy[nothing]:
            cells = _inside(points, place[None]) & ~_inside(points, others)
            if cells.any():
                hardest.append(nn.functional.softplus(image[:, cells].max()))
    return torch.stack(hardest).mean() if hardest else scores.new_zeros(())


def _inside(points: torch.Tensor, regions: np.ndarray) -> torch.Tensor:
    """Which points, (A, 2), lie in any of the regions (N, 4)."""
    within = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    x, y = points.T
    for x1, y1, x2, y2 in regions.tolist():
        within |= (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)
    return within


def _fast_bfloat16() -> bool:
    """Does the CPU multiply bfloat16 itself? Elsewhere it is slower than float32."""
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(known())
