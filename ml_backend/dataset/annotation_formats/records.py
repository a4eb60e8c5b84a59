"""What annotation formats share: their records, and how a format describes itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from numbers import Real
from typing import IO, Any, Protocol

from globox import BoundingBox
from globox.errors import ParsingError

from ml_backend.system.numbers import parse_number

# What globox and plain indexing raise on a box or a file that is not what it should be.
READ_ERRORS = (
    ParsingError,
    AssertionError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
)


@dataclass(frozen=True)
class Annotation:
    """One box as a file has it, not yet clipped to the image.

    Attributes:
        box: The corners in pixels, with the label.
        ignored: Whether the box is to be left out of training and of counting
            (VOC's `difficult`, COCO's `iscrowd`).
        confidence: As the file has it, None where it has none. Of any type, as are plane and
            partial: only `to_detected` reads them, so a truth needs none of them to be right.
        plane: The number of the plane.
        partial: Whether the object may be larger than its box.
    """

    box: BoundingBox
    ignored: bool = False
    confidence: Any = None
    plane: Any = 0
    partial: Any = False


@dataclass(frozen=True)
class ImageAnnotations:
    """What a file has about one image.

    The boxes are read one at a time, so that whoever asks decides whether a bad one is left
    out (`ground_truth.fit_to_image`) or refuses the file (`to_detected`).

    Attributes:
        name: What the file calls the image; None where it does not name it.
        entries: The boxes as they stand in the file.
        read_box: Reads an entry; raises one of `READ_ERRORS`.
        size: The width and height, px, that the file states for the image; None where it
            does not.
    """

    name: str | None
    entries: Sequence[Any]
    read_box: Callable[[Any], Annotation]
    size: tuple[Any, Any] | None = None


@dataclass(frozen=True)
class Detection:
    """One object.

    Attributes:
        x1: Left, px of the scan; y1, x2 and y2 are top, right and bottom.
        label: Its class.
        confidence: 0..1.
        plane: The number of the plane that shows it best.
        partial: Whether it may be larger than its box.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    label: str
    confidence: float
    plane: int
    partial: bool

    @property
    def width(self) -> float:
        """Width in px, to 0.01."""
        return round(self.x2 - self.x1, 2)

    @property
    def height(self) -> float:
        """Height in px, to 0.01."""
        return round(self.y2 - self.y1, 2)

    def to_box(self) -> BoundingBox:
        """The box without its confidence."""
        return BoundingBox(label=self.label, xmin=self.x1, ymin=self.y1, xmax=self.x2, ymax=self.y2)


@dataclass(frozen=True)
class Detected:
    """The detections of one image or scan.

    Attributes:
        source: Its name.
        width: Of its first plane, px; 0 where it is not known.
        height: As width.
        detections: In the order in which they are written.
        planes: How many planes were searched.
        by_hand: Whether a person drew the boxes. Then neither their confidence nor whether
            they are partial is known, and no file has it.
    """

    source: str
    width: int
    height: int
    detections: list[Detection]
    planes: int = 1
    by_hand: bool = False


def to_detected(image: ImageAnnotations) -> Detected:
    """What a file has about an image, as detections; boxes without a confidence are a person's.

    Args:
        image: From a file that names its images.

    Returns:
        The detections with corners to 0.01 px, as they were written: formats that keep a
        width instead of a right side bring the rounding errors of a sum.

    Raises:
        KeyError: The image has no name.
        ValueError, TypeError: A box, its label, confidence or plane cannot be read, or another of
            `READ_ERRORS`.
    """
    if image.name is None:
        raise KeyError("source")
    annotations = [image.read_box(entry) for entry in image.entries]
    by_hand = [annotation.confidence in (None, "") for annotation in annotations]
    detections = []
    for annotation, drawn in zip(annotations, by_hand, strict=True):
        box, label = annotation.box, str(annotation.box.label)
        if not label:
            raise ValueError("a box has no label")
        x1, y1, x2, y2 = (round(read_number(side), 2) for side in box.ltrb)
        confidence = 1.0 if drawn else read_number(annotation.confidence)
        plane = int(read_number(annotation.plane or 0))
        detections.append(
            Detection(x1, y1, x2, y2, label, confidence, plane, bool(annotation.partial))
        )
    width, height = image.size or (0, 0)
    return Detected(
        image.name,
        int(read_number(width)),
        int(read_number(height)),
        detections,
        by_hand=bool(by_hand) and all(by_hand),
    )


def read_number(value: Any) -> float:
    """Read a number of a file.

    Raises:
        TypeError: It is neither a number nor text.
        ValueError: It is none, or out of the range of `parse_number`.
    """
    if not isinstance(value, Real | str):
        raise TypeError(f"not a number: {str(value)[:40]}")
    number = parse_number(value)
    if number is None:
        raise ValueError(f"not a number in range: {str(value)[:40]!r}")
    return number


Add = Callable[[Detected], None]


@dataclass(frozen=True)
class FileFormat:
    """A format that keeps many images in one file.

    Attributes:
        name: What its users call it.
        ending: The ending of the files that are written.
        recognizes: Whether the parsed content of a file is of this format.
        read: Reads the parsed content. Gets a function to call with each fault of the file
            that concerns no single box. Raises one of `READ_ERRORS` where the content is
            not of this format.
        write: Writes to an open text file as detections come, so that memory does not grow
            with them.
        parse: Parses the text of a file; raises ValueError.
        annotation_suffix: The suffix of the files that are taken as annotations of people;
            "" where the format is for detections only.
        joins_names: Whether the boxes of one image may stand under several names of it.
        newline: How the text file is opened for `write`, see `open`.
    """

    name: str
    ending: str
    recognizes: Callable[[Any], bool]
    read: Callable[[Any, Callable[[str], None]], Iterable[ImageAnnotations]]
    write: Callable[[IO[str]], AbstractContextManager[Add]]
    parse: Callable[[str], Any] = json.loads
    annotation_suffix: str = ""
    joins_names: bool = False
    newline: str | None = None


@dataclass(frozen=True)
class PlacedImage:
    """Where an image belongs in a labelled folder, and its annotation file.

    Attributes:
        image: The path of the image, from the folder, with slashes.
        annotations: The path of its annotation file, likewise.
        text: What its annotation file holds.
    """

    image: str
    annotations: str
    text: str


class FolderLayout(Protocol):
    """A format that keeps a file an image, in folders with the images."""

    def place(self, name: str, part: str, detected: Detected) -> PlacedImage:
        """Place the next image.

        Args:
            name: The name of the image's file; no other image has its stem.
            part: What the image is for: `train`, `val`, or `buffer` for neither.
            detected: Its boxes; the label of each is one of the classes.
        """
        ...

    def list_files(self) -> dict[str, str]:
        """The text of the files that list the placed images, by their path from the folder."""
        ...
