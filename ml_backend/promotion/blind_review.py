"""Held-out tasks that were reviewed without boxes, beside those that came with them. Pure.

Whoever corrects boxes keeps some that they would not have drawn. Where a version does much
better on tasks that showed boxes than on blind ones, its figure is partly its own praise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ml_backend.dataset.snapshot import Item
from ml_backend.evaluation.bootstrap import draw_weights, mean_defined
from ml_backend.evaluation.class_matches import Counts, f1_by_class
from ml_backend.learners.base import Evaluation
from ml_backend.promotion.decision import Side

Kind = Literal["held_out", "blind", "pre_annotated"]
KINDS: tuple[Kind, ...] = ("held_out", "blind", "pre_annotated")

# With fewer tasks of either kind nothing is said of the difference.
FEWEST = 5
# A difference of F1 that is worth a warning, where fewer than `UNLUCKY` of the redraws deny it.
MUCH = 0.10
UNLUCKY = 0.05


@dataclass(frozen=True)
class Apart:
    """tasks: how many of each kind were judged. candidate, champion: their figures on these."""

    tasks: dict[Kind, int]
    candidate: dict[Kind, Evaluation]
    champion: dict[Kind, Evaluation]

    def to_json(self) -> dict[str, Any]:
        """By kind; a kind without tasks is not in it."""
        return {
            kind: {"tasks": number}
            | _brief(self.candidate[kind])
            | {"champion_f1": self.champion[kind].f1.value if kind in self.champion else None}
            for kind, number in self.tasks.items()
        }


def _brief(figures: Evaluation) -> dict[str, Any]:
    plain = figures.to_json()
    names = ("groups", "f1", "f1_interval", "ap50", "ap50_interval", "image_sensitivity")
    return {name: plain[name] for name in names if name in plain}


def places(items: Sequence[Item]) -> dict[Kind, list[int]]:
    """The places of the tasks of each kind, those that there are."""
    held = [place for place, item in enumerate(items) if item.split == "holdout"]
    found: dict[Kind, list[int]] = {
        "held_out": held,
        "blind": [place for place in held if items[place].blind],
        "pre_annotated": [place for place in held if not items[place].blind],
    }
    return {kind: found[kind] for kind in KINDS if found[kind]}


def warnings(sides: Iterable[Side], at: dict[Kind, list[int]]) -> list[str]:
    """What is said of a side that does much better on the tasks that showed boxes.

    at: the places of the tasks, see `places`. Those of both kinds are redrawn, independently.
    """
    blind, shown = at.get("blind", []), at.get("pre_annotated", [])
    if min(len(blind), len(shown)) < FEWEST:
        return []
    said = []
    for side in sides:
        few, many = _f1(side.counts.where(blind)), _f1(side.counts.where(shown))
        # Were there as many tasks of both kinds, the draws would be the same: one goes backwards.
        differences = many[1:] - few[:0:-1]
        if many[0] - few[0] > MUCH and np.nanquantile(differences, UNLUCKY) > 0:
            said.append(
                f"watch: F1 of {side.version} is {many[0]:.3f} on the {len(shown)} held-out tasks "
                f"that were shown with boxes and {few[0]:.3f} on the {len(blind)} blind ones: "
                "people may have kept boxes that they would not have drawn; believe the blind ones"
            )
    return said


def _f1(counts: Counts) -> np.ndarray:
    """Mean F1 of the classes in every redraw (R,), NaN where none has a true box."""
    return mean_defined(f1_by_class(counts, draw_weights(len(counts.right))))
