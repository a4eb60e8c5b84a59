"""What a strategy is: a pure function from what is known of the candidates to their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ml_backend.imaging.boxes import Boxes


@dataclass(frozen=True)
class Candidate:
    """A task, or a picture of a scan, that may be reviewed next.

    Attributes:
        key: Names what the task shows; the same at every publishing and on every machine.
        boxes: What a person could have to correct there, from a confidence far below the
            threshold on: each answer of the version about a headline class, with its class and
            confidence. One about the whole image is a box as large as it.
        features: (len(boxes), D) float32, how the version's own network sees each of the boxes,
            of length 1; None except for strategies that need it.
        committee: The same as `boxes` by other models, which learned from parts of the same
            images; () except for strategies that need it.
    """

    key: str
    boxes: Boxes
    features: np.ndarray | None = None
    committee: tuple[Boxes, ...] = ()


@dataclass(frozen=True)
class Context:
    """What is known of the version that found the boxes, and is the same for all candidates.

    Attributes:
        threshold: The confidence from which a box is shown to the annotator, 0..1, exclusive.
        round: How many versions the queue had before this one.
        difficulty: How badly the version finds the objects of each class, 0..1, where that is
            known; see `active_learning.difficulty`.
        exemplars: (E, D) float32, features of marked cells that others shall be like; None where
            nothing is marked.
        foreground_share: The share of the queue in which the version is sure of a box, 0..1;
            None: as among the candidates of the call.
    """

    threshold: float
    round: int = 0
    difficulty: Mapping[str, float] = field(default_factory=dict)
    exemplars: np.ndarray | None = None
    foreground_share: float | None = None


# What a project's queue keeps for the strategies that need it.
KEPT = frozenset({"foreground_share"})


@dataclass(frozen=True)
class Strategy:
    """A named way to order a review queue.

    Candidates come streamed, 32 to 512 at a time while their pre-annotations are published, or
    all together when a queue is ranked anew and when a scan chooses what it sends.

    Attributes:
        name: By which the settings and the command line choose it.
        function: Gives each of N candidates, in their order, a number in 0..1, as (N,) float64.
            The lowest is reviewed first. It is pure: the same candidates and context give the
            same scores, so chance comes from a hash of a candidate's key. N may be 0.
        whole: Says what a score may depend on. False: on its own candidate and the context
            alone, so it is the same in whatever chunk the candidate comes. True: on all the
            candidates of the call, for strategies that spread a batch over the queue. Scores of
            chunks are then provisional, so that tasks are in the queue at once, and when the
            last chunk is published the whole queue is scored in one call.
        needs: What it must know besides the boxes and the threshold: names of fields of
            candidates and context. Where it needs more than the server keeps, see `KEPT`, it can
            be simulated only.
    """

    name: str
    function: Callable[[Sequence[Candidate], Context], np.ndarray]
    whole: bool = False
    needs: frozenset[str] = frozenset()

    def score(self, candidates: Sequence[Candidate], context: Context) -> np.ndarray:
        """Score candidates by the function.

        Returns:
            (N,) in 0..1, in the order of the candidates.

        Raises:
            ValueError: The function did not give each candidate a number in 0..1.
        """
        scores = self.function(candidates, context)
        if scores.shape != (len(candidates),) or not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError(
                f"the strategy {self.name} did not score each of {len(candidates)} candidates "
                "in 0..1"
            )
        return scores
