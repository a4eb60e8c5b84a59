"""The optimisation: squares and the classes of each in, a network out.

First the head alone, a logistic regression on the features of the frozen trunk; then all layers,
from there, at rates that fall with depth. The statistics of batch norm stay as they are, so the
head remains right from the first step.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ml_backend.learners.base import Progress
from ml_backend.learners.classifier.augmentation import augment
from ml_backend.learners.classifier.hyperparameters import VIEWS, Recipe
from ml_backend.learners.classifier.network import PooledClassifier, turn

_AT_ONCE = 64


def to_floats(images: Tensor) -> Tensor:
    """(B, S, S, 3) uint8 as (B, 3, S, S) in 0..1."""
    return images.permute(0, 3, 1, 2).float() / 255


def pool_features(network: PooledClassifier, images: Tensor) -> Tensor:
    """Pool squares by the trunk as it is: (N, FEATURES), the mean over quarter turns.

    Args:
        network: In evaluation mode.
        images: (N, S, S, 3) uint8.
    """
    pooled = []
    with torch.inference_mode():
        for part in images.split(_AT_ONCE):
            views = [network.pool(turn(to_floats(part), view)) for view in range(VIEWS)]
            pooled.append(torch.stack(views).mean(0))
    return torch.cat(pooled).clone()


def fit_head(
    network: PooledClassifier, features: Tensor, wanted: Tensor, penalty: float, several: bool
) -> None:
    """Set the standardisation and the linear layer by class-balanced logistic regression.

    Minimises the weighted cross-entropy plus |W|² / (2 · penalty), the weight of a class being
    images / (classes · its images), as scikit-learn's `class_weight="balanced"` does.

    Args:
        network: Its trunk is left as it is.
        features: (N, FEATURES), see `pool_features`.
        wanted: (N, C), the share of each class, 0..1.
        penalty: Inverse strength of the L2 penalty.
        several: More than one class may be chosen for an image.
    """
    network.centre.copy_(features.mean(0))
    network.spread.copy_(features.std(0, correction=0) + 1e-6)
    standardised = (features - network.centre) / network.spread
    layer = network.classifier
    balance = balance_classes(wanted)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        logits = layer(standardised)
        if several:
            misfit = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        else:
            misfit = -(wanted * balance * logits.log_softmax(1)).sum()
        value = (misfit + layer.weight.square().sum() / (2 * penalty)) / len(wanted)
        value.backward()
        return value

    optimizer.step(evaluate)


def balance_classes(wanted: Tensor) -> Tensor:
    """The weight of each class (C,) that makes all classes count alike."""
    return len(wanted) / (wanted.shape[1] * wanted.sum(0).clamp(min=1))


def measure_loss(scores: Tensor, wanted: Tensor, several: bool) -> float:
    """The class-balanced cross-entropy of scores (N, C) of images that were left out."""
    if several:
        return float(F.binary_cross_entropy_with_logits(scores, wanted))
    return float(-(wanted * balance_classes(wanted) * scores.log_softmax(1)).sum() / len(wanted))


def fit(
    network: PooledClassifier,
    images: Tensor,
    wanted: Tensor,
    recipe: Recipe,
    seed: int,
    several: bool,
    progress: Progress,
) -> PooledClassifier:
    """Refine all layers; the network of the running mean of the weights.

    The loss is the cross-entropy of the logits plus a part of the log of the class frequencies
    (logit adjustment, Menon et al. 2021), so that the bare logits weigh the classes nearly alike.

    Args:
        network: After `fit_head`; it is not changed.
        images: (N, S, S, 3) uint8.
        wanted: (N, C), the share of each class, 0..1.
        recipe: Of the training.
        seed: Makes the run repeatable.
        several: More than one class may be chosen for an image.
        progress: Called ten times with epoch, epochs, loss and seconds_left.
    """
    network = copy.deepcopy(network).to(memory_format=torch.channels_last).eval()
    rng = torch.Generator().manual_seed(seed)
    classes = wanted.shape[1]
    frequency = (wanted.sum(0) + 0.5) / (wanted.sum() + 0.5 * classes)
    blank = 0.5 if several else 1 / classes
    smoothed = wanted * (1 - recipe.smoothing) + recipe.smoothing * blank
    groups = _group_parameters(network, recipe)
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [group["lr"] for group in groups],
        total_steps=recipe.steps + 1,
        pct_start=0.15,
        cycle_momentum=False,
    )
    share = max(0.5, 1 - 20 / recipe.steps)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(share))
    started = time.monotonic()
    told = max(1, recipe.steps // 10)
    for step, chosen in enumerate(_draw_batches(len(images), recipe, rng), start=1):
        logits = network(augment(to_floats(images[chosen]), recipe, rng))
        if several:
            loss = F.binary_cross_entropy_with_logits(logits, smoothed[chosen])
        else:
            loss = F.cross_entropy(logits + recipe.balance * frequency.log(), smoothed[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        averaged.update_parameters(network)
        if step % told == 0 or step == recipe.steps:
            left = (time.monotonic() - started) / step * (recipe.steps - step)
            progress(
                {
                    "epoch": -(-step // told),
                    "epochs": -(-recipe.steps // told),
                    "loss": round(loss.item(), 4),
                    "seconds_left": round(left, 1),
                }
            )
    refined: PooledClassifier = averaged.module.eval()  # type: ignore[assignment]
    return refined


def score(network: PooledClassifier, images: Tensor, several: bool) -> Tensor:
    """Score squares: (N, C), the mean over views of log-probabilities, or of logits where several.

    Args:
        network: A trained one.
        images: (N, S, S, 3) uint8.
        several: More than one class may be chosen for an image.
    """
    scores = []
    with torch.inference_mode():
        for part in images.split(_AT_ONCE):
            small = to_floats(part)
            scores.append(average_views(network, small, several))
    return torch.cat(scores)


def average_views(network: nn.Module, images: Tensor, several: bool) -> Tensor:
    """The mean of the scores (B, C) over quarter turns of images (B, 3, S, S) in 0..1."""
    views = [network(turn(images, view)) for view in range(VIEWS)]
    if several:
        return torch.stack(views).mean(0)
    return torch.stack([logits.log_softmax(1) for logits in views]).mean(0).log_softmax(1)


def find_temperature(scores: Tensor, wanted: Tensor, several: bool) -> float:
    """Find the temperature of least cross-entropy on scores of images that were left out.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks.
    """
    temperatures = torch.logspace(-1, 1, 201)
    losses = torch.stack(
        [
            F.binary_cross_entropy_with_logits(scores / value, wanted)
            if several
            else F.cross_entropy(scores / value, wanted)
            for value in temperatures
        ]
    )
    return float(temperatures[int(losses.argmin())])


def _group_parameters(network: PooledClassifier, recipe: Recipe) -> list[dict[str, Any]]:
    """A learning rate for each stage; no weight decay on biases and norms."""
    *trunk, head = network.stages()
    deepest = len(trunk) - 1
    rates = [
        recipe.rate * recipe.trunk_share * recipe.decay ** (deepest - depth)
        for depth in range(len(trunk))
    ]
    groups = []
    for part, rate in zip([*trunk, head], [*rates, recipe.rate], strict=True):
        parameters = [p for module in part for p in module.parameters()]
        for decay, chosen in (
            (recipe.weight_decay, [p for p in parameters if p.ndim > 1]),
            (0.0, [p for p in parameters if p.ndim <= 1]),
        ):
            groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return groups


def _draw_batches(count: int, recipe: Recipe, rng: torch.Generator) -> Iterator[Tensor]:
    """Batches of indices; each image once before any comes again."""
    pool = torch.empty(0, dtype=torch.long)
    for _ in range(recipe.steps):
        while len(pool) < min(recipe.batch, count):
            pool = torch.cat([pool, torch.randperm(count, generator=rng)])
        yield pool[: recipe.batch]
        pool = pool[recipe.batch :]
