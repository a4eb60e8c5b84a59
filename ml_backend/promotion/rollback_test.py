"""Whether annotators have to edit more than before a promotion.

Figures on held-out tasks predict how good a version is; what annotators then have to change is
the work itself. The first tasks corrected under a new champion are compared with the last ones
under the champion before. The new one is worse if the edits a task rose by more than a quarter,
and by more than chance does in 39 of 40 cases (a permutation test: no form of the distribution
is assumed).

How often that goes wrong, or finds what it should, is simulated by `benchmarks/watch_odds.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.dataset.corrections import Correction
from ml_backend.registry.champions import ChampionChange

# Tasks corrected under the new champion, and at least and at most under the one before.
AFTER, BEFORE_LEAST, BEFORE_MOST = 20, 5, 50
# The rise that matters, and the chance at which noise alone may look like one.
RISE, CHANCE = 1.25, 0.025
_SHUFFLES = 2000
# The name under which the worker's own rollbacks are recorded.
ROLLED_BACK_BY = "cytoloop"


@dataclass(frozen=True)
class Verdict:
    """Whether the new champion is worse.

    Attributes:
        worse: The champion should be rolled back.
        reason: Why or why not, in a sentence, with the figures.
    """

    worse: bool
    reason: str


def find_promotion_on_trial(history: Sequence[ChampionChange]) -> ChampionChange | None:
    """Find the promotion of the current champion, if that is still to be judged.

    A version that was rolled back automatically and then promoted again by a person is not
    judged again.

    Args:
        history: The changes of champion, in order of time.

    Returns:
        The promotion; None where there is nothing to judge.
    """
    if not history or history[-1].kind != "promotion" or not history[-1].previous:
        return None
    last = history[-1]
    return None if last.version in find_rolled_back(history) else last


def find_rolled_back(history: Sequence[ChampionChange]) -> set[str]:
    """Find the versions that were rolled back automatically; only a person promotes them again."""
    return {
        change.previous
        for change in history
        if change.kind == "rollback" and change.by == ROLLED_BACK_BY
    }


def judge_promotion(change: ChampionChange, corrections: Iterable[Correction]) -> Verdict | None:
    """Judge a promotion by the corrections of both versions.

    Args:
        change: The promotion.
        corrections: Of both versions, in any order. The same ones count however many follow.

    Returns:
        The verdict; None while there are too few corrections.
    """
    corrections = list(corrections)
    after = _count_edits(corrections, change.version)[:AFTER]
    before = _count_edits(corrections, change.previous)[-BEFORE_MOST:]
    if len(after) < AFTER or len(before) < BEFORE_LEAST:
        return None
    p = compute_p_value(before, after)
    means = float(np.mean(before)), float(np.mean(after))
    worse = means[1] >= RISE * means[0] and p <= CHANCE
    return Verdict(
        worse,
        f"annotators made {means[1]:.2f} edits a task in the first {len(after)} tasks of "
        f"{change.version}, {means[0]:.2f} in the last {len(before)} of {change.previous} "
        f"({'a rise' if worse else 'no rise that matters'}, p {_format_p(p)})",
    )


def _format_p(p: float) -> str:
    return f"= {p:.3f}" if p >= 0.001 else "< 0.001"


def compute_p_value(before: Sequence[float], after: Sequence[float]) -> float:
    """Compute the p-value of a rise in the mean, by a one-sided permutation test.

    Args:
        before: Edits of each task under the champion before.
        after: Edits of each task under the new one.

    Returns:
        The probability (0..1) of a rise like this one or a larger one, if both were of the same
        distribution. The seed is fixed: the same counts give the same answer.
    """
    values, times = np.unique([*before, *after], return_counts=True)
    shuffled = np.random.default_rng(0).multivariate_hypergeometric(times, len(after), _SHUFFLES)
    as_high = int((shuffled @ values >= np.sum(after) - 1e-9).sum())
    return (as_high + 1) / (_SHUFFLES + 1)


def _count_edits(corrections: Iterable[Correction], version: str) -> list[float]:
    """Count the edits of each task that showed the version's boxes.

    Of several annotators, the mean counts.

    Returns:
        In the order of the tasks' first annotations.
    """
    tasks: dict[int, list[int]] = {}
    for correction in sorted(corrections, key=lambda correction: correction.annotation):
        if correction.version == version:
            tasks.setdefault(correction.task, []).append(correction.changed)
    return [float(np.mean(counts)) for counts in tasks.values()]
