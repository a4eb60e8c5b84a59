"""A folder of images and what people marked in them, read as examples."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from ml_backend.dataset.annotation_formats import voc
from ml_backend.dataset.annotation_formats.formats import Report
from ml_backend.dataset.annotation_formats.ground_truth import GroundTruth
from ml_backend.dataset.annotation_formats.labelled_folder import (
    FolderImages,
    read_json,
    read_voc,
    read_yolo,
)
from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.pixel_size import parse_pixel_size, read_file_pixel_size
from ml_backend.label_studio.class_names import is_clutter, unify_spelling
from ml_backend.system.csv_cells import read_cell
from ml_backend.system.plain_files import find_obstacle, show_name

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
IMAGE_LABELS = "image_labels.csv"

# Folders whose pictures are annotations (VOC keeps its masks as PNG), in lower case.
_NOT_IMAGES = {*map(str.lower, voc.FOLDERS), "segmentationclass", "segmentationobject"}


@dataclass(frozen=True)
class Folder:
    """What `read_folder` found.

    Attributes:
        examples: One for each image, in order of path; an image that nobody annotated has
            boxes None.
        classes: The labels of all boxes, in order of name; those that differ only in case,
            hyphens, underscores or spaces are one, spelled as it is written most often.
        skipped: (file relative to the folder, reason) of all that could not be read: images
            (not among the examples), annotation files and single boxes (left out).
        choices: What whole images are called, in order of name and spelled in the same way.
    """

    examples: list[Example]
    classes: tuple[str, ...]
    skipped: list[tuple[str, str]]
    choices: tuple[str, ...] = ()

    def describe_first_fault(self) -> str:
        """Describe the first fault, for the end of a message that nothing here can be used.

        Returns:
            Words in parentheses after a space; "" without a fault.
        """
        if not self.skipped:
            return ""
        source, reason = self.skipped[0]
        more = f", and {len(self.skipped) - 1} more" if self.skipped[1:] else ""
        return f" (left out: {source}: {reason}{more})"


def read_folder(folder: Path) -> Folder:
    """Read examples from a folder of images, found recursively without hidden folders.

    Annotations are Pascal VOC (by stem, in `voc_checked/`, else `voc/`, else
    `Annotations/`, else beside the image), a YOLO `data.yaml`, COCO JSON or Create ML
    JSON; where several mark one image, the first in this order is taken. An annotation
    without boxes means that nothing is there; no annotation means that nobody looked.
    Coordinates are pixels of the image as shown (after EXIF orientation).

    `image_labels.csv` (`image,sample,image_label,pixel_size`, the last three as far as they are
    known) in the folder gives the truth for whole images, the samples they come from (the
    groups) and the µm that a pixel shows. Without it every image is its own group, and its pixel
    size is the one in its own metadata. Where nothing else says what images show, folders do that
    lie in the folder: each is a class of whole images, and its name is theirs.

    Raises:
        ValueError: The folder cannot be read or holds no image.
    """
    root = Path(os.path.abspath(folder))
    skipped: list[tuple[str, str]] = []

    def report(source: Path, reason: str) -> None:
        name = source.relative_to(root) if source.is_relative_to(root) else source
        skipped.append((name.as_posix(), reason))

    images = _find_images(root, report)
    truths: dict[Path, GroundTruth] = {}
    for reader in (read_voc, read_yolo, read_json):
        for image, source, truth in reader(images, report):
            if image in truths:
                report(source, f"{image.name} is annotated elsewhere too; that one is used")
                continue
            truths[image] = truth
            if truth.faults:
                report(
                    source,
                    f"{image.name}: {len(truth.faults)} of {truth.total} boxes left out, "
                    f"the first because {truth.faults[0]}",
                )

    spelling = unify_spelling(row[4] for truth in truths.values() for row in truth.rows)
    for truth in truths.values():
        truth.rows = [(*row[:4], spelling[row[4]]) for row in truth.rows]

    named = _read_image_labels(images, report)
    if not named and not truths:
        named = _name_by_folder(images)
    spelled = unify_spelling(row.label for row in named.values() if row.label)
    examples = []
    for image in images.sizes:
        row = named.get(image, _Named())
        found = truths.get(image)
        examples.append(
            Example(
                image=image,
                group=row.sample or image.relative_to(root).as_posix(),
                boxes=Boxes.from_rows(found.rows) if found else None,
                ignored=np.array(found.ignored if found else [], np.float32).reshape(-1, 4),
                image_label=not is_clutter(row.label) if row.label and row.is_truth else None,
                pixel_size=row.pixel_size or read_file_pixel_size(image),
                choices=(spelled[row.label],) if row.label else None,
            )
        )
    classes, choices = (tuple(sorted(set(names.values()))) for names in (spelling, spelled))
    return Folder(examples, classes, skipped, choices)


def read_shown_size(image: Path) -> tuple[int, int]:
    """Read width and height in pixels as shown (after EXIF orientation), from the header alone.

    Raises:
        ValueError: The file is not an image.
    """
    import pyvips
    from PIL import Image, UnidentifiedImageError

    try:
        header = pyvips.Image.new_from_file(str(image))
        width, height = header.width, header.height
        orientation = "orientation" in header.get_fields() and header.get("orientation")
    except pyvips.Error:
        # The packaged libvips has no BMP.
        try:
            with Image.open(image) as header:
                (width, height), orientation = header.size, header.getexif().get(0x0112)
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
            raise ValueError(f"not an image: {error}") from error
    if not width * height > 0:
        raise ValueError("not an image: it has no pixels")
    # 5 to 8 are the orientations that lie on their side (EXIF 2.3, tag 0x0112).
    return (height, width) if orientation in (5, 6, 7, 8) else (width, height)


def _find_images(root: Path, report: Report) -> FolderImages:
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; give one that holds images")

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == root:
            raise ValueError(f"{root} cannot be read: {error.strerror}") from error
        report(Path(error.filename), f"cannot be read: {error.strerror}")

    paths = []
    for place, folders, files in os.walk(root, onerror=unreadable):
        folders[:] = [f for f in folders if f[0] != "." and f.lower() not in _NOT_IMAGES]
        for folder in folders:
            if Path(place, folder).is_symlink():
                report(Path(place, folder), "a link to a folder is not followed")
        for file in files:
            path = Path(place, file)
            if file[0] == "." or path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            if reason := find_obstacle(path):
                report(path.with_name(show_name(file)), reason)
            else:
                paths.append(path)
    sizes = {}
    for path in sorted(paths):
        try:
            sizes[path] = read_shown_size(path)
        except ValueError as error:
            report(path, str(error))
    if not sizes:
        kinds = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise ValueError(f"{root} holds no image that can be read ({kinds})")
    return FolderImages(root, sizes)


@dataclass(frozen=True)
class _Named:
    """What is known of a whole image; is_truth: somebody said so, in `image_labels.csv`."""

    label: str = ""
    sample: str = ""
    pixel_size: float | None = None
    is_truth: bool = False


def _name_by_folder(images: FolderImages) -> dict[Path, _Named]:
    """Call each image by the folder in the root that it lies in."""
    parts = {image: image.relative_to(images.root).parts for image in images.sizes}
    return {image: _Named(place[0]) for image, place in parts.items() if len(place) > 1}


def _read_image_labels(images: FolderImages, report: Report) -> dict[Path, _Named]:
    """Read the sample, the truth and the pixel size of each image in `image_labels.csv`."""
    file = images.root / IMAGE_LABELS
    if not file.is_file():
        return {}
    found: dict[Path, _Named] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            for row in csv.DictReader(text, delimiter=_find_delimiter(text)):
                try:
                    image = images.find(read_cell(row["image"]), images.root)
                except LookupError as error:
                    missing = "no column `image`" if isinstance(error, KeyError) else str(error)
                    report(file, missing)
                    if isinstance(error, KeyError):
                        break
                    continue
                found[image] = _Named(
                    read_cell(row.get("image_label") or "").strip(),
                    read_cell(row.get("sample") or "").strip(),
                    parse_pixel_size((row.get("pixel_size") or "").replace(",", ".")),
                    is_truth=True,
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        report(file, f"cannot be read: {error}")
    return found


def _find_delimiter(text: TextIO) -> str:
    """Find what separates the columns: spreadsheets write semicolons where decimals have commas."""
    header = text.readline()
    text.seek(0)
    return max(",;\t", key=header.count)
