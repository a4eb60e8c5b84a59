"""The corrected annotations of a project as files that other programs read.

Of each corrected task the boxes that trainings take too (of several annotators by the same
policy, `dataset.annotators`), in pixels of the image as shown. A task that nobody annotated is
not written at all: many formats would say of it that nothing is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any, TypedDict

from ml_backend.dataset.consensus import Chosen, Policy, choose
from ml_backend.dataset.snapshot import Fetched, Item, to_item
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.labeling_config import Labels
from ml_backend.registry.versions import Registry
from ml_backend.retraining.collect import open_submissions
from ml_backend.retraining.image_cache import fetch_images
from ml_backend.serving.model_cache import parse_labels
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.system.batching import chunks
from tasks.exchange import dataset_folders, detection_files
from tasks.exchange.dataset_folders import Labelled
from tasks.exchange.detection_files import Detected, Detection
from tasks.exchange.image_names import Names
from tasks.sources.discover import Skipped

# Images fetched at a time, side by side.
_CHUNK = 50

Add = Callable[[Labelled], None]


class Exported(TypedDict):
    """annotators: which boxes count of several annotators of a task; several_annotators: how
    many tasks have such; agreement: how far they agree, 0..1."""

    images: int
    boxes: int
    annotators: Policy
    several_annotators: int
    agreement: float | None
    skipped: list[Skipped]
    out: str


def check(out: Path, form: str | None) -> None:
    """Raises ValueError when there is no such format, FileExistsError for a full folder."""
    if form is None:
        detection_files.writer(out)
    elif form not in dataset_folders.FORMATS:
        raise ValueError(
            f"there is no folder of the format {form}; it is one of "
            f"{', '.join(dataset_folders.FORMATS)}, and all others are files, chosen by the "
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

    form: one of `folders.FORMATS`, a folder with the images; None for a file, whose ending
    chooses one of `exchange.FORMATS`. It appears when it is complete. What could not be
    written is listed with the task's image and the reason.

    Raises NotConnected, the errors of `Studio`, ValueError where nothing is corrected yet,
    and what `check` raises.
    """
    check(out, form)
    projects = Projects(settings.projects_database)
    registry = Registry(settings.versions, settings.champions)
    project = projects.get(project_id)
    studio = Studio(project.url, project.token)
    labels = parse_labels(studio.project(project_id).label_config)
    chosen = choose(open_submissions(settings, projects, registry).annotated(project))
    if not chosen:
        raise ValueError(f"project {project_id} has no corrected task yet")
    tasks = studio.tasks(project_id, full=False)
    names = Names(((task["id"], task["data"]) for task in tasks), labels.image_key)
    source = ImageSource(project.url, project.token, media=settings.media, project=project_id)
    kept = settings.images / str(project_id)
    images = boxes = done = 0
    skipped: list[Skipped] = []
    agreements: list[float] = []
    with _writing(out, form, labels) as add:
        for chunk in chunks(chosen, _CHUNK):
            fetched = fetch_images(chunk, labels.image_key, source, kept)
            for one, got in zip(chunk, fetched, strict=True):
                name = names.of(one.task)
                if isinstance(got, Exception):
                    skipped.append({"source": name, "reason": str(got)})
                    continue
                item = to_item(one, labels, got, settings.holdout_share, settings.annotators)
                skipped += [{"source": name, "reason": problem} for problem in item.problems]
                if item.agreement is not None:
                    agreements.append(item.agreement)
                labelled = _labelled(one, item, got, name, kept)
                add(labelled)
                images += 1
                boxes += len(labelled.marks.detections)
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
def _writing(out: Path, form: str | None, labels: Labels) -> Iterator[Add]:
    if form is not None:
        with dataset_folders.FORMATS[form](out, labels.values) as add:
            yield add
        return
    with detection_files.writer(out) as add_marks:
        yield lambda one: add_marks(one.marks)


def _labelled(one: Chosen, item: Item, image: Fetched, name: str, kept: Path) -> Labelled:
    plane = _whole_number(one.data.get("plane"))
    rows = [Detection(*row, 1.0, plane, False) for row in item.boxes]
    marks = Detected(name, *image.size, rows, by_hand=True)
    return Labelled(one.task, marks, kept / image.path, item.split)


def _whole_number(value: Any) -> int:
    return value if isinstance(value, int) else 0
