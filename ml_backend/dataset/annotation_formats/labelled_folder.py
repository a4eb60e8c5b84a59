"""Finding the annotation files of a folder of images: Pascal VOC, YOLO and those in JSON.

Faults are reported file by file and box by box, and harm nothing beside them.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ml_backend.dataset.annotation_formats import voc, yolo
from ml_backend.dataset.annotation_formats.formats import (
    LabelledImages,
    Report,
    read_annotation_file,
)
from ml_backend.dataset.annotation_formats.ground_truth import fit_to_image
from ml_backend.dataset.annotation_formats.records import READ_ERRORS
from ml_backend.system.markup import parse_xml, parse_yaml


@dataclass(frozen=True)
class FolderImages:
    """The image files of a folder, an `ImageIndex`.

    Attributes:
        root: The folder.
        sizes: The width and height, px, of each image as shown.
    """

    root: Path
    sizes: dict[Path, tuple[int, int]]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found = defaultdict(list)
        for image in self.sizes:
            found[image.name].append(image)
        return found

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        found = defaultdict(list)
        for image in self.sizes:
            found[image.stem].append(image)
        return found

    def find(self, written: str, base: Path, *, stem: bool = False) -> Path:
        """The image that an annotation names: by a path from `base`, from the root, by name alone.

        Args:
            written: The name or path in the file.
            base: The folder of the file.
            stem: Whether the name was written without its ending; then it counts alone.

        Raises:
            LookupError: None or several have this name; the message says which.
        """
        written = str(written).replace("\\", "/")
        for start in () if stem else (base, self.root):
            path = Path(os.path.normpath(start / written))
            if path in self.sizes:
                return path
        names = self._by_stem if stem else self._by_name
        named = names.get(written.rsplit("/", 1)[-1], [])
        if len(named) != 1:
            raise LookupError(
                f"{len(named)} images are called {written}" if named else f"no image {written}"
            )
        return named[0]


def read_voc(images: FolderImages, report: Report) -> LabelledImages:
    """Pascal VOC files, by stem, from the nearest annotation folder at or above an image.

    The first of `voc.FOLDERS` that exists there is taken whole, so that checked boxes are
    never mixed with unchecked ones; without any, the file beside the image counts.
    """

    @cache
    def find_home(folder: Path) -> Path:
        for name in voc.FOLDERS:
            if (folder / name).is_dir():
                return folder / name
        return folder if folder == images.root else find_home(folder.parent)

    by_home: dict[Path, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for image in images.sizes:
        home = find_home(image.parent)
        by_home[home if home.name in voc.FOLDERS else image.parent][image.stem].append(image)

    for home, stems in by_home.items():
        files = home.rglob("*.xml") if home.name in voc.FOLDERS else home.glob("*.xml")
        by_stem = defaultdict(list)
        for file in filter(Path.is_file, sorted(files)):
            by_stem[file.stem].append(file)
        for stem, twins in by_stem.items():
            owners = stems.get(stem, [])
            if len(twins) > 1 or len(owners) != 1:
                why = (
                    f"{len(twins)} annotation files"
                    if len(twins) > 1
                    else (f"{len(owners)} images" if owners else "no image")
                )
                report(twins[0], f"{why} with the stem {stem}; left unlabelled")
                continue
            try:
                entry = voc.read(parse_xml(twins[0].read_bytes()))
                truth = fit_to_image(entry, images.sizes[owners[0]])
            except (OSError, *READ_ERRORS) as error:
                report(twins[0], f"not a Pascal VOC file: {error}")
            else:
                yield owners[0], twins[0], truth


def read_yolo(images: FolderImages, report: Report) -> LabelledImages:
    """The label files of every `data.yaml`: its train, val and test images.

    An image without a label file is unlabelled.
    """
    for file in _find_files(images.root, "data.yaml"):
        try:
            data = parse_yaml(file.read_text("utf-8"))
            classes = yolo.read_classes(data)
            listed = list(_find_yolo_images(data, file, images, report))
        except (OSError, *READ_ERRORS) as error:
            report(file, f"not a YOLO data file: {error}")
            continue
        for image in listed:
            labels = yolo.find_label_file(image)
            if not labels.is_file():
                continue
            try:
                lines = labels.read_text("utf-8-sig").splitlines()
            except (OSError, ValueError) as error:
                report(labels, f"not a YOLO label file: {error}")
                continue
            size = images.sizes[image]
            yield image, labels, fit_to_image(yolo.read(lines, classes, size), size)


def _find_yolo_images(
    data: dict[str, Any], file: Path, images: FolderImages, report: Report
) -> Iterable[Path]:
    base = Path(os.path.normpath(file.parent / str(data.get("path") or ".")))
    if not base.is_dir():
        base = file.parent
    entries: list[str] = []
    for part in ("train", "val", "test"):
        entry = data.get(part) or []
        entries += entry if isinstance(entry, list) else [entry]
    chosen: dict[Path, None] = {}
    for entry in entries:
        # Some tools write ../train/images for what lies beside the file itself.
        for start in (base / entry, base / entry.removeprefix("../")):
            start = Path(os.path.normpath(start))
            if start.is_dir():
                chosen |= dict.fromkeys(i for i in images.sizes if i.is_relative_to(start))
                break
            if start.is_file():
                for line in filter(str.strip, start.read_text("utf-8-sig").splitlines()):
                    try:
                        chosen[images.find(line.strip(), start.parent)] = None
                    except LookupError as error:
                        report(start, str(error))
                break
        else:
            # Often so: tools write all three parts, whichever were exported.
            report(file, f"{entry} is neither a folder nor a list of images")
    return chosen


def read_json(images: FolderImages, report: Report) -> LabelledImages:
    """The .json files of every format that has such, told apart by their content."""
    for file in _find_files(images.root, "*.json"):
        yield from read_annotation_file(file, images, report)


def _find_files(root: Path, pattern: str) -> list[Path]:
    return sorted(
        file
        for file in root.rglob(pattern)
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(root).parts)
    )
