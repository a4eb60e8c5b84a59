"""What a project's annotators say of each other: how far they agree, and where they do not.

The worker measures it with every change and keeps it beside the project: the server shows it, and
publishing puts the disputed tasks before all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from ml_backend.dataset.consensus import Submission, measure_agreement
from ml_backend.dataset.corrections import read_size
from ml_backend.dataset.disputes import find_disputes, list_ratings, summarize_disputes
from ml_backend.dataset.repeats import group_by_annotator, pair_answers, summarize_repeats
from ml_backend.evaluation.label_quality.annotator_agreement import evaluate_agreement
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.state.projects import Projects


def measure_annotators(submissions: Sequence[Submission], labels: LabelingConfig) -> dict[str, Any]:
    """Measure how far annotators agree.

    Args:
        submissions: What was submitted, by task.
        labels: Those of the project.

    Returns:
        `tasks` with several annotators; `boxes_f1`, the mean F1 of the boxes of two people, or
        None where nothing is boxed; `agreement` on names, see `AnnotatorAgreement.to_json`, or
        None; `disputed`, see `summarize_disputes`. Empty where no task has several annotators.
    """
    shared = [submission for submission in submissions if len(submission.results) > 1]
    if not shared:
        return {}
    ratings = [rating for submission in shared for rating in list_ratings(submission, labels)]
    agreement = evaluate_agreement(ratings)
    return {
        "tasks": len(shared),
        "boxes_f1": _measure_boxes(shared, labels),
        "agreement": agreement.to_json() if agreement else None,
        "disputed": summarize_disputes(find_disputes(shared, labels)),
    }


def measure_repeats(
    first: Sequence[Submission], again: Sequence[Submission], labels: LabelingConfig
) -> dict[str, Any]:
    """Measure how far people agree with themselves.

    Args:
        first: What was submitted, by task.
        again: What was submitted for repeats of them.
        labels: Those of the project.

    Returns:
        `repeats`: of all and by annotator, see `summarize_repeats`. Empty where nothing was
        answered twice.
    """
    pairs = pair_answers(first, again, labels)
    if not pairs:
        return {}
    return {
        "repeats": {
            "all": summarize_repeats(pairs),
            **{who: summarize_repeats(own) for who, own in group_by_annotator(pairs).items()},
        }
    }


def _measure_boxes(shared: Sequence[Submission], labels: LabelingConfig) -> float | None:
    """The mean over tasks of the mean F1 of any two people's boxes; None without boxes."""
    found = []
    for made in shared if labels.controls else ():
        size = read_size([item for result in made.results for item in result])
        drawn = [labels.read_boxes(result, *size)[0] for result in made.results]
        if (agreed := measure_agreement(drawn)) is not None:
            found.append(agreed)
    return fmean(found) if found else None


def note_annotators(
    projects: Projects, project: int, submissions: Sequence[Submission], labels: LabelingConfig
) -> None:
    """Keep what was measured; where it changed, leave a note to put the queue in order.

    Args:
        projects: Of the data folder.
        project: The project's number in Label Studio.
        submissions: What was submitted, by task.
        labels: Those of the project.
    """
    measured = measure_annotators(submissions, labels)
    if projects.keep_agreement(project, measured) and measured.get("disputed"):
        projects.add_note(project, "publish")
