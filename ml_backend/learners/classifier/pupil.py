"""What folds decide about a training: the penalty, the depth, the temperature.

Each fold leaves out whole groups. What it finds in them, and nothing of the hold-out, chooses how
strongly the head is held, whether refining all layers is worth it, and how far probabilities are
softened until they mean what they say.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml_backend.learners.base import Progress
from ml_backend.learners.classifier import train_loop
from ml_backend.learners.classifier.hyperparameters import Recipe
from ml_backend.learners.classifier.network import PooledClassifier, build

# Where nothing is left out, the penalty is the one that was best on cells.
PENALTY = 0.03


@dataclass(frozen=True)
class Pupil:
    """A training on some squares.

    Attributes:
        squares: (N, S, S, 3) uint8.
        wanted: (N, C), the share of each class, 0..1.
        recipe: Of the training.
        several: More than one class may be chosen for an image.
        seed: Makes the run repeatable.
        progress: Called with how far it is.
    """

    squares: Tensor
    wanted: Tensor
    recipe: Recipe
    several: bool
    seed: int
    progress: Progress

    def learn(self, folds: Sequence[np.ndarray]) -> tuple[list[PooledClassifier], float]:
        """Learn all squares, as the folds advise.

        Args:
            folds: The squares that each leaves out, as indices; none where there are too few.

        Returns:
            The networks whose scores are averaged, and the temperature.
        """
        trunk = build(self.wanted.shape[1])
        features = train_loop.pool_features(trunk, self.squares)
        everything = np.arange(len(self.squares))
        penalty = self._choose_penalty(trunk, features, folds)
        head = self._fit_head(trunk, features, everything, penalty)
        refines = len(self.squares) >= self.recipe.fewest_to_refine
        if not folds:
            return [self._refine(head, everything) if refines else head], 1.0
        shallow, deep = torch.zeros_like(self.wanted), torch.zeros_like(self.wanted)
        for held in folds:
            rest = np.setdiff1d(everything, held)
            left_out = self._fit_head(trunk, features, rest, penalty)
            shallow[held] = train_loop.score(left_out, self.squares[held], self.several)
            if refines:
                refined = self._refine(left_out, rest)
                deep[held] = train_loop.score(refined, self.squares[held], self.several)
        choices = {"head": shallow}
        if refines:
            choices |= {"refined": deep, "both": (shallow + deep) / 2}
        best = max(choices, key=lambda name: measure_balance(choices[name], self.wanted))
        temperature = train_loop.find_temperature(choices[best], self.wanted, self.several)
        if best == "head":
            return [head], temperature
        refined = self._refine(head, everything)
        return ([head, refined] if best == "both" else [refined]), temperature

    def _choose_penalty(
        self, trunk: PooledClassifier, features: Tensor, folds: Sequence[np.ndarray]
    ) -> float:
        if not folds:
            return PENALTY
        losses = []
        for penalty in self.recipe.penalties:
            scores = torch.zeros_like(self.wanted)
            for held in folds:
                rest = np.setdiff1d(np.arange(len(features)), held)
                network = self._fit_head(trunk, features, rest, penalty)
                with torch.inference_mode():
                    standard = (features[held] - network.centre) / network.spread
                    scores[held] = network.classifier(standard)
            losses.append(train_loop.measure_loss(scores, self.wanted, self.several))
        return self.recipe.penalties[int(np.argmin(losses))]

    def _fit_head(
        self, trunk: PooledClassifier, features: Tensor, chosen: np.ndarray, penalty: float
    ) -> PooledClassifier:
        network = copy.deepcopy(trunk)
        train_loop.fit_head(network, features[chosen], self.wanted[chosen], penalty, self.several)
        return network

    def _refine(self, head: PooledClassifier, chosen: np.ndarray) -> PooledClassifier:
        squares, wanted = self.squares[chosen], self.wanted[chosen]
        return train_loop.fit(
            head, squares, wanted, self.recipe, self.seed, self.several, self.progress
        )


def measure_balance(scores: Tensor, wanted: Tensor) -> float:
    """Balanced accuracy, 0..1, of the highest score (N, C) against shares (N, C)."""
    right = wanted.gather(1, scores.argmax(1, keepdim=True))[:, 0] > 0
    recalls = [float(right[column > 0].float().mean()) for column in wanted.T if column.any()]
    return float(np.mean(recalls))
