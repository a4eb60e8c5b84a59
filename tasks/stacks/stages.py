"""The stage of cells by three networks, one a projection: of their answers the surest counts."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.evaluation.classification import ClassificationFigures, evaluate_choices
from ml_backend.imaging.projections import AXES, Axis
from ml_backend.learners.base import Prediction, Progress
from ml_backend.learners.kinds import load_model
from ml_backend.promotion.predict_examples import predict_examples
from ml_backend.registry import resolve
from ml_backend.registry.versions import Registry
from ml_backend.retraining.labelled_folder import train_folder
from ml_backend.retraining.train_version import Wishes
from ml_backend.settings import Settings
from ml_backend.system.atomic_files import read_json, replace_file, write_json
from ml_backend.system.csv_cells import write_cell
from tasks.stacks.surest_view import choose_surest, measure_entropy

# Which version answers for which projection, beside the pictures that they learned from.
VERSIONS = "versions.json"


@dataclass(frozen=True)
class CellStage:
    """What the networks say of a cell.

    Attributes:
        name: Of the cell.
        sample: Its group.
        truth: As people called it; "" where nobody did.
        stage: The class of the surest answer.
        probability: Of that class, 0..1.
        view: The projection that gave the answer.
        entropy: Of that answer, bits.
        answers: By projection, the class that each network says.
    """

    name: str
    sample: str
    truth: str
    stage: str
    probability: float
    view: Axis
    entropy: float
    answers: dict[Axis, str]


def train_views(
    settings: Settings,
    registry: Registry,
    folder: Path,
    name: str,
    progress: Progress = lambda step: None,
) -> dict[Axis, str]:
    """Train a network for each projection, the last layer first, then all of them.

    Args:
        settings: Of the data folder.
        registry: Gets the versions.
        folder: That `project_cells` wrote; its `image_labels.csv` name the stages.
        name: A word for the versions' names.
        progress: Called with what the trainings tell.

    Returns:
        By projection, the version; also written beside the pictures.

    Raises:
        NothingToLearn: No cell has a stage.
        TrainingFailed: A training made no version.
    """
    versions: dict[Axis, str] = {}
    for number, axis in enumerate(AXES):
        position = {"view": number + 1, "views": len(AXES)}
        version, _ = train_folder(
            settings,
            registry,
            folder / axis,
            Wishes(name=f"{name}{axis}"),
            lambda step, at=position: progress({**at, **step}),  # type: ignore[misc]
            "classify-image",
        )
        versions[axis] = version.name
    write_json(folder / VERSIONS, versions)
    return versions


def read_versions(folder: Path) -> dict[Axis, str]:
    """Read which versions were trained on a folder.

    Raises:
        ValueError: None were.
    """
    versions = read_json(folder / VERSIONS)
    if versions is None or set(versions) != set(AXES):
        raise ValueError(
            f"{folder} has no {VERSIONS}; run: cytoloop stacks train {folder}, or name the folder "
            "that was trained on with --trained-on"
        )
    return versions


def tell_stages(
    registry: Registry,
    folder: Path,
    versions: dict[Axis, str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[CellStage], tuple[str, ...], list[tuple[str, str]]]:
    """Tell the stages of the cells in a folder.

    Args:
        registry: Of the versions.
        folder: That `project_cells` wrote.
        versions: By projection.
        progress: Called with how many pictures are done, and of how many.

    Returns:
        The cells by name, the classes, and what was left out, and why: a cell that a projection
        lacks is told by the others.
    """
    found: dict[str, dict[Axis, tuple[Example, Prediction]]] = {}
    classes: tuple[str, ...] = ()
    skipped: list[tuple[str, str]] = []
    for place, axis in enumerate(AXES):
        version = resolve.resolve_model(versions[axis], registry)
        model = load_model(registry.get_folder(version.name))
        classes = classes or model.card.classes
        read = read_folder(folder / axis)

        def report(done: int, total: int, place: int = place) -> None:
            progress(place * total + done, len(AXES) * total)

        kept, predictions, unreadable = predict_examples(model, read.examples, report)
        skipped += [*read.skipped, *unreadable]
        for example, prediction in zip(kept, predictions, strict=True):
            found.setdefault(example.image.stem, {})[axis] = example, prediction
    cells = [_tell_stage(name, answers) for name, answers in sorted(found.items())]
    return cells, classes, skipped


def _tell_stage(name: str, answers: dict[Axis, tuple[Example, Prediction]]) -> CellStage:
    views = list(answers)
    surest = views[choose_surest([answers[axis][1].choices for axis in views])]
    example, prediction = answers[surest]
    stage = max(prediction.choices, key=lambda name: prediction.choices[name])
    return CellStage(
        name,
        example.group,
        (example.choices or ("",))[0],
        stage,
        prediction.choices[stage],
        surest,
        measure_entropy(prediction.choices),
        {
            axis: max(made.choices, key=lambda name, made=made: made.choices[name])  # type: ignore[misc]
            for axis, (_, made) in answers.items()
        },
    )


def judge_stages(
    cells: Sequence[CellStage], classes: Sequence[str]
) -> ClassificationFigures | None:
    """Judge the stages of cells that people called; None where there are none."""
    known = [cell for cell in cells if cell.truth]
    if not known:
        return None
    return evaluate_choices(
        [(cell.truth,) for cell in known],
        [{name: float(name == cell.stage) for name in classes} for cell in known],
        [cell.sample for cell in known],
        classes=classes,
        threshold=0.5,
        several=False,
    )


def write_stages(path: Path, cells: Sequence[CellStage]) -> None:
    """Write a table: `cell,stage,probability,view,entropy,x,y,z,truth`."""
    columns = ("cell", "stage", "probability", "view", "entropy", *AXES, "truth")
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        for cell in cells:
            row: dict[str, Any] = {
                "cell": cell.name,
                "stage": cell.stage,
                "probability": round(cell.probability, 4),
                "view": cell.view,
                "entropy": round(cell.entropy, 4),
                "truth": cell.truth,
                **{axis: cell.answers.get(axis, "") for axis in AXES},
            }
            table.writerow({name: write_cell(value) for name, value in row.items()})
