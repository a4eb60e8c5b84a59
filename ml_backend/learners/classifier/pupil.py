"""What folds decide about a training: the penalty, the depth, the temperature.

Each fold leaves out whole groups. What it finds in them, and nothing of the hold-out, chooses how
strongly the head is held, whether refining all layers is worth it, and how far probabilities are
softened until they mean what they say.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

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
            return [self._refine([(head, everything)])[0] if refines else head], 1.0
        taught = [np.setdiff1d(everything, held) for held in folds]
        heads = [self._fit_head(trunk, features, rest, penalty) for rest in taught]
        choices = {"head": self._score(heads, folds)}
        refined = head
        if refines:
            pairs = [*zip(heads, taught, strict=True), (head, everything)]
            *judged, refined = self._refine(pairs)
            deep = self._score(judged, folds)
            choices |= {"refined": deep, "both": (choices["head"] + deep) / 2}
        best = max(choices, key=lambda name: measure_balance(choices[name], self.wanted))
        temperature = train_loop.find_temperature(choices[best], self.wanted, self.several)
        networks = {"head": [head], "refined": [refined], "both": [head, refined]}
        return networks[best], temperature

    def _score(self, networks: Sequence[PooledClassifier], folds: Sequence[np.ndarray]) -> Tensor:
        """Score each square by the network that it was left out of."""
        scores = torch.zeros_like(self.wanted)
        for network, held in zip(networks, folds, strict=True):
            scores[held] = train_loop.score(network, self.squares[held], self.several)
        return scores

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

    def _refine(
        self, pupils: Sequence[tuple[PooledClassifier, np.ndarray]]
    ) -> list[PooledClassifier]:
        """Refine networks on the squares of each, side by side.

        A core each: a second one makes a step of a network this small no shorter.
        """
        told = [0] * len(pupils)
        telling = Lock()

        def refine(place: int) -> PooledClassifier:
            head, chosen = pupils[place]

            def tell(step: dict[str, Any]) -> None:
                with telling:
                    told[place] = step["epoch"]
                    done, epochs = sum(told), step["epochs"] * len(pupils)
                    left = (time.monotonic() - started) / done * (epochs - done)
                    position = {"epoch": done, "epochs": epochs, "seconds_left": round(left, 1)}
                    self.progress({**step, **position})

            return train_loop.fit(
                head,
                self.squares[chosen],
                self.wanted[chosen],
                self.recipe,
                self.seed,
                self.several,
                tell,
            )

        started = time.monotonic()
        threads = torch.get_num_threads()
        at_once = min(len(pupils), threads)
        torch.set_num_threads(threads // at_once)
        try:
            with ThreadPoolExecutor(at_once) as pool:
                return list(pool.map(refine, range(len(pupils))))
        finally:
            torch.set_num_threads(threads)


def measure_balance(scores: Tensor, wanted: Tensor) -> float:
    """Balanced accuracy, 0..1, of the highest score (N, C) against shares (N, C)."""
    right = wanted.gather(1, scores.argmax(1, keepdim=True))[:, 0] > 0
    recalls = [float(right[column > 0].float().mean()) for column in wanted.T if column.any()]
    return float(np.mean(recalls))
