"""One training, whatever taught it: from examples and a base to a version that can serve."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ml_backend.dataset.example import Example
from ml_backend.learners.base import Progress
from ml_backend.learners.kinds import find_learner
from ml_backend.learners.model_file import read_card
from ml_backend.learners.training_child import run_side_by_side
from ml_backend.learners.training_job import TrainingJob
from ml_backend.registry import resolve
from ml_backend.registry.versions import Registry, Version, check_word
from ml_backend.settings import Settings
from ml_backend.state.training_progress import tell_progress

# Given the version as it will be, but for its name, and its training: what is to be trained beside.
Beside = Callable[[Version, TrainingJob], Sequence[TrainingJob]]


@dataclass(frozen=True)
class Wishes:
    """What a person may ask of a training; None leaves it to the recipe and the settings.

    Attributes:
        base: What to start from, as the user names a model.
        epochs: Passes over the images.
        imgsz: Input pixels of the longest side of the median image.
        name: A word for the version's name.
    """

    base: str | None = None
    epochs: int | None = None
    imgsz: int | None = None
    name: str | None = None


class NothingToLearn(ValueError):
    """The corrected tasks do not hold what a training needs."""


@dataclass(frozen=True)
class Lesson:
    """What a version is taught.

    Attributes:
        kind: The learner.
        examples: Labelled images.
        classes: The model's outputs, in this order.
        snapshot: The name of the data.
        hashes: SHA-256 of each image file.
        groups: What these images belong to.
    """

    kind: str
    examples: Sequence[Example]
    classes: Sequence[str]
    snapshot: str
    hashes: Sequence[str]
    groups: Sequence[str]


def train_version(
    settings: Settings,
    registry: Registry,
    project: str,
    lesson: Lesson,
    base: str,
    wishes: Wishes,
    progress: Progress,
    choose_beside: Beside = lambda version, job: (),
    earlier: str = "",
) -> Version:
    """Train in a process of its own and add the version, with its whole ancestry.

    Args:
        settings: Of the data folder.
        registry: Gets the version.
        project: The project's id, or "dataset".
        lesson: What is taught.
        base: What the training starts from, as the user names it; "" for the learner's own
            start.
        wishes: What a person asked for.
        progress: Called with what the training tells, by one thread at a time.
        choose_beside: Chooses the trainings that will be wanted next. Whether they went well is
            seen by whoever wants them, and finds them done.
        earlier: A version that learned some of the examples already, from the same base; "" where
            none did.

    Raises:
        TrainingFailed: It made no version.
        UnknownVersion: There is no such base.
    """
    check_word(wishes.name)  # before the training, not after it
    weights, ancestor = resolve.find_base(base, registry)
    earlier_weights, before = resolve.find_base(earlier, registry)
    out = settings.training / f"{project}-{lesson.snapshot}"
    job = TrainingJob(
        examples=lesson.examples,
        classes=tuple(lesson.classes),
        headline=find_learner(lesson.kind).choose_headline(lesson.classes),
        base=weights,
        epochs=wishes.epochs or settings.epochs,
        imgsz=wishes.imgsz or settings.imgsz,
        out=out,
        kind=lesson.kind,
        earlier=earlier_weights,
    )
    past = [version for version in (ancestor, before) if version is not None]
    version = Version(
        name="",
        project=project,
        created=0.0,
        base=base,
        snapshot=lesson.snapshot,
        seen_hashes=_join(lesson.hashes, *(seen.seen_hashes for seen in past)),
        seen_groups=_join(lesson.groups, *(seen.seen_groups for seen in past)),
        kind=lesson.kind,
        earlier=earlier,
    )
    beside = choose_beside(version, job)
    with tell_progress(settings.progress, project, progress) as tell:

        def tell_of(place: int, step: dict[str, Any]) -> None:
            if place == 0:
                tell(step)
            else:
                progress({"fold": place, "folds": len(beside), **step})

        trained = run_side_by_side([job, *beside], tell_of)[0].result()
    version = replace(
        version,
        name=registry.make_name(project, trained, wishes.name or "v"),
        created=time.time(),
        kind=read_card(trained).kind,
    )
    added = resolve.add_servable_version(version, trained, registry)
    shutil.rmtree(out, ignore_errors=True)
    return added


def _join(*parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({name for part in parts for name in part}))
