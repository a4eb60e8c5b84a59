"""Which model predicts which corrected task when a candidate is compared with the champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml_backend.dataset.folds import Fold, make_folds
from ml_backend.dataset.snapshot import Item, Snapshot
from ml_backend.promotion.decision import RULE, select_unseen
from ml_backend.registry import resolve
from ml_backend.registry.versions import Registry, Version

# Two folds cost as much again as the training itself: each learns from half of the lent
# tasks. More folds come closer to what the candidate learned, for a training's time each.
FOLDS = 2
# A training that goes on takes fewer passes, which leaves time for a third: its models learn
# from two thirds of the lent tasks, so the trial sees more of what the candidate gained by them.
FOLDS_AGAIN = 3
# Fewer lent tasks than this are not worth trainings of their own.
FEWEST_LENT = 5


@dataclass(frozen=True)
class ComparisonPlan:
    """Which model predicts which task.

    Attributes:
        held_out: Tasks that the candidate itself predicts.
        folds: Tasks lent from training, with those that each fold's model is trained on.
        left_out: How many corrected tasks cannot be judged fairly.
    """

    held_out: tuple[Item, ...]
    folds: tuple[Fold, ...]
    left_out: int

    @property
    def items(self) -> list[Item]:
        """All tasks to be judged."""
        return [*self.held_out, *(item for fold in self.folds for item in fold.judged)]


def list_past(candidate: Version, champion: Version | None, registry: Registry) -> list[Version]:
    """List the versions whose training tasks cannot judge: the champion, and the candidate's past.

    Args:
        candidate: The new version, and so the models of the folds, were trained from its base and
            the version that it goes on from.
        champion: None where the project has none.
        registry: The versions.

    Raises:
        UnknownVersion: One of them is not there any more.
    """
    names = (candidate.base, candidate.earlier)
    past = [resolve.find_base(name, registry)[1] for name in names]
    return [version for version in (*past, champion) if version is not None]


def plan_comparison(
    snapshot: Snapshot, candidate: Version, past: Sequence[Version]
) -> ComparisonPlan:
    """Plan which model predicts which task.

    Tasks that a version of the past was trained on, or their group, are left out; so are, where
    the candidate itself predicts, those that it was trained on.

    Args:
        snapshot: The corrected tasks.
        candidate: The new version.
        past: See `list_past`.
    """
    held_out, left_out = _select_unseen(snapshot.select_side("holdout"), [*past, candidate])
    train = snapshot.select_side("train")
    wanted = RULE.many - len(held_out)
    if wanted <= 0:
        return ComparisonPlan(tuple(held_out), (), left_out)
    lent, train_left_out = _select_unseen(train, past)
    number = FOLDS_AGAIN if candidate.earlier else FOLDS
    folds: list[Fold] = []
    for fold in make_folds(train, lent, number) if len(lent) >= FEWEST_LENT else []:
        if wanted > 0:
            folds.append(fold)
            wanted -= len(fold.judged)
    return ComparisonPlan(tuple(held_out), tuple(folds), left_out + train_left_out)


def _select_unseen(items: Sequence[Item], past: Sequence[Version]) -> tuple[list[Item], int]:
    hashes = {image_hash for version in past for image_hash in version.seen_hashes}
    groups = {group for version in past for group in version.seen_groups}
    return select_unseen(items, hashes, groups)
