"""What a report is made of, wherever it comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ml_backend.counting.estimates import ProjectCount
from ml_backend.dataset.corrections import Usefulness
from ml_backend.estimation.prediction_powered import Refusal
from ml_backend.evaluation.label_quality.annotator_agreement import AnnotatorAgreement
from tasks.reports.counts import ImageGroup
from tasks.sources.discover import Skipped


@dataclass(frozen=True)
class Piece:
    """A part of the picture of a group.

    Attributes:
        image: The number of the image in its group.
        plane: The plane that it shows, from 0.
        left: Its place in the group, px.
        top: The same, downwards.
        pixels: (H, W, 3) uint8 RGB; may be overwritten as soon as the next piece is asked for.
    """

    image: int
    plane: int
    left: float
    top: float
    pixels: np.ndarray


class Pixels(Protocol):
    """Where the pixels of the images come from."""

    def read_pieces(
        self, group: ImageGroup, images: Collection[int], skipped: list[Skipped]
    ) -> Iterator[Piece]:
        """Read images of a group in pieces, in any order.

        Args:
            group: The group.
            images: The numbers of the images in it.
            skipped: Gets the images that cannot be read, with the reason.

        Yields:
            The pieces of those that can be read.
        """
        ...


@dataclass
class ReportSource:
    """All that a report says and shows.

    Attributes:
        title: Of the report.
        groups: In the order of the report.
        classes: In the order of the labels.
        headline: Those of the classes that the labels are about.
        colours: Of each class, #RRGGBB.
        dividing: Classes that say how a cell divides, beside those whose names say so.
        model: The version that detected; "" where it is not known.
        corrections: What annotators changed, by version.
        from_nothing: Annotations that started from no pre-annotation.
        annotators: The policy for tasks with several annotators.
        agreements: How far the annotators of each such task agree, 0..1.
        name_agreement: How far they agree on what things are called; None where no two of them
            named the same thing.
        pixels: None where there are no images to show.
        skipped: What was left out, and why.
        names_images: Whether whole images are called something, in place of objects in them;
            each of the groups is an image then.
    """

    title: str
    groups: Sequence[ImageGroup]
    classes: tuple[str, ...]
    headline: tuple[str, ...]
    colours: dict[str, str]
    model: str = ""
    corrections: list[Usefulness] = field(default_factory=list)
    from_nothing: int = 0
    annotators: str = ""
    agreements: list[float] = field(default_factory=list)
    name_agreement: AnnotatorAgreement | None = None
    pixels: Pixels | None = None
    skipped: list[Skipped] = field(default_factory=list)
    names_images: bool = False
    count: ProjectCount | Refusal | None = None
    dividing: frozenset[str] = frozenset()
