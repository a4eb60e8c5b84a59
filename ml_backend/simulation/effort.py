"""The model of what reviewing costs: counts of what an annotator did, and the seconds of it.

The seconds are a stated model, not a measurement of anybody: other seconds can be put on the
counts, which every curve keeps. Where they come from:

- 7 s to draw a box: Papadopoulos, Uijlings, Keller, Ferrari, Extreme clicking for efficient object
  annotation, ICCV 2017 (7.0 s a box; 34.5 s in the older way).
- 2 s to delete a box: to judge one that is shown takes 1.6 s (Papadopoulos, Uijlings, Keller,
  Ferrari, We don't need no bounding-boxes, CVPR 2016), and a key must be pressed. The same to
  rename one.
- 5 s to move a box: less than drawing it, because it is found already.
- 3 s to look at an image, also where nothing is to be done: our assumption, for a tile that is seen
  at one glance. A whole field takes longer (Su, Deng, Fei-Fei 2012 measured 7.8 s to check that
  nothing was forgotten).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

LOOK_SECONDS = 3.0
ADD_SECONDS = 7.0
DELETE_SECONDS = 2.0
MOVE_SECONDS = 5.0
RENAME_SECONDS = 2.0


@dataclass(frozen=True)
class Effort:
    """What an annotator did.

    Attributes:
        images: Looked at, empty ones too.
        added: Boxes drawn.
        deleted: Boxes that were shown and taken away.
        moved: Boxes that were shown and put right.
        renamed: Boxes that got another class.
    """

    images: int = 0
    added: int = 0
    deleted: int = 0
    moved: int = 0
    renamed: int = 0

    @property
    def edits(self) -> int:
        """All that was changed."""
        return self.added + self.deleted + self.moved + self.renamed

    @property
    def seconds(self) -> float:
        """The time that the model gives for it."""
        return (
            LOOK_SECONDS * self.images
            + ADD_SECONDS * self.added
            + DELETE_SECONDS * self.deleted
            + MOVE_SECONDS * self.moved
            + RENAME_SECONDS * self.renamed
        )

    def to_json(self) -> dict[str, int]:
        """Give the counts as plain values; `Effort(**counts)` reads them back."""
        return asdict(self)


def add_up(efforts: Iterable[Effort]) -> Effort:
    """Add up efforts."""
    efforts = list(efforts)
    names = [field.name for field in fields(Effort)]
    return Effort(**{name: sum(getattr(effort, name) for effort in efforts) for name in names})
