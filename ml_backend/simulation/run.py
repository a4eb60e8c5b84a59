"""One simulated loop: a strategy chooses, the annotator corrects, the product trains, and again.

Every round is a file of its own, written when the round is whole: a run that was killed goes on
after the last one. What is drawn by chance depends on the seed alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.active_learning.strategies.base import Strategy
from ml_backend.dataset.example import Example
from ml_backend.simulation.annotator import review
from ml_backend.simulation.curves import Point
from ml_backend.simulation.effort import Effort, add_up
from ml_backend.simulation.lab import Lab, Named
from ml_backend.simulation.selection import choose_images
from ml_backend.system.atomic_files import read_json, write_json


@dataclass(frozen=True)
class Round:
    """A round, as its file holds it.

    Attributes:
        deleted: The images that were reviewed, by name, each with what was deleted there: rows of
            four numbers, px.
        effort: Of this round.
        figures: Of the version that came of it; see `curves.Point`.
    """

    deleted: Mapping[str, list[list[float]]]
    effort: Effort
    figures: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Give plain values; `from_json` reads them back."""
        return {
            "deleted": dict(self.deleted),
            "effort": self.effort.to_json(),
            "figures": dict(self.figures),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Round:
        """Read what `to_json` gave."""
        return cls(value["deleted"], Effort(**value["effort"]), value["figures"])


def run_rounds(
    lab: Lab,
    strategy: Strategy,
    batch: int,
    rounds: int,
    advance: Callable[[int], None] = lambda images: None,
) -> list[Round]:
    """Run the rounds of a strategy that were not run yet.

    Args:
        lab: Of the seed.
        strategy: Chooses what is reviewed.
        batch: Images a round.
        rounds: How many rounds; fewer where no image is left.
        advance: Called after every round with how many images its version learned from.

    Returns:
        All rounds; the first without a review, of the version that marks the first images.
    """
    folder = lab.folder / strategy.name
    done = _read_rounds(folder)[: rounds + 1]
    if not done:
        done = [Round({}, Effort(), lab.judge(lab.served))]
        write_json(folder / "round-0.json", done[0].to_json())
    for past in range(1, len(done)):
        advance(sum(len(r.deleted) for r in done[: past + 1]))
    for number in range(len(done), rounds + 1):
        reviewed = _list_reviewed(lab.pool, done)
        waiting = {name: e for name, e in lab.pool.items() if name not in reviewed}
        if not waiting:
            break
        before = folder / f"model-{number - 1}"
        version = lab.train(list(reviewed.values()), before) if reviewed else lab.served
        shown = choose_images(lab, strategy, version, reviewed, waiting, number - 1, batch)
        chosen = {name: review(lab.pool[name], boxes) for name, boxes in shown.items()}
        deleted = {name: review.example.deleted.tolist() for name, review in chosen.items()}
        learned = {**reviewed, **{name: review.example for name, review in chosen.items()}}
        after = lab.train(list(learned.values()), folder / f"model-{number}")
        effort = add_up(review.effort for review in chosen.values())
        done.append(Round(deleted, effort, lab.judge(after)))
        write_json(folder / f"round-{number}.json", done[-1].to_json())
        shutil.rmtree(before, ignore_errors=True)
        advance(len(learned))
    return done


def make_curve(rounds: Sequence[Round]) -> list[Point]:
    """Make the curve of a run: what was spent until the end of each round, and the figures then."""
    points, spent = [], Effort()
    for done in rounds:
        spent = add_up([spent, done.effort])
        points.append(Point(spent.images, spent.added, spent.edits, spent.seconds, **done.figures))
    return points


def _read_rounds(folder: Path) -> list[Round]:
    rounds: list[Round] = []
    while (value := read_json(folder / f"round-{len(rounds)}.json")) is not None:
        rounds.append(Round.from_json(value))
    return rounds


def _list_reviewed(pool: Named, rounds: Sequence[Round]) -> dict[str, Example]:
    """The images reviewed so far, as training gets them."""
    return {
        name: replace(pool[name], deleted=np.array(rows, np.float32).reshape(-1, 4))
        for done in rounds
        for name, rows in done.deleted.items()
    }
