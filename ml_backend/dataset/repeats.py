"""Tasks that are shown a second time, to see how far a person agrees with themselves.

A repeat is a task of its own whose data names the first one. It is never learned from, judged on,
counted or exported: its image would be there twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_backend.dataset.consensus import Submission, compute_f1, list_names_of_objects
from ml_backend.dataset.corrections import read_size
from ml_backend.dataset.split import REPEAT_OF, hash_to_unit
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.system.numbers import parse_number, parse_whole_number

# With which probability a task was chosen to be repeated, in the data of the repeat.
CHANCE = "repeat_p"


def choose_repeats(
    tasks: Iterable[dict[str, Any]], image_key: str, share: float
) -> list[dict[str, Any]]:
    """Choose annotated tasks to be shown again, each with the same probability, by a hash.

    Asked again with the same share it chooses the same ones, so those that were annotated since
    join them.

    Args:
        tasks: Label Studio's; those that nobody annotated, repeats, and tasks that have one already
            are left out.
        image_key: The field of a task's data that holds the image.
        share: The probability, 0..1.

    Returns:
        The new tasks, each {"data": …}.
    """
    tasks = list(tasks)
    repeated = {parse_whole_number(task["data"].get(REPEAT_OF)) for task in tasks}
    chosen = []
    for task in tasks:
        data = task["data"]
        shown = str(data.get("sha256") or data.get(image_key) or task["id"])
        annotated = any(not made.get("was_cancelled") for made in task.get("annotations") or [])
        if (
            annotated
            and REPEAT_OF not in data
            and task["id"] not in repeated
            and hash_to_unit(f"cytoloop repeat/{shown}") < share
        ):
            chosen.append({"data": {**data, REPEAT_OF: task["id"], CHANCE: share}})
    return chosen


@dataclass(frozen=True)
class SecondAnswer:
    """What one person answered to the same image twice.

    Attributes:
        annotator: Who, as Label Studio numbers its users.
        weight: How many tasks it stands for: 1 over the probability of the repeat.
        f1: Of the boxes of both answers, 0..1; None where the project has no boxes.
        names: What the image, and each object that was marked both times, was called first and
            then: pairs.
    """

    annotator: str
    weight: float
    f1: float | None
    names: tuple[tuple[str, str], ...]


def pair_answers(
    first: Sequence[Submission], again: Sequence[Submission], labels: LabelingConfig
) -> list[SecondAnswer]:
    """Pair what people answered twice; what two people answered is no self-agreement.

    Args:
        first: What was submitted for tasks.
        again: What was submitted for repeats of them.
        labels: Those of the project.
    """
    known = {made.task: made for made in first}
    pairs = []
    for repeat in again:
        original = known.get(parse_whole_number(repeat.data.get(REPEAT_OF)) or 0)
        chance = parse_number(repeat.data.get(CHANCE), 1e-6, 1)
        if original is None or chance is None:
            continue
        before = dict(zip(original.annotators, original.results, strict=True))
        for annotator, result in zip(repeat.annotators, repeat.results, strict=True):
            if annotator in before:
                pairs.append(_compare(annotator, 1 / chance, before[annotator], result, labels))
    return pairs


def _compare(
    annotator: str,
    weight: float,
    first: list[dict[str, Any]],
    again: list[dict[str, Any]],
    labels: LabelingConfig,
) -> SecondAnswer:
    names = []
    chosen = [labels.read_choices(result) for result in (first, again)]
    if all(chosen):
        before, then = (" + ".join(sorted(made or ())) for made in chosen)
        names.append((before, then))
    f1 = None
    if labels.controls:
        size = read_size([*first, *again])
        drawn = [labels.read_boxes(result, *size)[0] for result in (first, again)]
        f1 = compute_f1(*drawn)
        names += [(called[0], called[1]) for called in list_names_of_objects(drawn)]
    return SecondAnswer(annotator, weight, f1, tuple(names))


def summarize_repeats(pairs: Sequence[SecondAnswer]) -> dict[str, Any]:
    """Summarize how far people agree with themselves.

    Returns:
        `tasks` answered twice; `f1`, the mean of their boxes; `same`, the share of names that stay,
        both weighed by 1 over the probability of the repeat, None where there is nothing.
    """
    boxes = [(pair.weight, pair.f1) for pair in pairs if pair.f1 is not None]
    names = [(pair.weight, float(a == b)) for pair in pairs for a, b in pair.names]
    return {"tasks": len(pairs), "f1": _average(boxes), "same": _average(names)}


def _average(values: Sequence[tuple[float, float]]) -> float | None:
    total = sum(weight for weight, _ in values)
    return sum(weight * value for weight, value in values) / total if total else None


def group_by_annotator(pairs: Sequence[SecondAnswer]) -> Mapping[str, list[SecondAnswer]]:
    """Group second answers by the person who gave them."""
    grouped: dict[str, list[SecondAnswer]] = {}
    for pair in pairs:
        grouped.setdefault(pair.annotator, []).append(pair)
    return dict(sorted(grouped.items()))
