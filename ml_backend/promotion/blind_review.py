"""Held-out tasks that were reviewed without boxes, compared with those that showed boxes.

Whoever corrects boxes keeps some that they would not have drawn. Where a version does much better
on tasks that showed boxes than on blind ones, its figure is partly due to its own boxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ml_backend.dataset.snapshot import Item
from ml_backend.evaluation.bootstrap import average_defined, make_bootstrap_weights
from ml_backend.evaluation.class_matches import MatchCounts, compute_class_f1
from ml_backend.learners.base import Figures
from ml_backend.promotion.decision import JudgedVersion

ReviewKind = Literal["held_out", "blind", "pre_annotated"]
REVIEW_KINDS: tuple[ReviewKind, ...] = ("held_out", "blind", "pre_annotated")

# With fewer tasks of either kind there is no warning.
FEWEST_TASKS = 5
# A difference of F1 that is worth a warning, where at most the share `UNLUCKY` of the resamples
# shows none.
MUCH = 0.10
UNLUCKY = 0.05


@dataclass(frozen=True)
class FiguresByReview:
    """The figures of held-out tasks by how these were reviewed: all, blind, with boxes.

    Attributes:
        tasks: How many of each kind were judged.
        candidate: The candidate's figures on them.
        champion: The champion's figures on them.
    """

    tasks: dict[ReviewKind, int]
    candidate: dict[ReviewKind, Figures]
    champion: dict[ReviewKind, Figures]

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values by kind; a kind without tasks is not in them."""
        return {
            kind: {"tasks": number}
            | _select_main_figures(self.candidate[kind])
            | {"champion_f1": self.champion[kind].f1.value if kind in self.champion else None}
            for kind, number in self.tasks.items()
        }


def _select_main_figures(figures: Figures) -> dict[str, Any]:
    plain = figures.to_json()
    names = ("groups", "f1", "f1_interval", "ap50", "ap50_interval", "image_sensitivity")
    return {name: plain[name] for name in names if name in plain}


def index_by_review(items: Sequence[Item]) -> dict[ReviewKind, list[int]]:
    """Find the indexes of the held-out tasks of each kind; a kind without tasks is left out."""
    held_out = [index for index, item in enumerate(items) if item.split == "holdout"]
    indexes: dict[ReviewKind, list[int]] = {
        "held_out": held_out,
        "blind": [index for index in held_out if items[index].blind],
        "pre_annotated": [index for index in held_out if not items[index].blind],
    }
    return {kind: indexes[kind] for kind in REVIEW_KINDS if indexes[kind]}


def find_warnings(
    versions: Iterable[JudgedVersion], indexes: dict[ReviewKind, list[int]]
) -> list[str]:
    """Warn of each version that does much better on the tasks that showed boxes.

    Tasks of both kinds are resampled, independently of each other.

    Args:
        versions: Their counts are of the same tasks.
        indexes: Of these tasks by kind, see `index_by_review`.
    """
    blind, shown = indexes.get("blind", []), indexes.get("pre_annotated", [])
    if min(len(blind), len(shown)) < FEWEST_TASKS:
        return []
    warnings = []
    for version in versions:
        f1_blind = _resample_f1(version.counts.select(blind))
        f1_shown = _resample_f1(version.counts.select(shown))
        # With as many tasks of both kinds the resamples would be the same, and not independent:
        # so those of one kind are taken in reverse order.
        differences = f1_shown[1:] - f1_blind[:0:-1]
        if f1_shown[0] - f1_blind[0] > MUCH and np.nanquantile(differences, UNLUCKY) > 0:
            warnings.append(
                f"watch: F1 of {version.version} is {f1_shown[0]:.3f} on the {len(shown)} held-out "
                f"tasks that were shown with boxes and {f1_blind[0]:.3f} on the {len(blind)} blind "
                "ones: people may have kept boxes that they would not have drawn; believe the "
                "blind ones"
            )
    return warnings


def _resample_f1(counts: MatchCounts) -> np.ndarray:
    """Mean F1 of the classes in every resample (R,), NaN where none has a true box."""
    return average_defined(compute_class_f1(counts, make_bootstrap_weights(len(counts.right))))
