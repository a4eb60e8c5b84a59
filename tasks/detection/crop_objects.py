"""One image for each object: metaphase spreads cut into single chromosomes.

    OUT/spread 1/spread 1-001.png    a square around an object
    OUT/image_labels.csv             one row a crop: where it is from, and what it is called

The folder is a labelled folder of whole images, and its sub-folders are samples, so that it can be
imported as it is: `cytoloop up --images OUT --labels shapes`.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import IMAGE_LABELS, read_folder
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.contours import ContourRule, find_contours
from ml_backend.imaging.crops import cut_square
from ml_backend.imaging.decode import decode, encode_png
from ml_backend.imaging.tone import Tone, set_tone
from ml_backend.learners.base import ObjectDetector, Picture
from ml_backend.system.atomic_files import create_folder
from ml_backend.system.csv_cells import write_cell
from tasks.detection.sort_images import check_folders
from tasks.sources.discover import Skipped

COLUMNS = (
    "image", "sample", "image_label", "source", "x1", "y1", "x2", "y2", "called", "confidence",
)  # fmt: skip


class CropSummary(TypedDict):
    """What `crop_objects` did.

    Attributes:
        images: That were cut.
        crops: That were written.
        skipped: What was left out, and why.
    """

    images: int
    crops: int
    skipped: list[Skipped]


class Cutter(Protocol):
    """Says where the objects of an image are, and what is known of each."""

    def find(self, example: Example, pixels: np.ndarray) -> Boxes:
        """Find the objects; the label of each is "" where nothing says what it is."""
        ...

    def is_truth(self) -> bool:
        """Tell whether a person gave the labels."""
        ...


@dataclass(frozen=True)
class ContourCutter:
    """Finds objects by their outlines."""

    rule: ContourRule = ContourRule()

    def find(self, example: Example, pixels: np.ndarray) -> Boxes:
        """See `Cutter`."""
        xyxy = find_contours(pixels, self.rule)
        return Boxes.from_rows((*row, "") for row in xyxy.tolist())

    def is_truth(self) -> bool:
        """See `Cutter`."""
        return False


@dataclass(frozen=True)
class MarkCutter:
    """Takes the boxes that the folder's annotations mark."""

    def find(self, example: Example, pixels: np.ndarray) -> Boxes:
        """See `Cutter`."""
        return Boxes() if example.boxes is None else example.boxes

    def is_truth(self) -> bool:
        """See `Cutter`."""
        return True


@dataclass(frozen=True)
class DetectorCutter:
    """Takes the headline objects that a detector finds."""

    detector: ObjectDetector

    def find(self, example: Example, pixels: np.ndarray) -> Boxes:
        """See `Cutter`."""
        (found,) = self.detector.predict([Picture(pixels, example.pixel_size)])
        return found.boxes.select(np.isin(found.boxes.label, list(self.detector.card.headline)))

    def is_truth(self) -> bool:
        """See `Cutter`."""
        return False


def crop_objects(
    source: Path,
    cutter: Cutter,
    out: Path,
    tone: Tone | None = None,
    progress: Callable[[float, float], None] = lambda done, total: None,
) -> CropSummary:
    """Cut the objects of an image, or of those of a folder, each into a file below `out`.

    The folder appears when it is complete. Objects are found in the image as it is; the tone is
    set afterwards, of the whole image, so that crops of one image stay alike.

    Args:
        source: An image or a labelled folder.
        cutter: Says where the objects are.
        out: A folder that is not there yet, or empty, and not within the source.
        tone: What the crops' tone is set to; left as it is where None.
        progress: Called with (done, all) images.

    Raises:
        FileNotFoundError: There is no source.
        ValueError: The source holds no image, or `out` cannot be used.
        OSError: `out` cannot be written.
    """
    check_folders(source, out)
    root = Path(os.path.abspath(source if source.is_dir() else source.parent))
    found = read_folder(root)
    examples = [e for e in found.examples if source.is_dir() or e.image.samefile(source)]
    if not examples:
        raise ValueError(f"{source} is not an image that can be read")
    skipped: list[Skipped] = [
        {"source": name, "reason": reason} for name, reason in found.skipped if source.is_dir()
    ]
    images = crops = 0
    with (
        create_folder(out) as folder,
        (folder / IMAGE_LABELS).open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(COLUMNS)
        names = [example.image.relative_to(root) for example in examples]
        shelves = name_shelves(names)
        for number, (example, name, shelf) in enumerate(
            zip(examples, names, shelves, strict=True), start=1
        ):
            try:
                for row in _cut(example, name, folder / shelf, cutter, tone):
                    table.writerow(map(write_cell, row))
                    crops += 1
                images += 1
            except ValueError as error:
                skipped.append({"source": name.as_posix(), "reason": str(error)})
            progress(number, len(examples))
    return {"images": images, "crops": crops, "skipped": skipped}


def name_shelves(images: Sequence[Path]) -> list[str]:
    """Name the folder of each image's crops: the shortest names by which all differ.

    They lie side by side, because the folders next to the root are what `up` calls samples.

    Args:
        images: Their paths within the source.
    """
    choices = (
        [image.stem for image in images],
        ["_".join(image.with_suffix("").parts) for image in images],
        ["_".join(image.parts) for image in images],
        [f"{number:04} {image.stem}" for number, image in enumerate(images, start=1)],
    )
    # As a disk that knows no upper and lower case sees them.
    return next(names for names in choices if len({n.lower() for n in names}) == len(names))


def _cut(
    example: Example, name: Path, shelf: Path, cutter: Cutter, tone: Tone | None
) -> Iterator[tuple[str | float, ...]]:
    """Write the crops of one image; a row of the table for each."""
    pixels = decode(example.image)
    boxes = cutter.find(example, pixels)
    if tone is not None:
        pixels = set_tone(pixels, tone)
    if len(boxes):
        shelf.mkdir(parents=True, exist_ok=True)
    for number, (*corners, label, confidence) in enumerate(boxes.to_rows(), start=1):
        path = shelf / f"{name.stem}-{number:03}.png"
        path.write_bytes(encode_png(cut_square(pixels, np.array(corners))))
        yield (
            f"{shelf.name}/{path.name}",
            example.group,
            label if cutter.is_truth() else "",
            name.as_posix(),
            *(round(side, 2) for side in corners),
            "" if cutter.is_truth() else label,
            "" if cutter.is_truth() or not label else round(confidence, 4),
        )
