"""Training and judging on a labelled folder, without Label Studio."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import Folder, read_folder
from ml_backend.evaluation.classification import evaluate_choices
from ml_backend.evaluation.derived_choices import compare_choices, derive_choices
from ml_backend.label_studio.class_names import canonicalize, choose_headline
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.learners.base import Model, Progress
from ml_backend.learners.kinds import (
    chooses_for_regions,
    find_learner,
    finds_objects,
    load_detector,
    load_model,
)
from ml_backend.learners.model_file import (
    CLASSIFIER,
    DETECTOR,
    DETECTOR_CLASSIFIER,
    REGION_CLASSIFIER,
    ModelCard,
)
from ml_backend.promotion.predict_examples import predict_examples
from ml_backend.registry import resolve
from ml_backend.registry.versions import DATASET_PROJECT, Registry, Version
from ml_backend.retraining.train_version import Lesson, NothingToLearn, Wishes, train_version
from ml_backend.settings import Settings
from ml_backend.system.plain_files import hash_file

Task = Literal["detect", "detect-and-classify", "classify-image", "classify-region"]

_KINDS: dict[Task, str] = {
    "detect": DETECTOR,
    "detect-and-classify": DETECTOR_CLASSIFIER,
    "classify-image": CLASSIFIER,
    "classify-region": REGION_CLASSIFIER,
}

# What a detector calls the boxes that a classifier tells apart, where no ready labels say it.
OBJECT = "Object"
# Ready labels with boxes of which something is chosen.
_WITH_CHOICES = ("spreads", "mitosis-stages")


class OtherTask(ValueError):
    """The folder or the model is about another task than the one that was asked for."""


def choose_task(found: Folder) -> Task:
    """Choose what a labelled folder teaches: boxes come before names of whole images."""
    return "classify-image" if found.choices and not found.classes else "detect"


def name_task(model: Model) -> Task:
    """Name what a model is for."""
    if finds_objects(model):
        return "detect-and-classify" if chooses_for_regions(model) else "detect"
    return "classify-region" if model.card.kind == REGION_CLASSIFIER else "classify-image"


def choose_box_label(told_apart: Sequence[str]) -> str:
    """Choose the label of boxes that a classifier tells apart.

    It is that of the ready labels with these choices, so a version fits a project of such labels.

    Args:
        told_apart: The classes of the boxes.

    Returns:
        Their label, or OBJECT where no ready labels have these choices.
    """
    configs = files("ml_backend.label_studio.configs")
    for name in _WITH_CHOICES:
        labels = LabelingConfig.parse((configs / f"{name}.xml").read_text(encoding="utf-8"))
        if not labels.match_region_choices(told_apart).unmatched:
            return labels.get_label_of(labels.region_choices[0])
    return OBJECT


def train_folder(
    settings: Settings,
    registry: Registry,
    folder: Path,
    wishes: Wishes = Wishes(),
    progress: Progress = lambda step: None,
    task: Task | None = None,
) -> tuple[Version, list[tuple[str, str]]]:
    """Train a version of the project "dataset" on a labelled folder's images.

    Args:
        settings: Of the data folder.
        registry: Gets the version.
        folder: With annotations, `image_labels.csv`, or a folder for each class. Images that
            nobody labelled are not trained on.
        wishes: What a person asked for.
        progress: Called with what the training tells.
        task: What is learned; see `choose_task` where None.

    Returns:
        The version, and what of the folder could not be used, and why.

    Raises:
        ValueError: The folder holds no image.
        NothingToLearn: It is not labelled for the task.
        TrainingFailed: The training made no version.
    """
    found = read_folder(folder)
    task = task or choose_task(found)
    learner = find_learner(_KINDS[task])
    classes = found.choices if task == "classify-image" else found.classes
    examples = found.examples
    if task == "detect-and-classify":
        told_apart = choose_headline(classes)
        label = choose_box_label(told_apart)
        examples = [split_classes(example, told_apart, label) for example in examples]
        others = [name for name in classes if name not in told_apart]
        classes = (label, *others) if len(told_apart) > 1 else ()
    labelled = [example for example in examples if learner.read_truth(example) is not None]
    if not learner.choose_headline(classes):
        what = {
            "detect": "box of a headline class",
            "detect-and-classify": "two classes of boxes",
            "classify-image": "name of a whole image",
            "classify-region": "box with a class",
        }[task]
        raise NothingToLearn(f"{folder} has no {what} to learn from{found.describe_first_fault()}")
    hashes = [hash_file(example.image) for example in labelled]
    lesson = Lesson(
        learner.kind,
        labelled,
        classes,
        _name_content(hashes, labelled, task),
        hashes,
        [example.group for example in labelled],
    )
    base = wishes.base or learner.default_base
    version = train_version(settings, registry, DATASET_PROJECT, lesson, base, wishes, progress)
    return version, found.skipped


def _name_content(hashes: Sequence[str], examples: Sequence[Example], task: Task) -> str:
    """Make a name of what is taught: the same images with the same labels have the same."""
    content: list[Any]
    if task == "classify-image":
        content = [(h, example.choices) for h, example in zip(hashes, examples, strict=True)]
    else:
        content = [
            (digest, sorted(example.boxes.to_rows()), example.ignored.tolist())
            + ((example.region_choices,) if example.region_choices else ())
            for digest, example in zip(hashes, examples, strict=True)
            if example.boxes is not None
        ]
    if task == "classify-region":  # the same boxes teach a detector something else
        content.append((task,))
    return hashlib.sha256(json.dumps(sorted(content)).encode("utf-8")).hexdigest()[:16]


def split_classes(example: Example, choices: Sequence[str], label: str) -> Example:
    """Take boxes whose classes are choices for boxes of one label with these choices.

    Args:
        example: Its other boxes stay as they are.
        choices: The classes, in whatever spelling.
        label: What the boxes are called.
    """
    if example.boxes is None or any(example.region_choices):
        return example
    known = {canonicalize(name): name for name in choices}
    named = [known.get(canonicalize(str(name))) for name in example.boxes.label]
    labels = [
        label if name else str(own) for name, own in zip(named, example.boxes.label, strict=True)
    ]
    return replace(
        example,
        boxes=replace(example.boxes, label=np.array(labels, np.str_)),
        region_choices=tuple((name,) if name else () for name in named),
    )


def evaluate_folder(
    registry: Registry,
    folder: Path,
    model: str,
    progress: Callable[[int, int], None],
    task: Task | None = None,
    beside: str | None = None,
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Evaluate a model on a labelled folder.

    Args:
        registry: Of the data folder.
        folder: See `train_folder`.
        model: As the user names it.
        progress: Called with how many images are done, and of how many.
        task: What the model must be for, where it is given.
        beside: A detector, as the user names it, whose boxes say what the same images show; of
            classifiers of whole images alone.

    Returns:
        The figures, and what could not be used. "headline" are the classes that the means are
        over; "trained_on" counts the images that the version, or an ancestor, was trained on.

    Raises:
        ValueError: Nothing in the folder is labelled for the model.
        OtherTask: The model, or the one beside it, is for another task.
        NoDerivation: Boxes do not tell the model's classes apart.
    """
    found = read_folder(folder)
    version = resolve.resolve_model(model, registry)
    loaded = load_model(registry.get_folder(version.name))
    able = name_task(loaded)
    if task not in (None, able):
        raise OtherTask(f"{version.name} is for --task {able}; choose another --model or --task")
    examples = found.examples
    learner = find_learner(loaded.card.kind)
    if able == "detect-and-classify":
        choices, label = loaded.card.options["choices"], loaded.card.headline[0]
        examples = [split_classes(example, choices, label) for example in examples]
    elif able != "detect":
        examples = [example for example in examples if learner.read_truth(example) is not None]
    if all(e.boxes is None and e.image_label is None and e.choices is None for e in examples):
        raise ValueError(
            f"{folder}: none of its {len(found.examples)} images is labelled"
            f"{found.describe_first_fault()}"
        )
    kept, predictions, unreadable = predict_examples(loaded, examples, progress)
    figures = learner.evaluate(kept, predictions, loaded.card)
    result = {
        "model": version.name,
        "headline": list(loaded.card.headline),
        **figures.to_json(),
        "trained_on": _count_seen(version, kept),
    }
    if beside is not None:
        if able != "classify-image":
            raise OtherTask(f"--beside: {version.name} is no classifier of whole images")
        answers = [prediction.choices for prediction in predictions]
        result["beside"] = _evaluate_beside(registry, beside, kept, answers, loaded.card, progress)
    return result, [*found.skipped, *unreadable]


def _evaluate_beside(
    registry: Registry,
    model: str,
    examples: Sequence[Example],
    answers: Sequence[Mapping[str, float]],
    card: ModelCard,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Evaluate what a detector's boxes say of images that a classifier answered for.

    Returns:
        Its figures, with "model", and "difference": by how much it is better than the classifier,
        paired; of images that are of one class.
    """
    version = resolve.resolve_model(model, registry)
    detector = load_detector(registry.get_folder(version.name))
    kept, predictions, _ = predict_examples(detector, examples, progress)
    derived = [
        derive_choices(prediction.boxes, card.classes, detector.card.threshold)
        for prediction in predictions
    ]
    groups = [example.group for example in kept]
    truth = [example.choices or () for example in kept]
    figures = evaluate_choices(truth, derived, groups, classes=card.classes)
    single = [place for place, names in enumerate(truth) if len(names) == 1]
    difference = compare_choices(
        [truth[place][0] for place in single],
        [derived[place] for place in single],
        [answers[place] for place in single],
        [groups[place] for place in single],
    )
    return {
        "model": version.name,
        **figures.to_json(),
        "trained_on": _count_seen(version, kept),
        "difference": difference.to_json(),
    }


def _count_seen(version: Version, examples: Sequence[Example]) -> int:
    """Count the images that a version, or an ancestor, was trained on."""
    known = set(version.seen_hashes)
    return sum(hash_file(example.image) in known for example in examples)
