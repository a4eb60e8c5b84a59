"""The optimisation: from training images to weights."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.torch_utils import ModelEMA

from ml_backend.learners.base import Progress
from ml_backend.learners.detector.hyperparameters import Recipe
from ml_backend.learners.detector.loss import compute_loss
from ml_backend.learners.detector.preprocess import STRIDE
from ml_backend.learners.detector.training_data.augmentation import DELETED, TrainingImage, augment
from ml_backend.learners.detector.training_data.class_balancing import (
    compute_image_weights,
    resample_indices,
    weight_objects,
)
from ml_backend.learners.detector.training_data.copy_paste import paste_objects

T = TypeVar("T")


class Diverged(ArithmeticError):
    """The loss is not a finite number any more."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether Python or torch (on CPU or GPU) raised this because memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # The last is what oneDNN makes of a failed allocation.
    words = ("t allocate memory", "not enough memory", "out of memory", "not create a primitive")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def fit(
    model: Any,
    images: Sequence[TrainingImage],
    canvas: tuple[int, int],
    recipe: Recipe,
    seed: int,
    progress: Progress,
) -> dict[str, torch.Tensor]:
    """Train a network.

    Args:
        model: ultralytics' DetectionModel, whose attributes torch takes for tensors.
        images: At the input scale.
        canvas: Height and width of the input, multiples of 32; half of the batches are turned.
        recipe: The hyperparameters.
        seed: Of every random choice.
        progress: Called after every epoch with epoch, epochs, loss and seconds_left.

    Returns:
        The state_dict of the running mean of its weights.

    Raises:
        Diverged: The loss became infinite or not a number.
        MemoryError: Memory ran out; torch raises errors of its own, see `is_out_of_memory`.
    """
    rng = np.random.default_rng(seed)
    device = next(model.parameters()).device
    model.args = SimpleNamespace(box=recipe.box, cls=recipe.cls, dfl=recipe.dfl)
    criterion: Any = v8DetectionLoss(model)
    model.to(memory_format=torch.channels_last).train()
    _freeze(model, recipe.frozen)
    optimizer = _optimizer(model, recipe)
    images = weight_objects(images)
    indices = repeat_by_area(images, canvas)
    steps = math.ceil(len(indices) / recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: compute_rate_share(step, steps * recipe.epochs, recipe)
    )
    mean = ModelEMA(model, decay=recipe.ema, tau=1 / (1 - recipe.ema))
    half = device.type == "cuda" or _fast_bfloat16()
    started = time.monotonic()
    batches = _ahead(_batches(images, indices, canvas, recipe, rng))
    for epoch in range(1, recipe.epochs + 1):
        losses = []
        for chosen, shape in islice(batches, steps):
            batch = _to_tensors(chosen, shape, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                outputs = model(batch["img"])
            loss = compute_loss(criterion, outputs, batch, chosen, recipe)
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


def _freeze(model: Any, layers: int) -> None:
    """Keep the first layers as they are; where the head alone learns, all norms too."""
    for layer in model.model[:layers]:
        layer.requires_grad_(False).eval()
    if layers >= len(model.model) - 1:  # a mean over few images tells little of others
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()


def _batches(
    images: Sequence[TrainingImage],
    indices: np.ndarray,
    canvas: tuple[int, int],
    recipe: Recipe,
    rng: np.random.Generator,
) -> Iterator[tuple[list[TrainingImage], tuple[int, int]]]:
    """Yield the augmented images of every step of all epochs, with the shape of their canvas."""
    weights = compute_image_weights(images)
    for _ in range(recipe.epochs):
        order = rng.permutation(resample_indices(indices, weights, rng))
        for start in range(0, len(order), recipe.batch):
            shape = canvas if rng.random() >= recipe.tiles else _half(canvas)
            shape = shape if rng.random() < 0.5 else shape[::-1]
            chosen = order[start : start + recipe.batch]
            yield [_augment_anew(images, weights, i, shape, recipe, rng) for i in chosen], shape


def _augment_anew(
    images: Sequence[TrainingImage],
    weights: np.ndarray | None,
    index: int,
    shape: tuple[int, int],
    recipe: Recipe,
    rng: np.random.Generator,
) -> TrainingImage:
    image = images[index]
    if rng.random() < recipe.pasted:
        image = paste_objects(image, images, recipe.most_pasted, rng, weights)
    return augment(image, shape, recipe, rng)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items, each made by another thread while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(next, items, None)
        while (item := made.result()) is not None:
            made = pool.submit(next, items, None)
            yield item


def _optimizer(model: Any, recipe: Recipe) -> torch.optim.Optimizer:
    """Make AdamW; the new head learns at the full rate, norms and biases do not decay."""
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


def compute_rate_share(step: int, steps: int, recipe: Recipe) -> float:
    """Compute the learning rate's share of its peak: a linear rise, then half a cosine.

    torch's LinearLR and CosineAnnealingLR give the same for one peak, but their floor is one rate
    for all groups of parameters, where ours is a hundredth of each group's peak.

    Args:
        step: From 0.
        steps: How many there are.
        recipe: For how long the rate rises.

    Returns:
        In 0..1.
    """
    rising = min(max(recipe.warmup_steps, recipe.warmup * steps), steps / 2)
    if step < rising:
        return (step + 1) / (rising + 1)
    done = (step - rising) / max(steps - rising, 1)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * min(done, 1))) / 2


def _half(canvas: tuple[int, int]) -> tuple[int, int]:
    height, width = (-(-side // (2 * STRIDE)) * STRIDE for side in canvas)
    return height, width


def repeat_by_area(images: Sequence[TrainingImage], canvas: tuple[int, int]) -> np.ndarray:
    """Repeat the index of each image as often as its area holds canvases, at least once."""
    area = canvas[0] * canvas[1]
    return np.repeat(
        np.arange(len(images)),
        [max(1, round(v.pixels.shape[0] * v.pixels.shape[1] / area)) for v in images],
    )


def _to_tensors(
    images: list[TrainingImage], shape: tuple[int, int], device: torch.device
) -> dict[str, torch.Tensor]:
    pixels = torch.from_numpy(np.stack([v.pixels for v in images])).to(device)
    size = np.array([shape[1], shape[0]], np.float32)
    real = [v.label != DELETED for v in images]
    label = np.concatenate([v.label[kept] for v, kept in zip(images, real, strict=True)])
    xyxy = np.concatenate([v.xyxy[kept] for v, kept in zip(images, real, strict=True)])
    xywh = np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], axis=1)
    return {
        # A permuted NHWC tensor is what torch calls channels_last.
        "img": pixels.permute(0, 3, 1, 2).float() / 255,
        "cls": torch.from_numpy(label).float().to(device),
        "bboxes": torch.from_numpy(xywh / np.tile(size, 2)).float().to(device),
        "batch_idx": torch.from_numpy(
            np.repeat(np.arange(len(images)), [kept.sum() for kept in real])
        )
        .float()
        .to(device),
    }


def _fast_bfloat16() -> bool:
    """Tell whether the CPU multiplies bfloat16 itself; elsewhere it is slower than float32."""
    is_supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(is_supported())
