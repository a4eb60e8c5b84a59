"""Annotations of other programs into a project: COCO, YOLO, Pascal VOC, Create ML, GeoJSON.

They become submitted annotations, as if drawn in Label Studio: what somebody marked with
another program is that person's work, not a detector's, and is trained on. A task that
holds the same annotation keeps it, so that importing twice changes nothing; one that holds
another is left alone, because somebody reviewed it here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from ml_backend.dataset.annotation_formats.ground_truth import GroundTruth
from ml_backend.dataset.corrections import compare_regions
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.labeling_config import LabelingConfig, parse_labels
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.system.plurals import format_count
from tasks.exchange.annotation_files import (
    TaskImages,
    find_annotation_files,
    read_annotation_files,
)
from tasks.sources.discover import Skipped

# The version that ids of regions are made from: the same boxes have the same ids.
_ORIGIN = "imported"


class Imported(TypedDict):
    """What was submitted.

    Attributes:
        new: How many annotations were made.
        known: How many were there already.
        boxes: How many boxes the new ones have.
        skipped: What could not be used, and why.
    """

    new: int
    known: int
    boxes: int
    skipped: list[Skipped]


def import_annotations(
    source: Path, project_id: int, settings: Settings, progress: Callable[[int], None]
) -> Imported:
    """Submit what a file, or all annotation files of a folder, says of a project's images.

    Images are found by `Names`; labels by their meaning (`Labels.match`). What could not be
    used is listed with its reason: images that the project does not hold, boxes without a
    label in it, boxes that are to be ignored.

    Args:
        source: A COCO or Create ML .json, a .geojson, a Pascal VOC .xml, a YOLO data.yaml with
            its label files, or a folder of such.
        project_id: The number of a connected project.
        settings: Where the data folder is.
        progress: Called with the number of images done.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: There is nothing to read.
        NotConnected: The project is not connected.
        Exception: The errors of `Studio`.
    """
    files = find_annotation_files(source)
    project = Projects(settings.projects_database).get(project_id)
    studio = Studio(project.url, project.token)
    labels = parse_labels(studio.get_project(project_id).label_config)
    tasks = {task["id"]: task for task in studio.list_tasks(project_id)}
    images = TaskImages(
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
    for image, file, truth in read_annotation_files(files, images, leave_out):
        if image in done:
            leave_out(file, f"{image} is annotated elsewhere too; that one is used")
            continue
        done.add(image)
        for problem in describe_problems(truth, labels):
            leave_out(file, f"{image}: {problem}")
        task = images.tasks[image]
        regions = to_regions(truth, labels)
        held = [a for a in task.get("annotations") or [] if not a.get("was_cancelled")]
        if any(is_same(annotation.get("result") or [], regions, labels) for annotation in held):
            result["known"] += 1
        elif held:
            leave_out(file, f"{image} is annotated in Label Studio already, and differently")
        else:
            studio.submit_annotation(task["id"], regions, seconds=0)
            result["new"] += 1
            result["boxes"] += len({region["id"] for region in regions})
        progress(len(done))
    return result


def describe_problems(truth: GroundTruth, labels: LabelingConfig) -> list[str]:
    """What of an image's boxes cannot be taken over into a project with these labels, in words."""
    problems = []
    if truth.faults:
        problems.append(
            f"{len(truth.faults)} of {format_count(truth.total, 'box')}, "
            f"the first because {truth.faults[0]}"
        )
    if truth.ignored:
        many = format_count(len(truth.ignored), "box")
        problems.append(f"{many}, marked as difficult or crowd, which trainings ignore")
    counts = Counter(row[4] for row in truth.rows)
    for name in labels.match_box_names(counts)[0].unmatched:
        problems.append(
            f"{format_count(counts[name], 'box')} called {name}: the project has no such label"
        )
    return problems


def to_regions(truth: GroundTruth, labels: LabelingConfig) -> list[dict[str, Any]]:
    """The boxes as regions of Label Studio, as a person draws them; without those of no label.

    What a box is called is its label, or what a person would choose of it.
    """
    boxes = Boxes.from_rows(truth.rows)
    names = list(map(str, boxes.label))
    matching, choices = labels.match_box_names(names)
    width, height = truth.size
    regions = labels.write_regions(
        boxes,
        width=width,
        height=height,
        matching=matching,
        version=_ORIGIN,
        chosen=[{name: 1.0} if name in choices.mapping else {} for name in names],
        choice_matching=choices,
    )
    # A person's box has no score.
    return [{key: value for key, value in region.items() if key != "score"} for region in regions]


def is_same(
    held: list[dict[str, Any]], regions: list[dict[str, Any]], labels: LabelingConfig
) -> bool:
    """Whether the regions that an annotation holds are these."""
    return all(edit.change == "kept" for edit in compare_regions(held, regions, labels))
