"""Checks of a connected project, here and in its Label Studio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from ml_backend.doctor.finding import Check, Finding
from ml_backend.imaging.decode import UnreadableImage, decode, measure_decoded
from ml_backend.label_studio.client import Studio, StudioProject
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.inspection import ROOTS_FOUND_BY_CHANCE, find_local_files_root
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.learners.kinds import match_labels
from ml_backend.registry.versions import Registry
from ml_backend.serving.model_cache import ModelCache, name_untrained
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects

# So many tasks are looked at.
SAMPLE = 10


@dataclass(frozen=True)
class Patient:
    """A connected project that is examined.

    Attributes:
        settings: Of the data folder.
        projects: Of the data folder.
        project: As the data folder keeps it.
        studio: Its Label Studio.
    """

    settings: Settings
    projects: Projects
    project: Project
    studio: Studio

    @cached_property
    def found(self) -> StudioProject:
        """The project as Label Studio has it."""
        return self.studio.get_project(self.project.id)

    @cached_property
    def sample(self) -> list[dict[str, Any]]:
        """Its first tasks, with their pre-annotations."""
        return list(islice(self.studio.list_tasks(self.project.id, page=SAMPLE), SAMPLE))

    @cached_property
    def registry(self) -> Registry:
        """The versions of the data folder."""
        return Registry.open(self.settings)

    @cached_property
    def version(self) -> str:
        """What pre-annotates it by what is kept here."""
        return ModelCache(self.settings, self.registry).choose_version(self.project)

    @property
    def is_untrained(self) -> bool:
        """Whether nothing pre-annotates it."""
        return self.version == name_untrained(self.project.id)


def check_labels(patient: Patient) -> Iterator[Finding]:
    """Compare the project's labels with the classes of what pre-annotates it."""
    number = patient.project.id
    if patient.found.label_config != patient.project.label_config:
        yield Finding(
            "note",
            "the labels were changed in Label Studio a moment ago",
            "nothing; the worker takes them over by itself",
        )
    labels = parse_labels(patient.found.label_config)
    names = [label.value for control in labels.controls for label in control.labels]
    names += [label.value for control in labels.choices for label in control.labels]
    champion = patient.registry.get_champion(str(number))
    if champion is None:
        yield Finding(
            "note",
            f"nothing pre-annotates it yet; its labels are {', '.join(names) or 'none'}",
            "correct some tasks, or name a label as a starter knows it: Mitotic cell, Tetrad",
        )
        return
    card = patient.registry.read_card(champion)
    matching = match_labels(card, labels)
    if matching is None:
        yield Finding(
            "error",
            f"{champion} knows {', '.join(card.classes)}, the labels are "
            f"{', '.join(names) or 'none'}: none fits, so nothing is drawn",
            "give the project a label of that name (Settings, Labeling Interface), or train on "
            "the labels it has",
        )
        return
    if missing := [name for name in matching.unmatched if name in card.headline]:
        yield Finding(
            "warning",
            f"no label for {', '.join(missing)}, which {champion} finds: left out",
            "add the label under Settings, Labeling Interface, if it is wanted",
        )
    used = {value for _, value in matching.mapping.values()}
    if without := [name for name in names if name not in used]:
        yield Finding(
            "note",
            f"{champion} has no class for the label {', '.join(without)}: never pre-annotated",
            "mark some by hand: the next training learns the label",
        )
    if not missing and not without:
        yield Finding("ok", f"every class of {champion} has its label, every label its class")


def check_version(patient: Patient) -> Iterator[Finding]:
    """Compare the version string in all the places where it stands."""
    if patient.is_untrained:
        return
    number, version = patient.project.id, patient.version
    drawn = Counter(
        str(made.get("model_version")) for task in patient.sample for made in task["predictions"]
    )
    waiting = patient.studio.count_untouched(number, without=version)
    waiting -= len(patient.projects.list_left_out(number, limit=1_000_000))
    shown = patient.found.model_version
    if waiting > 0:
        yield Finding(
            "warning",
            f"{waiting} untouched tasks have no pre-annotation of {version} yet",
            "keep cytoloop worker running: it draws them; its log says how far it is",
        )
    if shown != version and drawn[version]:
        yield Finding(
            "error",
            f"the project shows {shown or 'no version'!r}, its pre-annotations are of {version!r}: "
            "their scores are hidden, and the queue's first task does not come first",
            f"choose {version} under Settings, Annotation, Live Predictions; "
            "the worker does it when it publishes next",
        )
    elif shown == version:
        yield Finding("ok", f"{version} is the version here, in the project and in its tasks")
    known = {change.version for change in patient.registry.list_changes(str(number))}
    if strange := sorted(set(drawn) - known - {"None"}):
        yield Finding(
            "note",
            f"there are pre-annotations of {', '.join(strange)} too, which were not made here",
            "delete them in the Data Manager (Actions, Delete Predictions) if they are not wanted",
        )


def check_images(patient: Patient) -> Iterator[Finding]:
    """Fetch the images of some tasks, and list what could not be pre-annotated."""
    number = patient.project.id
    left_out = patient.projects.list_left_out(number)
    for reason, count in Counter(row["reason"] for row in left_out).most_common(3):
        tasks = ", ".join(str(row["task"]) for row in left_out if row["reason"] == reason)[:60]
        yield Finding("warning", f"{count} tasks are left out: {reason} (task {tasks})")
    key = parse_labels(patient.found.label_config).image_key
    addresses = [str(task["data"].get(key, "")) for task in patient.sample]
    if not addresses:
        yield Finding("note", "the project has no tasks", "import images in Label Studio")
        return
    if not any(addresses):
        yield Finding(
            "error",
            f"the tasks have no field {key!r}, which the labeling config shows",
            f'write value="$FIELD" of the tasks\' own field in place of ${key}',
        )
        return
    source = ImageSource(
        patient.project.url, patient.project.token, media=patient.settings.media, project=number
    )
    refused = []
    for index, content in source.fetch(addresses):
        try:
            if isinstance(content, Exception):
                raise content
            measure_decoded(content)  # before the pixels are asked for
            decode(content)
        except UnreadableImage as error:
            refused.append(f"task {patient.sample[index]['id']}: {error}")
    if refused:
        yield Finding(
            "error" if len(refused) == len(addresses) else "warning",
            f"{len(refused)} of {len(addresses)} images cannot be read; {refused[0]}",
            "open the task in Label Studio: what a browser shows there, cytoloop can read too",
        )
    else:
        yield Finding("ok", f"the images of {len(addresses)} tasks can be read")


def check_local_files(patient: Patient) -> Iterator[Finding]:
    """Look where Label Studio takes local files from."""
    if not any("/data/local-files/" in str(task["data"]) for task in patient.sample):
        return
    root = find_local_files_root(patient.studio.session, patient.project.id)
    if root is None:
        yield Finding("note", "Label Studio does not tell the root of its local files")
    elif Path(root).name in ROOTS_FOUND_BY_CHANCE:
        yield Finding(
            "warning",
            f"Label Studio took {root} as the root of its local files, because it lies in the "
            "folder that it was started in; from another folder its images are gone",
            f"start it with LOCAL_FILES_SERVING_ENABLED=true and LOCAL_FILES_DOCUMENT_ROOT={root}",
        )
    else:
        yield Finding("ok", f"Label Studio's local files lie below {root}")


def check_training(patient: Patient) -> Iterator[Finding]:
    """Say how far it is to the next training, and what became of the last."""
    number = patient.project.id
    corrected = patient.studio.count_annotated(number)
    held_out = patient.studio.count_annotated(number, split="holdout")
    after = patient.settings.retrain_after
    seen = f"{corrected} corrected tasks, {held_out} of them held out"
    if corrected and not held_out:
        yield Finding(
            "warning",
            f"{seen}: a new version cannot be judged well",
            "in the Data Manager filter 'split' by holdout, and correct five to ten",
        )
    else:
        yield Finding("ok", f"{seen}; {after} since the last training start the next")
    if outcome := patient.projects.get_last_outcome(number):
        yield Finding("note", f"the last training: {outcome}")


CHECKS = (
    Check("labels", check_labels),
    Check("version", check_version),
    Check("images", check_images),
    Check("local files", check_local_files),
    Check("training", check_training),
)
