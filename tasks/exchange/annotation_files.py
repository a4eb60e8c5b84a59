"""The annotation files that other programs wrote about a project's images, read one by one.

Unlike in a labelled folder, the images need not lie beside them: they are those of the tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
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
from ml_backend.dataset.consensus import Submission
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.retraining.image_cache import fetch_images
from ml_backend.system.markup import parse_xml, parse_yaml
from tasks.exchange.image_names import Names

_SUFFIXES = (".json", ".geojson", ".xml", ".yaml", ".yml")


def find_annotation_files(source: Path) -> list[Path]:
    """The files that may hold annotations; checked ones before others.

    Args:
        source: A file, or a folder that is searched with all below it but what is hidden.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: No file there has a known ending.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source}: there is no such file or folder")
    if source.is_file():
        found = [source]
    else:
        found = [
            file
            for file in source.rglob("*")
            if file.is_file() and not any(p.startswith(".") for p in file.relative_to(source).parts)
        ]
    files = [file for file in found if file.suffix.lower() in _SUFFIXES]
    if not files:
        raise ValueError(
            f"{source}: no annotations there (COCO or Create ML .json, .geojson, Pascal VOC .xml, "
            "YOLO data.yaml)"
        )

    def rank(file: Path) -> tuple[int, str]:
        folders = [n for n, name in enumerate(voc.FOLDERS) if name in file.parts]
        return min(folders, default=len(voc.FOLDERS)), file.as_posix()

    return sorted(files, key=rank)


class TaskImages:
    """The images of a project's tasks, an `ImageIndex`; each is named as `Names` does.

    Attributes:
        sizes: The shown width and height, px, of the images that were found.
        tasks: The task of each image that was found.
    """

    def __init__(
        self,
        tasks: Mapping[int, dict[str, Any]],
        labels: LabelingConfig,
        source: ImageSource,
        kept: Path,
    ) -> None:
        """Read nothing yet.

        Args:
            tasks: The tasks by id.
            labels: The project's, for the field that holds the image.
            source: Where images are fetched.
            kept: The folder that keeps them.
        """
        self.sizes: dict[Path, tuple[int, int]] = {}
        self.tasks: dict[Path, dict[str, Any]] = {}
        self._tasks = tasks
        self._names = Names(((key, task["data"]) for key, task in tasks.items()), labels.image_key)
        self._fetch = partial(fetch_images, image_key=labels.image_key, source=source, folder=kept)

    def find(self, written: str, base: Path, *, stem: bool = False) -> Path:
        """The image that a name means, see `Names.find`; wherever the file that has it lies.

        Raises:
            LookupError: None or several have this name, or the image cannot be read.
        """
        number = self._names.find(written, stem=stem)
        image = Path(self._names.get(number))
        if image not in self.sizes:
            task = self._tasks[number]
            (fetched,) = self._fetch([Submission(number, task["data"], 0, "")])
            if isinstance(fetched, Exception):
                raise LookupError(f"{image}: the project's image cannot be read: {fetched}")
            self.sizes[image], self.tasks[image] = fetched.size, task
        return image


def read_annotation_files(
    files: Sequence[Path], images: TaskImages, report: Report
) -> LabelledImages:
    """Read each file by its ending; see `read_annotation_file`."""
    for file in files:
        suffix = file.suffix.lower()
        if suffix == ".xml":
            yield from _read_voc(file, images, report)
        elif suffix in (".yaml", ".yml"):
            yield from _read_yolo(file, images, report)
        else:
            yield from read_annotation_file(file, images, report)


def _read_voc(file: Path, images: TaskImages, report: Report) -> LabelledImages:
    try:
        entry = voc.read(parse_xml(file.read_bytes()))
        try:
            image = images.find(entry.name or file.stem, file.parent)
        except LookupError:  # many are renamed together with their image, and not inside
            image = images.find(file.stem, file.parent, stem=True)
    except LookupError as error:
        report(file, str(error))
        return
    except (OSError, *READ_ERRORS) as error:
        report(file, f"not a Pascal VOC file: {error}")
        return
    try:
        truth = fit_to_image(entry, images.sizes[image])
    except ValueError as error:
        report(file, f"not a Pascal VOC file: {error}")
    else:
        yield image, file, truth


def _read_yolo(file: Path, images: TaskImages, report: Report) -> LabelledImages:
    """The label files below the folder of a data.yaml; their images need not be there."""
    try:
        classes = yolo.read_classes(parse_yaml(file.read_text("utf-8")))
    except (OSError, *READ_ERRORS) as error:
        report(file, f"not a YOLO data file: {error}")
        return
    root = file.parent / "labels" if (file.parent / "labels").is_dir() else file.parent
    for labels in filter(Path.is_file, sorted(root.rglob("*.txt"))):
        try:
            name = labels.relative_to(root).with_suffix("").as_posix()
            image = images.find(name, root, stem=True)
            lines = labels.read_text("utf-8").splitlines()
        except (OSError, ValueError, LookupError) as error:
            report(labels, str(error))
        else:
            size = images.sizes[image]
            yield image, labels, fit_to_image(yolo.read(lines, classes, size), size)
