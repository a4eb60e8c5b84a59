"""Which tasks are kept apart for judging, decided before anything is drawn on them.

A group (a sample, a slide, a scan) falls on one side by a hash of its name, so the
decision needs no memory, is the same on every machine, and cannot depend on who
reviews what first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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


def assign(group: str, share: float = 0.2) -> Assignment:
    """The side of a group; `share` (0..1) of all groups is held out."""
    if unit_hash(f"cytoloop split/{group}") < share:
        return Assignment("holdout", share, "held out for judging, by its group")
    return Assignment("train", 1 - share, "for training, by its group")


def group_of(data: Mapping[str, Any], image: str) -> str:
    """The group of a task: its scan, sample or slide, else the file that it shows.

    data: the task's data. image: the address of its image; query and host are left
    out, because the same file is often served from more than one address.
    """
    for name in GROUP_FIELDS:
        if data.get(name) not in (None, ""):
            return f"{name}:{data[name]}"
    if data.get("source"):
        return f"file:{data['source']}"
    parts = urlsplit(str(image))
    path = parts.query.removeprefix("d=") if "local-files" in parts.path else parts.path
    return f"file:{unquote(path)}"
