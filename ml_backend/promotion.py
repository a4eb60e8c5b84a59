"""Champion, candidate, figures: a decision with its reasons. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ml_backend.dataset.snapshot import Item
from ml_backend.dataset.split import known_in


@dataclass(frozen=True)
class Decision:
    """promoted, and why or why not, in sentences for the person who trained."""

    promoted: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Side:
    """One side of a judgement: version string, and mean F1 of the headline classes (0..1).

    f1 is None where it is undefined: no headline object in the truth, and none drawn.
    """

    version: str
    f1: float | None


def fair(
    items: Sequence[Item], seen_hashes: Collection[str], seen_groups: Collection[str]
) -> tuple[list[Item], int]:
    """The held-out items that neither side ever trained on, and how many were left out."""
    hashes, seen = set(seen_hashes), known_in(_bare(group) for group in seen_groups)
    kept = [item for item in items if item.image_hash not in hashes and not seen(_bare(item.group))]
    return kept, len(items) - len(kept)


def _bare(group: str) -> str:
    """A sample is the same sample whether a folder, a table or a task names it."""
    return group.removeprefix("sample:")


def decide(champion: Side | None, candidate: Side, tasks: int, left_out: int) -> Decision:
    """Promote only what is better.

    tasks: corrected held-out tasks that counted. left_out: held-out tasks that did not,
    because one of the two was trained on them or on their group.
    """
    remain = f"judged on {tasks} held-out tasks that neither was trained on"
    if left_out:
        remain += f"; {left_out} more were left out because one of them was"
    if tasks == 0:
        return Decision(
            False,
            (
                "not judged: no held-out task has been corrected yet; "
                "correct some whose 'split' is 'holdout'",
                remain,
            ),
        )
    if candidate.f1 is None:
        return Decision(False, ("not judged: the held-out tasks show no headline object", remain))
    if champion is None:
        better = candidate.f1 > 0
        said = f"the first version of this project, F1 {candidate.f1:.3f}"
        return Decision(better, (said if better else f"{said}: it finds nothing", remain))
    before = champion.f1 or 0.0
    said = (
        f"F1 of {candidate.version} is {candidate.f1:.3f}, of the champion {champion.version} "
        f"{before:.3f}"
    )
    if candidate.f1 > before:
        return Decision(True, (f"better: {said}", remain))
    return Decision(False, (f"not better: {said}", remain))
