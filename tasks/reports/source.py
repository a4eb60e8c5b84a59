"""What a report is made of, wherever it comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ml_backend.dataset.corrections import Usefulness
from tasks.reports.counts import Field
from tasks.sources.discover import Skipped


@dataclass(frozen=True)
class Piece:
    """A part of a field's picture. look, plane: of which image and plane of it. left, top: its
    place in the field, px.

    pixels: (H, W, 3) uint8 RGB; may be overwritten as soon as the next piece is asked for.
    """

    look: int
    plane: int
    left: float
    top: float
    pixels: np.ndarray


class Pixels(Protocol):
    def pieces(self, one: Field, looks: Collection[int], skipped: list[Skipped]) -> Iterator[Piece]:
        """The pictures of some images of a field, those that can be read, in any order.

        skipped: gets what cannot be read, with the reason.
        """
        ...


@dataclass
class Source:
    """fields: in the order to report them. classes: in the order of the labels, the headline
    classes among them. colours: of each class, #RRGGBB. model: who detected, '' if not known.
    corrections, from_nothing: what annotators changed, of a project. annotators: which boxes
    count of several annotators of a task ('' where there are none); agreements: how far they
    agree, 0..1, of each such task. pixels: None where there are no images to show. skipped:
    what was left out, and why.
    """

    title: str
    fields: Sequence[Field]
    classes: tuple[str, ...]
    headline: tuple[str, ...]
    colours: dict[str, str]
    model: str = ""
    corrections: list[Usefulness] = field(default_factory=list)
    from_nothing: int = 0
    annotators: str = ""
    agreements: list[float] = field(default_factory=list)
    pixels: Pixels | None = None
    skipped: list[Skipped] = field(default_factory=list)
