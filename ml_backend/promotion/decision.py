"""Whether a candidate is promoted: both versions' matches on the judged tasks → a decision.

Few tasks decide by luck: with six of them a detector that is 5 points worse passes a plain
comparison up to a third of the time. So both versions are judged on the same tasks, whole groups
of these are resampled, and the candidate must be better in most of the resamples. How often that
decides correctly is in docs/promotion.md, simulated with this very code.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ml_backend.dataset.snapshot import Item
from ml_backend.dataset.split import make_group_matcher
from ml_backend.evaluation.bootstrap import average_defined, make_bootstrap_weights
from ml_backend.evaluation.class_matches import MatchCounts, compute_class_f1


@dataclass(frozen=True)
class PromotionRule:
    """When a candidate is promoted.

    Attributes:
        unlucky: The candidate's mean F1, less the champion's, must be above 0, and above the
            margin in all but this share of the resamples. Chosen by
            benchmarks/promotion_odds.py.
        margin: See `unlucky`.
        fall: How much F1 a class may lose.
        few_boxes: A class with fewer true boxes may lose more; then there is a warning.
        many: With fewer judged tasks a decision is called provisional.
        fewest_groups: With fewer groups, resampling them would repeat the same few, so single
            tasks are resampled.
    """

    unlucky: float = 0.25
    margin: float = 0.01
    fall: float = 0.02
    few_boxes: int = 30
    many: int = 100
    fewest_groups: int = 5


RULE = PromotionRule()


@dataclass(frozen=True)
class Decision:
    """Whether a candidate is promoted, and why.

    Attributes:
        promoted: Whether it is.
        reasons: Why or why not, in sentences for the person who trained.
        provisional: The decision rests on few tasks.
        tasks: How many tasks were judged.
        groups: How many groups they belong to.
        difference: Mean F1 of the candidate, less the champion's; None without a champion.
        low: The same in the resample that decides, see `PromotionRule.unlucky`.
    """

    promoted: bool
    reasons: tuple[str, ...]
    provisional: bool = False
    tasks: int = 0
    groups: int = 0
    difference: float | None = None
    low: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values."""
        return {**asdict(self), "reasons": list(self.reasons)}


@dataclass(frozen=True)
class JudgedVersion:
    """A version and what it found on the judged tasks.

    Attributes:
        version: Its name.
        counts: Its matches by task and headline class.
    """

    version: str
    counts: MatchCounts


def select_unseen(
    items: Sequence[Item], seen_hashes: Collection[str], seen_groups: Collection[str]
) -> tuple[list[Item], int]:
    """Select the tasks that no version with this past was trained on.

    Args:
        items: Corrected tasks.
        seen_hashes: SHA-256 of the images that the versions and their ancestors were trained on.
        seen_groups: The groups of these images.

    Returns:
        The unseen tasks, and how many were left out.
    """
    hashes = set(seen_hashes)
    is_seen = make_group_matcher(_strip_prefix(group) for group in seen_groups)
    unseen = [
        item
        for item in items
        if item.image_hash not in hashes
        and not any(is_seen(_strip_prefix(group)) for group in item.surroundings)
    ]
    return unseen, len(items) - len(unseen)


def _strip_prefix(group: str) -> str:
    """Strip `sample:`: a sample is the same whether a folder, a table or a task names it."""
    return group.removeprefix("sample:")


def decide_promotion(
    champion: JudgedVersion | None,
    candidate: JudgedVersion,
    groups: Sequence[str],
    left_out: int = 0,
    rule: PromotionRule = RULE,
) -> Decision:
    """Decide whether a candidate is promoted: only if it is better, and not by luck.

    Args:
        champion: Its counts are of the same tasks, in the same order, and of the same classes as
            the candidate's. None: the project has no champion, and the candidate must only find
            something.
        candidate: The candidate.
        groups: The group of each of those tasks.
        left_out: Corrected tasks that do not count, because one of the two versions was trained
            on them or on their group.
        rule: When a candidate is promoted.
    """
    if not groups:
        return Decision(
            False,
            (
                "not judged: there is no corrected task that neither was trained on; "
                "correct some whose 'split' is 'holdout'",
                *_list_remarks(0, 0, left_out, rule),
            ),
        )
    weights = _weight_tasks(groups, rule)
    class_f1 = compute_class_f1(candidate.counts, weights)
    f1 = average_defined(class_f1)
    difference = low = None
    if np.isnan(f1[0]):
        promoted, reasons = False, ["not judged: the judged tasks show no headline object"]
    elif champion is None:
        promoted = bool(f1[0] > 0)
        first = f"the first version of this project, F1 {f1[0]:.3f}"
        reasons = [first if promoted else f"{first}: it finds nothing"]
    else:
        class_f1_before = compute_class_f1(champion.counts, weights)
        differences = f1 - average_defined(class_f1_before)
        difference = float(differences[0])
        low = float(np.nanquantile(differences[1:], rule.unlucky))
        fallen, warnings = _find_falls(
            candidate.counts, class_f1_before[:, 0], class_f1[:, 0], rule
        )
        promoted = difference > 0 and low > rule.margin and not fallen
        figures = (
            f"F1 of {candidate.version} is {f1[0]:.3f}, of the champion {champion.version} "
            f"{f1[0] - difference:.3f}"
        )
        if difference <= 0:
            reason = f"not better: {figures}"
        elif low <= rule.margin:
            reason = (
                f"perhaps better, but perhaps by luck: {figures}; when the judged tasks are "
                f"redrawn it is {low:+.3f} in the unlucky {rule.unlucky:.0%}, which must be "
                f"above {rule.margin:+.3f}: correct more tasks"
            )
        elif fallen:
            reason = f"better on the whole, but not for every class: {figures}"
        else:
            reason = f"better: {figures}"
        reasons = [reason, *fallen, *warnings]
    return Decision(
        promoted,
        (*reasons, *_list_remarks(len(groups), len(set(groups)), left_out, rule)),
        len(groups) < rule.many,
        len(groups),
        len(set(groups)),
        difference,
        low,
    )


def _list_remarks(tasks: int, groups: int, left_out: int, rule: PromotionRule) -> list[str]:
    if not tasks:
        reason = "corrected tasks do not count: one of the two was trained on them or their like"
        return [f"{left_out} {reason}"] if left_out else []
    of_groups = "1 group" if groups == 1 else f"{groups} groups"
    judged = f"judged on {tasks} corrected tasks of {of_groups} that neither was trained on"
    if left_out:
        judged += f"; {left_out} more were left out because one of them was"
    if tasks >= rule.many:
        return [judged]
    return [judged, f"provisional: with fewer than {rule.many} tasks some luck remains"]


def _weight_tasks(groups: Sequence[str], rule: PromotionRule) -> np.ndarray:
    """How often each task counts (R, T): first once each, then resampled by group."""
    names, unit = np.unique(groups, return_inverse=True)
    if len(names) < rule.fewest_groups:
        return make_bootstrap_weights(len(groups))
    return make_bootstrap_weights(len(names))[:, unit]


def _find_falls(
    counts: MatchCounts, before: np.ndarray, after: np.ndarray, rule: PromotionRule
) -> tuple[list[str], list[str]]:
    """Find the classes (C,) that got worse: those that forbid a promotion, and mere warnings."""
    fallen, warnings = [], []
    boxes = (counts.right + counts.missed).sum(axis=0)
    for name, number, old, new in zip(counts.classes, boxes, before, after, strict=True):
        if len(counts.classes) > 1 and old - new > rule.fall:
            fall = f"F1 of {name!r} falls from {old:.3f} to {new:.3f}, judged on {number} boxes"
            if number < rule.few_boxes:
                warnings.append(f"watch: {fall}, too few to decide by")
            else:
                fallen.append(fall)
    return fallen, warnings
