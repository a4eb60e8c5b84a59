"""Whether annotators have to edit more than before a promotion. Pure.

A judgement on held-out tasks is an exam; what people then have to change is the work itself.
The first tasks corrected under a new champion are compared with the last ones under the
champion before: if the edits a task rose by more than a quarter, and by more than chance does
in 39 of 40 cases (a permutation test: no form of the counts is assumed), it is worse.

How often that goes wrong, or finds what it should, is simulated by `benchmarks/watch_odds.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.dataset.corrections import Correction
from ml_backend.registry.versions import ChampionChange

# Tasks corrected under the new champion, and at least and at most under the one before.
AFTER, BEFORE_LEAST, BEFORE_MOST = 20, 5, 50
# The rise that matters, and the chance at which noise alone may look like one.
RISE, CHANCE = 1.25, 0.025
_SHUFFLES = 2000
# Who rolls back, in the record.
BY = "cytoloop"


@dataclass(frozen=True)
class Verdict:
    """worse: the champion should go; said: why, in a sentence, with the figures."""

    worse: bool
    said: str


def watched(history: Sequence[ChampionChange]) -> ChampionChange | None:
    """The promotion whose champion is in force and on trial; None where there is none.

    A version that was rolled back by itself and then promoted again is wanted as it is.
    """
    if not history or history[-1].kind != "promotion" or not history[-1].previous:
        return None
    now = history[-1]
    return None if now.version in found_worse(history) else now


def found_worse(history: Sequence[ChampionChange]) -> set[str]:
    """The versions that were rolled back by themselves; only a person promotes them again."""
    return {one.previous for one in history if one.kind == "rollback" and one.by == BY}


def judge(change: ChampionChange, corrections: Iterable[Correction]) -> Verdict | None:
    """What the corrections say about a promotion; None while they are too few.

    corrections: of both versions, in any order. The same ones count however many follow.
    """
    corrections = list(corrections)
    after = _edits_by_task(corrections, change.version)[:AFTER]
    before = _edits_by_task(corrections, change.previous)[-BEFORE_MOST:]
    if len(after) < AFTER or len(before) < BEFORE_LEAST:
        return None
    chance = rose(before, after)
    means = float(np.mean(before)), float(np.mean(after))
    worse = means[1] >= RISE * means[0] and chance <= CHANCE
    return Verdict(
        worse,
        f"annotators made {means[1]:.2f} edits a task in the first {len(after)} tasks of "
        f"{change.version}, {means[0]:.2f} in the last {len(before)} of {change.previous} "
        f"({'a rise' if worse else 'no rise that matters'}, p {_shown(chance)})",
    )


def _shown(chance: float) -> str:
    return f"= {chance:.3f}" if chance >= 0.001 else "< 0.001"


def rose(before: Sequence[float], after: Sequence[float]) -> float:
    """The chance (0..1) of a rise in the mean like this one, were all of one kind.

    One-sided permutation test with a fixed seed: the same counts give the same answer.
    """
    values, times = np.unique([*before, *after], return_counts=True)
    drawn = np.random.default_rng(0).multivariate_hypergeometric(times, len(after), _SHUFFLES)
    as_high = int((drawn @ values >= np.sum(after) - 1e-9).sum())
    return (as_high + 1) / (_SHUFFLES + 1)


def _edits_by_task(corrections: Iterable[Correction], version: str) -> list[float]:
    """Edits of each task shown by the version, in the order of their first annotations.

    Of several annotators, their mean.
    """
    tasks: dict[int, list[int]] = {}
    for one in sorted(corrections, key=lambda one: one.annotation):
        if one.version == version:
            tasks.setdefault(one.task, []).append(one.changed)
    return [float(np.mean(counts)) for counts in tasks.values()]
