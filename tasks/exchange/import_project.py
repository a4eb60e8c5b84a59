"""Annotations of other programs into a project: COCO, YOLO, Pascal VOC, Create ML, GeoJSON.

They become submitted annotations, as if drawn in Label Studio: what somebody marked with
another program is that person's work, not a detector's, and is trained on. A task that
holds the same annotation keeps it, so that importing twice changes nothing; one that holds
another is left alone, because somebody reviewed it here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypedDict
from xml.etree import ElementTree

import yaml  # type: ignore[import-untyped]
from globox import BoundingBox

from ml_backend.cli.words import counted
from ml_backend.dataset.annotation_formats.labelled import (
    BAD,
    VOC_FOLDERS,
    Found,
    Marks,
    Report,
    read_json_file,
    voc_marks,
    yolo_marks,
    yolo_names,
)
from ml_backend.dataset.consensus import Chosen
from ml_backend.dataset.corrections import compare
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.labeling_config import Labels
from ml_backend.retraining.image_cache import fetch_images
from ml_backend.serving.model_cache import parse_labels
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from tasks.exchange.image_names import Names
from tasks.sources.discover import Skipped

_ENDINGS = (".json", ".geojson", ".xml", ".yaml", ".yml")

# The version that ids of regions are made from: the same boxes have the same ids.
_ORIGIN = "imported"


class Imported(TypedDict):
    """new, known: annotations made, and those that were there already. boxes: in the new ones."""

    new: int
    known: int
    boxes: int
    skipped: list[Skipped]


def import_annotations(
    source: Path, project_id: int, settings: Settings, progress: Callable[[int], None]
) -> Imported:
    """Submit what a file, or all annotation files of a folder, says of a project's images.

    source: a COCO or Create ML .json, a .geojson, a Pascal VOC .xml, a YOLO data.yaml with
    its label files, or a folder of such. Images are found by `Names`; labels by their
    meaning (`Labels.match`). What could not be used is listed with its reason: images that
    the project does not hold, boxes without a label in it, boxes that neither count nor
    punish. progress: called with the number of images done.

    Raises FileNotFoundError, ValueError where there is nothing to read, NotConnected, the
    errors of `Studio`.
    """
    files = annotation_files(source)
    project = Projects(settings.projects_database).get(project_id)
    studio = Studio(project.url, project.token)
    labels = parse_labels(studio.project(project_id).label_config)
    tasks = {task["id"]: task for task in studio.tasks(project_id)}
    images = _TaskImages(
        tasks,
        labels,
        ImageSource(project.url, project.token, media=settings.media, project=project_id),
        settings.images / str(project_id),
    )
    skipped: list[Skipped] = []
    result: Imported = {"new": 0, "known": 0, "boxes": 0, "skipped": skipped}
    root = source if source.is_dir() else source.parent

    def leave_out(file: Path, reason: str) -> None:
        name = file.relative_to(root) if file.is_relative_to(root) else file
        skipped.append({"source": name.as_posix(), "reason": reason})

    done: set[Path] = set()
    for image, file, marks in _read(files, images, leave_out):
        if image in done:
            leave_out(file, f"{image} is annotated elsewhere too; that one is used")
            continue
        done.add(image)
        for problem in _problems(marks, labels):
            leave_out(file, f"{image}: {problem}")
        task = images.tasks[image]
        regions = _regions(marks, labels)
        held = [a for a in task.get("annotations") or [] if not a.get("was_cancelled")]
        if any(_same(annotation.get("result") or [], regions, labels) for annotation in held):
            result["known"] += 1
        elif held:
            leave_out(file, f"{image} is annotated in Label Studio already, and differently")
        else:
            studio.submit_annotation(task["id"], regions, seconds=0)
            result["new"] += 1
            result["boxes"] += len({region["id"] for region in regions})
        progress(len(done))
    return result


def annotation_files(source: Path) -> list[Path]:
    """The files that may hold annotations; checked ones before others.

    Raises FileNotFoundError when there is nothing, ValueError when nothing has a known ending.
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
    files = [file for file in found if file.suffix.lower() in _ENDINGS]
    if not files:
        raise ValueError(
            f"{source}: no annotations there (COCO or Create ML .json, .geojson, Pascal VOC .xml, "
            "YOLO data.yaml)"
        )

    def rank(file: Path) -> tuple[int, str]:
        folders = [n for n, name in enumerate(VOC_FOLDERS) if name in file.parts]
        return min(folders, default=len(VOC_FOLDERS)), file.as_posix()

    return sorted(files, key=rank)


class _TaskImages:
    """The images of a project's tasks, each named as `Names` does; sizes: of those found."""

    def __init__(
        self, tasks: Mapping[int, dict[str, Any]], labels: Labels, source: ImageSource, kept: Path
    ) -> None:
        self.sizes: dict[Path, tuple[int, int]] = {}
        self.tasks: dict[Path, dict[str, Any]] = {}
        self._tasks = tasks
        self._names = Names(((key, task["data"]) for key, task in tasks.items()), labels.image_key)
        self._fetch = partial(fetch_images, image_key=labels.image_key, source=source, folder=kept)

    def find(self, written: str, base: Path, *, stem: bool = False) -> Path:
        """The image that a name means. Raises LookupError when it cannot be read, too."""
        number = self._names.find(written, stem=stem)
        image = Path(self._names.of(number))
        if image not in self.sizes:
            task = self._tasks[number]
            (got,) = self._fetch([Chosen(number, task["data"], 0, "")])
            if isinstance(got, Exception):
                raise LookupError(f"{image}: the project's image cannot be read: {got}")
            self.sizes[image], self.tasks[image] = got.size, task
        return image


def _read(files: Sequence[Path], images: _TaskImages, report: Report) -> Found:
    for file in files:
        ending = file.suffix.lower()
        if ending == ".xml":
            yield from _voc(file, images, report)
        elif ending in (".yaml", ".yml"):
            yield from _yolo(file, images, report)
        elif ending == ".geojson":
            yield from _geojson(file, images, report)
        else:
            yield from read_json_file(file, images, report)


def _voc(file: Path, images: _TaskImages, report: Report) -> Found:
    try:
        written = ElementTree.parse(file).getroot().findtext("filename") or ""
        try:
            image = images.find(written.strip() or file.stem, file.parent)
        except LookupError:  # many are renamed together with their image, and not inside
            image = images.find(file.stem, file.parent, stem=True)
        marks = voc_marks(file, images.sizes[image])
    except LookupError as error:
        report(file, str(error))
    except (OSError, ElementTree.ParseError, *BAD) as error:
        report(file, f"not a Pascal VOC file: {error}")
    else:
        yield image, file, marks


def _yolo(file: Path, images: _TaskImages, report: Report) -> Found:
    """The label files below the folder of a data.yaml; their images need not be there."""
    try:
        names = yolo_names(yaml.safe_load(file.read_text("utf-8")))
    except (OSError, yaml.YAMLError, *BAD) as error:
        report(file, f"not a YOLO data file: {error}")
        return
    root = file.parent / "labels" if (file.parent / "labels").is_dir() else file.parent
    for one in sorted(root.rglob("*.txt")):
        try:
            image = images.find(one.relative_to(root).with_suffix("").as_posix(), root, stem=True)
            lines = one.read_text("utf-8").splitlines()
        except (OSError, ValueError, LookupError) as error:
            report(one, str(error))
        else:
            yield image, one, yolo_marks(lines, names, images.sizes[image])


def _geojson(file: Path, images: _TaskImages, report: Report) -> Found:
    """As QuPath writes it: the frame around each outline. An image by what the feature says
    (`source`), else by the file's name, for QuPath writes a file an image."""
    found: dict[Path, Marks] = {}
    try:
        content = json.loads(file.read_text("utf-8-sig"))
        features = content.get("features", [content]) if isinstance(content, dict) else content
        by_source: dict[str, list[Any]] = {}
        for feature in features:
            source = str((feature.get("properties") or {}).get("source") or "")
            by_source.setdefault(source, []).append(feature)
    except (OSError, *BAD) as error:
        report(file, f"not a GeoJSON file: {error}")
        return
    for source, ones in (by_source or {"": []}).items():
        try:
            image = images.find(source or file.stem, file.parent, stem=not source)
        except LookupError as error:
            report(file, str(error))
            continue
        marks = found.setdefault(image, Marks(images.sizes[image]))
        for feature in ones:
            marks.add(partial(_frame, feature))
    for image, marks in found.items():
        yield image, file, marks


def _frame(feature: dict[str, Any]) -> BoundingBox:
    """The box around a feature's outline, with its class."""
    points: list[tuple[float, float]] = []

    def walk(part: Any) -> None:
        if part and isinstance(part[0], int | float):
            points.append((float(part[0]), float(part[1])))
        else:
            for one in part:
                walk(one)

    walk(feature["geometry"]["coordinates"])
    named = (feature.get("properties") or {}).get("classification") or ""
    label = named.get("name") or "" if isinstance(named, dict) else str(named)
    xs, ys = zip(*points, strict=True)
    return BoundingBox(label=label, xmin=min(xs), ymin=min(ys), xmax=max(xs), ymax=max(ys))


def _problems(marks: Marks, labels: Labels) -> list[str]:
    """What of an image's marks cannot be taken over, in words."""
    problems = []
    if marks.bad:
        every = len(marks.bad) + len(marks.rows) + len(marks.ignored)
        problems.append(
            f"{len(marks.bad)} of {counted(every, 'box')}, the first because {marks.bad[0]}"
        )
    if marks.ignored:
        many = counted(len(marks.ignored), "box")
        problems.append(f"{many}, marked as neither counting nor punishing (difficult, crowd)")
    counts = Counter(row[4] for row in marks.rows)
    for name in labels.match(counts).unmatched:
        problems.append(
            f"{counted(counts[name], 'box')} called {name}: the project has no such label"
        )
    return problems


def _regions(marks: Marks, labels: Labels) -> list[dict[str, Any]]:
    boxes = Boxes.drawn(marks.rows)
    width, height = marks.size
    regions = labels.to_regions(
        boxes,
        width=width,
        height=height,
        matching=labels.match(map(str, boxes.label)),
        version=_ORIGIN,
    )
    # A person's box has no score.
    return [{key: value for key, value in one.items() if key != "score"} for one in regions]


def _same(held: list[dict[str, Any]], regions: list[dict[str, Any]], labels: Labels) -> bool:
    return all(edit.change == "kept" for edit in compare(held, regions, labels))
