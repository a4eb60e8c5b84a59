"""The table of annotation formats, and reading a file by it.

A new format is a file in this room and a line here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ml_backend.dataset.annotation_formats.coco import COCO
from ml_backend.dataset.annotation_formats.createml import CREATE_ML
from ml_backend.dataset.annotation_formats.detection_table import CSV_TABLE, JSON_TABLE
from ml_backend.dataset.annotation_formats.geojson import GEOJSON, GeoJsonFolder
from ml_backend.dataset.annotation_formats.ground_truth import (
    GroundTruth,
    check_size,
    fit_to_image,
)
from ml_backend.dataset.annotation_formats.records import (
    READ_ERRORS,
    FileFormat,
    FolderLayout,
    ImageAnnotations,
)
from ml_backend.dataset.annotation_formats.voc import VocFolder
from ml_backend.dataset.annotation_formats.yolo import YoloFolder

# Many images in a file. A format whose ending, or whose content, is also another's comes first.
FILES: tuple[FileFormat, ...] = (COCO, CREATE_ML, GEOJSON, JSON_TABLE, CSV_TABLE)

# A file an image, in folders with the images; each is begun with the classes.
FOLDERS: dict[str, Callable[[Sequence[str]], FolderLayout]] = {
    "yolo": YoloFolder,
    "voc": lambda classes: VocFolder(),
    "geojson": lambda classes: GeoJsonFolder(),
}

Report = Callable[[Path, str], None]
"""Called with a file and what in it could not be used."""

LabelledImages = Iterator[tuple[Path, Path, GroundTruth]]
"""(image, annotation file, what the file has about the image)"""


class ImageIndex(Protocol):
    """Images that annotations may be of, with the size (width, height) in px of those found."""

    @property
    def sizes(self) -> Mapping[Path, tuple[int, int]]:
        """The shown size of each image that `find` has returned, and perhaps of others."""
        ...

    def find(self, written: str, base: Path, *, stem: bool = False) -> Path:
        """The image that an annotation file in the folder `base` means by a name.

        Args:
            written: The name or path in the file.
            base: The folder of the file.
            stem: Whether the name was written without its ending.

        Raises:
            LookupError: None or several have this name; the message says which.
        """
        ...


def choose_format(out: Path) -> FileFormat:
    """The format of a file that is to be written, by its ending.

    Raises:
        ValueError: No format has this ending.
    """
    for form in FILES:
        if out.name.lower().endswith(form.ending):
            return form
    *others, last = (f"a {form.ending}" for form in FILES)
    raise ValueError(f"{out}: give {', '.join(others)} or {last} file")


def read_annotation_file(file: Path, images: ImageIndex, report: Report) -> LabelledImages:
    """Read a JSON file of annotations: by its suffix, and by its content among several formats.

    Args:
        file: Its suffix is the `annotation_suffix` of a format.
        images: What the annotations may be of.
        report: Called with the file and each thing in it that cannot be used, but for bad
            boxes, which are in the truth of their image.
    """
    candidates = [form for form in FILES if form.annotation_suffix == file.suffix.lower()]
    alone = candidates[0] if len(candidates) == 1 else None
    try:
        content = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        report(file, f"not a {alone.name if alone else 'JSON'} file: {error}")
        return
    form = alone or next((form for form in candidates if form.recognizes(content)), None)
    if form is None:
        report(file, f"neither {' nor '.join(form.name for form in candidates)}")
        return
    found: list[tuple[Path, ImageAnnotations]] = []
    notes: list[str] = []
    try:
        for entry in form.read(content, notes.append):
            try:
                image = _find_image(entry, file, images)
            except LookupError as error:
                report(file, str(error))
                continue
            try:
                check_size(entry.size, images.sizes[image])
            except ValueError as error:
                report(file, f"{image.name}: {error}")
                continue
            found.append((image, entry))
    except READ_ERRORS as error:
        report(
            file,
            f"not a {form.name} file: {error}"
            if alone
            else f"cannot be read as {form.name.lower()}: {error!r}",
        )
    for note in notes:
        report(file, note)
    truths = [(image, fit_to_image(entry, images.sizes[image])) for image, entry in found]
    for image, truth in _join_names(truths) if form.joins_names else truths:
        yield image, file, truth


def _find_image(entry: ImageAnnotations, file: Path, images: ImageIndex) -> Path:
    if entry.name is None:
        return images.find(file.stem, file.parent, stem=True)
    return images.find(entry.name, file.parent)


def _join_names(truths: list[tuple[Path, GroundTruth]]) -> list[tuple[Path, GroundTruth]]:
    joined: dict[Path, GroundTruth] = {}
    for image, truth in truths:
        if image in joined:
            joined[image].extend(truth)
        else:
            joined[image] = truth
    return list(joined.items())
