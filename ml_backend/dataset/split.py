"""Which tasks are kept apart for judging, decided before anything is drawn on them.

A group (a sample, a slide, a scan) falls on one side by a hash of its name, so the
decision is the same on every machine and cannot depend on who reviews what first.
Once a task carries its side in its data, that is the truth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

Side = Literal["train", "holdout"]

# In this order: the first field that a task's data has names its group.
GROUP_FIELDS = ("scan", "sample", "slide")


@dataclass(frozen=True)
class Assignment:
    """side: where the task belongs. probability: with which it got there. reason: in words."""

    side: Side
    probability: float
    reason: str

    def task_data(self) -> dict[str, Any]:
        """The fields that a task carries from its creation on."""
        return {
            "split": self.side,
            "sampling_p": round(self.probability, 6),
            "sampling_reason": self.reason,
        }


def unit_hash(text: str) -> float:
    """A number in [0, 1) that is uniform over texts and the same on every machine."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def assign(group: str, share: float) -> Assignment:
    """The side of one group; `share` (0..1) of all groups is held out."""
    if unit_hash(f"cytoloop split/{group}") < share:
        return Assignment("holdout", share, "held out for judging, by its group")
    return Assignment("train", 1 - share, "for training, by its group")


def assign_all(groups: Iterable[str], share: float) -> dict[str, Assignment]:
    """The side of every group of a new project.

    As `assign`, but never all on one side: of a few samples the hash might hold out
    none, and nothing could be judged, or all, and nothing could be learned. Then the
    group with the lowest hash is held out, the others are trained on. A single group
    stays together, in training: split it by its files instead.
    """
    names = sorted(set(groups), key=lambda group: unit_hash(f"cytoloop split/{group}"))
    sides = {group: assign(group, share) for group in names}
    if share > 0 and len(names) > 1 and len({a.side for a in sides.values()}) == 1:
        reason = "by its group, the first of few in the order of their hashes"
        p = 1 / len(names)
        sides = {group: Assignment("train", 1 - p, f"for training, {reason}") for group in names}
        sides[names[0]] = Assignment("holdout", p, f"held out for judging, {reason}")
    return sides


def group_of(data: Mapping[str, Any], image: str) -> str:
    """The group of a task: its scan, sample or slide, else the file that it shows.

    data: the task's data. image: the address of its image; of an address only the path
    counts, because the same file is often served by more than one host.
    """
    for name in GROUP_FIELDS:
        if data.get(name) not in (None, ""):
            return f"{name}:{data[name]}"
    if data.get("source"):
        return f"file:{data['source']}"
    parts = urlsplit(str(image))
    path = parts.query.removeprefix("d=") if "local-files" in parts.path else parts.path
    return f"file:{unquote(path)}"
