"""The table of kinds: which learner a model's card, or a project's labels, ask for.

A package adds a kind by an entry point of the group `cytoloop.learners`, whose name is the kind
and whose object is a `Learner`. The learners of this package are in a table of their own, so
that nothing installed has to be searched for them. Each is imported when it is first needed: a
server loads one learner alone.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeGuard, cast

from ml_backend.label_studio.labeling_config import ClassMatching, LabelingConfig
from ml_backend.learners.base import Learner, Model, ObjectDetector, RegionChooser
from ml_backend.learners.model_file import (
    CLASSIFIER,
    DETECTOR,
    DETECTOR_CLASSIFIER,
    FILE_NAME,
    REGION_CLASSIFIER,
    ModelCard,
    has_tensors,
    read_card,
)

GROUP = "cytoloop.learners"
# The first that can learn a project's labels does.
OWN = {
    DETECTOR_CLASSIFIER: "ml_backend.learners.detector_classifier.learner:LEARNER",
    DETECTOR: "ml_backend.learners.detector.learner:LEARNER",
    CLASSIFIER: "ml_backend.learners.classifier.learner:LEARNER",
    REGION_CLASSIFIER: "ml_backend.learners.region_classifier.learner:LEARNER",
}


class UnknownKind(LookupError):
    """No learner of that name is installed."""


@cache
def find_learner(kind: str) -> Learner:
    """Find a learner by its name.

    Raises:
        UnknownKind: The package that brought it is not installed here.
    """
    if kind in OWN:
        module, name = OWN[kind].split(":")
        return cast(Learner, getattr(import_module(module), name))
    for entry in entry_points(group=GROUP):
        if entry.name == kind:
            return cast(Learner, entry.load())
    raise UnknownKind(
        f"there is no learner {kind!r} here; there are: {', '.join(list_kinds())}. A package that "
        f"brings one names it in its entry points {GROUP}"
    )


@cache
def list_kinds() -> tuple[str, ...]:
    """List all kinds; those that a package adds come first, because somebody installed it."""
    return (*sorted({entry.name for entry in entry_points(group=GROUP)} - set(OWN)), *OWN)


def choose_learner(labels: LabelingConfig) -> Learner | None:
    """Choose the kind that learns a project with these labels; None where none does."""
    found = map(find_learner, list_kinds())
    return next((learner for learner in found if learner.can_learn(labels)), None)


def match_labels(card: ModelCard, labels: LabelingConfig) -> ClassMatching[Any] | None:
    """Match a model's classes with a project's labels; see `Learner.match_labels`."""
    return find_learner(card.kind).match_labels(card, labels)


def load_model(folder: Path, threads: int | None = None) -> Model:
    """Load a version from its folder.

    Args:
        folder: With the weights, and what its kind serves from.
        threads: Of the CPU, that predicting may take; all where None.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The file is not ours, or its weights were removed.
        UnknownKind: Its learner is not installed here.
    """
    weights = folder / FILE_NAME
    if not weights.exists():
        raise FileNotFoundError(f"{weights} is missing")
    card = read_card(weights)
    if not has_tensors(weights):
        raise ValueError(f"{folder.name} has no weights any more: cytoloop tidy removed them")
    return find_learner(card.kind).load(folder, threads)


def load_detector(folder: Path, threads: int | None = None) -> ObjectDetector:
    """Load a version that finds objects; see `load_model`.

    Raises:
        ValueError: The version answers for whole images and finds no objects.
    """
    return require_detector(load_model(folder, threads))


def require_detector(model: Model) -> ObjectDetector:
    """Return a model that finds objects, typed as such.

    Raises:
        ValueError: It answers for whole images and finds no objects.
    """
    if not finds_objects(model):
        raise ValueError(
            f"this version is a {model.card.kind}, which answers for whole images; choose one "
            "that finds objects, such as starter:mitosis"
        )
    return model


def check_names_images(model: Model) -> None:
    """Check that a model answers for images as a whole.

    Raises:
        ValueError: It names boxes that are there already.
    """
    if model.card.kind == REGION_CLASSIFIER:
        raise ValueError(
            "this version names boxes that are drawn already; choose one that finds objects or "
            "names whole images"
        )


def chooses_for_regions(model: Model) -> TypeGuard[RegionChooser]:
    """Tell whether a model also chooses for the objects that it finds."""
    return hasattr(model, "choose")


def finds_objects(model: Model) -> TypeGuard[ObjectDetector]:
    """Tell whether a model finds objects; else it answers for whole images."""
    return hasattr(model, "find_objects")
