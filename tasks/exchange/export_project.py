"""The corrected annotations of a project as files that other programs read.

Of each corrected task the boxes that trainings take too (of several annotators by the same
policy, `dataset.consensus`), in pixels of the image as shown. A task that nobody annotated is
not written at all: many formats would say of it that nothing is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TypedDict

from ml_backend.dataset.annotation_formats.formats import FOLDERS, choose_format
from ml_backend.dataset.annotation_formats.records import Detected, Detection
from ml_backend.dataset.consensus import Policy, Submission, collect_submissions
from ml_backend.dataset.snapshot import FetchedImage, Item, to_item
from ml_backend.label_studio.class_names import call_by_choice
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.labeling_config import LabelingConfig, parse_labels
from ml_backend.registry.versions import Registry
from ml_backend.retraining.collect import open_collector
from ml_backend.retraining.image_cache import fetch_images
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.system.batching import make_batches
from ml_backend.system.numbers import parse_whole_number
from tasks.exchange.dataset_folders import Add, Labelled, write_folder
from tasks.exchange.detection_files import open_writer
from tasks.exchange.image_names import Names
from tasks.sources.discover import Skipped

# Images fetched at a time, side by side.
_CHUNK = 50


class Exported(TypedDict):
    """What was written.

    Attributes:
        images: How many images; boxes: on all of them together.
        annotators: Which boxes count of several annotators of a task.
        several_annotators: How many tasks have such.
        agreement: How far these agree, 0..1; None where there are none.
        skipped: What could not be written, and why.
        out: Where it was written.
    """

    images: int
    boxes: int
    annotators: Policy
    several_annotators: int
    agreement: float | None
    skipped: list[Skipped]
    out: str


def check_target(out: Path, form: str | None) -> None:
    """Check what is asked for before any work.

    Args:
        out: The file or folder to write.
        form: The format of a folder; None for a file.

    Raises:
        ValueError: There is no such format.
        FileExistsError: The folder is not empty, or is a file.
    """
    if form is None:
        choose_format(out)
    elif form not in FOLDERS:
        raise ValueError(
            f"there is no folder of the format {form}; it is one of "
            f"{', '.join(FOLDERS)}, and all others are files, chosen by the "
            "ending of --out"
        )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is not an empty folder; give a new one")


def export(
    project_id: int,
    out: Path,
    form: str | None,
    settings: Settings,
    progress: Callable[[int, int], None],
) -> Exported:
    """Write what is corrected in a project to `out`.

    Args:
        project_id: The number of a connected project.
        out: The file or folder; it appears when it is complete.
        form: One of `formats.FOLDERS`, a folder with the images; None for a file, whose ending
            chooses one of `formats.FILES`.
        settings: Where the data folder is, and which annotators count.
        progress: Called with (done, all) tasks.

    Returns:
        What was written; what could not be is listed with the task's image and the reason.

    Raises:
        NotConnected: The project is not connected.
        ValueError: Nothing is corrected yet, or what `check_target` raises.
        Exception: The errors of `Studio`.
    """
    check_target(out, form)
    projects = Projects(settings.projects_database)
    registry = Registry.open(settings)
    project = projects.get(project_id)
    studio = Studio(project.url, project.token)
    labels = parse_labels(studio.get_project(project_id).label_config)
    chosen = collect_submissions(
        open_collector(settings, projects, registry).read_annotated_tasks(project)
    )
    if not chosen:
        raise ValueError(f"project {project_id} has no corrected task yet")
    tasks = studio.list_tasks(project_id, full=False)
    names = Names(((task["id"], task["data"]) for task in tasks), labels.image_key)
    source = ImageSource(project.url, project.token, media=settings.media, project=project_id)
    kept = settings.images / str(project_id)
    images = boxes = done = 0
    skipped: list[Skipped] = []
    agreements: list[float] = []
    with _open_writer(out, form, labels) as add:
        for chunk in make_batches(chosen, _CHUNK):
            fetched = fetch_images(chunk, labels.image_key, source, kept)
            for corrected, image in zip(chunk, fetched, strict=True):
                name = names.get(corrected.task)
                if isinstance(image, Exception):
                    skipped.append({"source": name, "reason": str(image)})
                    continue
                item = to_item(
                    corrected, labels, image, settings.holdout_share, settings.annotators
                )
                skipped += [{"source": name, "reason": problem} for problem in item.problems]
                if item.agreement is not None:
                    agreements.append(item.agreement)
                labelled = _to_labelled(corrected, item, image, name, kept)
                add(labelled)
                images += 1
                boxes += len(labelled.detected.detections)
            done += len(chunk)
            progress(done, len(chosen))
    return {
        "images": images,
        "boxes": boxes,
        "annotators": settings.annotators,
        "several_annotators": len(agreements),
        "agreement": fmean(agreements) if agreements else None,
        "skipped": skipped,
        "out": str(out),
    }


@contextmanager
def _open_writer(out: Path, form: str | None, labels: LabelingConfig) -> Iterator[Add]:
    if form is not None:
        with write_folder(out, form, labels.box_names) as add:
            yield add
        return
    with open_writer(out) as add_detected:
        yield lambda labelled: add_detected(labelled.detected)


def _to_labelled(
    corrected: Submission, item: Item, image: FetchedImage, name: str, kept: Path
) -> Labelled:
    number = parse_whole_number(corrected.data.get("plane")) or 0
    chosen = item.region_choices or ((),) * len(item.boxes)
    rows = [
        Detection(x1, y1, x2, y2, call_by_choice(label, names), 1.0, number, False)
        for (x1, y1, x2, y2, label), names in zip(item.boxes, chosen, strict=True)
    ]
    detected = Detected(name, *image.size, rows, by_hand=True)
    return Labelled(corrected.task, detected, kept / image.path, item.split)
