"""Champion, candidate, what each found in every judged task: a decision with its reasons. Pure.

Few tasks decide by luck: with six of them a detector that is 5 points worse passes a plain
comparison up to a third of the time. So both sides are judged on the same tasks, whole
groups of these are redrawn, and the candidate must be better in most of the redraws. How
often that goes right stands in docs/promotion.md, simulated with this very code.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ml_backend.dataset.snapshot import Item
from ml_backend.dataset.split import known_in
from ml_backend.evaluation.bootstrap import draw_weights, mean_defined
from ml_backend.evaluation.class_matches import Counts, f1_by_class


@dataclass(frozen=True)
class Rule:
    """When a candidate is promoted.

    unlucky, margin: its mean F1, less the champion's, is above 0, and above the margin in
        all but this share of the redraws. Chosen by benchmarks/promotion_odds.py.
    fall, few_boxes: a class may lose so much F1; more only where it has fewer true boxes
        than that, and then it is said.
    many: judged tasks from which a decision is not called provisional any more.
    fewest_groups: with fewer, redrawing groups would repeat the same few: tasks are redrawn.
    """

    unlucky: float = 0.25
    margin: float = 0.01
    fall: float = 0.02
    few_boxes: int = 30
    many: int = 100
    fewest_groups: int = 5


RULE = Rule()


@dataclass(frozen=True)
class Decision:
    """promoted, and why or why not, in sentences for the person who trained.

    provisional: on little data. tasks, groups: that were judged. difference: of mean F1,
    candidate less champion. low: the same in the redraw that decides (`Rule.unlucky`).
    """

    promoted: bool
    reasons: tuple[str, ...]
    provisional: bool = False
    tasks: int = 0
    groups: int = 0
    difference: float | None = None
    low: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "reasons": list(self.reasons)}


@dataclass(frozen=True)
class Side:
    """One side of a judgement: its version string, its boxes by task and headline class."""

    version: str
    counts: Counts


def fair(
    items: Sequence[Item], seen_hashes: Collection[str], seen_groups: Collection[str]
) -> tuple[list[Item], int]:
    """The tasks that nothing with that past was trained on, and how many were left out."""
    hashes, seen = set(seen_hashes), known_in(_bare(group) for group in seen_groups)
    kept = [
        item
        for item in items
        if item.image_hash not in hashes
        and not any(seen(_bare(group)) for group in item.surroundings)
    ]
    return kept, len(items) - len(kept)


def _bare(group: str) -> str:
    """A sample is the same sample whether a folder, a table or a task names it."""
    return group.removeprefix("sample:")


def decide(
    champion: Side | None,
    candidate: Side,
    groups: Sequence[str],
    left_out: int = 0,
    rule: Rule = RULE,
) -> Decision:
    """Promote only what is better, and not by luck.

    The sides' counts are of the same tasks, in the same order, and of the same classes.
    groups: of those tasks. left_out: corrected tasks that do not count, because one of the
    sides was trained on them or on their group. Without a champion, the candidate must
    find something.
    """
    if not groups:
        return Decision(
            False,
            (
                "not judged: there is no corrected task that neither was trained on; "
                "correct some whose 'split' is 'holdout'",
                *_remarks(0, 0, left_out, rule),
            ),
        )
    weights = _redraws(groups, rule)
    classes = f1_by_class(candidate.counts, weights)
    f1 = mean_defined(classes)
    difference = low = None
    if np.isnan(f1[0]):
        promoted, reasons = False, ["not judged: the judged tasks show no headline object"]
    elif champion is None:
        promoted = bool(f1[0] > 0)
        said = f"the first version of this project, F1 {f1[0]:.3f}"
        reasons = [said if promoted else f"{said}: it finds nothing"]
    else:
        before = f1_by_class(champion.counts, weights)
        differences = f1 - mean_defined(before)
        difference = float(differences[0])
        low = float(np.nanquantile(differences[1:], rule.unlucky))
        fallen, warnings = _falls(candidate.counts, before[:, 0], classes[:, 0], rule)
        said = (
            f"F1 of {candidate.version} is {f1[0]:.3f}, of the champion {champion.version} "
            f"{f1[0] - difference:.3f}"
        )
        promoted = difference > 0 and low > rule.margin and not fallen
        if difference <= 0:
            reasons = [f"not better: {said}"]
        elif low <= rule.margin:
            reasons = [
                f"perhaps better, but perhaps by luck: {said}; when the judged tasks are "
                f"redrawn it is {low:+.3f} in the unlucky {rule.unlucky:.0%}, which must be "
                f"above {rule.margin:+.3f}: correct more tasks"
            ]
        elif fallen:
            reasons = [f"better on the whole, but not for every class: {said}"]
        else:
            reasons = [f"better: {said}"]
        reasons += [*fallen, *warnings]
    return Decision(
        promoted,
        (*reasons, *_remarks(len(groups), len(set(groups)), left_out, rule)),
        len(groups) < rule.many,
        len(groups),
        len(set(groups)),
        difference,
        low,
    )


def _remarks(tasks: int, groups: int, left_out: int, rule: Rule) -> list[str]:
    if not tasks:
        said = "corrected tasks do not count: one of the two was trained on them or their like"
        return [f"{left_out} {said}"] if left_out else []
    of = "1 group" if groups == 1 else f"{groups} groups"
    judged = f"judged on {tasks} corrected tasks of {of} that neither was trained on"
    if left_out:
        judged += f"; {left_out} more were left out because one of them was"
    if tasks >= rule.many:
        return [judged]
    return [judged, f"provisional: with fewer than {rule.many} tasks some luck remains"]


def _redraws(groups: Sequence[str], rule: Rule) -> np.ndarray:
    """How often each task counts (R, T): the tasks as they are, then redrawn by group."""
    names, unit = np.unique(groups, return_inverse=True)
    if len(names) < rule.fewest_groups:
        return draw_weights(len(groups))
    return draw_weights(len(names))[:, unit]


def _falls(
    counts: Counts, before: np.ndarray, after: np.ndarray, rule: Rule
) -> tuple[list[str], list[str]]:
    """What is said of classes (C,) that got worse: those that forbid it, those that do not."""
    fallen, warnings = [], []
    boxes = (counts.right + counts.missed).sum(axis=0)
    for name, number, old, new in zip(counts.classes, boxes, before, after, strict=True):
        if len(counts.classes) > 1 and old - new > rule.fall:
            said = f"F1 of {name!r} falls from {old:.3f} to {new:.3f}, judged on {number} boxes"
            if number < rule.few_boxes:
                warnings.append(f"watch: {said}, too few to decide by")
            else:
                fallen.append(said)
    return fallen, warnings
