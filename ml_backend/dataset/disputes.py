"""Tasks that several annotators answered differently, and which of them need one more person.

A *tie* has no answer that more than half of the annotators gave (of boxes: no two annotators agree
on half of them), so one more person should look. A task is *contested* where a majority is there,
but somebody disagrees. A ground truth settles both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ml_backend.dataset.consensus import Submission, compute_f1, list_names_of_objects
from ml_backend.dataset.corrections import read_size
from ml_backend.label_studio.labeling_config import LabelingConfig

# Two annotations that share less than this F1 are no second opinion of one another.
SHARED_F1 = 0.5
# Disputes come before everything that a strategy scored: they lie in 0 .. this.
_FIRST = 1e-3


@dataclass(frozen=True)
class Dispute:
    """A task whose annotators disagree.

    Attributes:
        task: Label Studio's id of the task.
        annotators: How many answered.
        is_tie: No majority is there yet.
        score: Its place in the queue, 0..1: before all others, ties first.
        reason: In words, for people.
    """

    task: int
    annotators: int
    is_tie: bool
    score: float
    reason: str


def find_disputes(submissions: Iterable[Submission], labels: LabelingConfig) -> list[Dispute]:
    """Find the tasks whose annotators disagree, those first that are most in need of a decision.

    Args:
        submissions: What was submitted, by task.
        labels: Those of the project.
    """
    found = [
        dispute
        for submission in submissions
        if len(submission.results) > 1 and not submission.settled
        for dispute in _find_in_task(submission, labels)[:1]
    ]
    return sorted(found, key=lambda dispute: (dispute.score, dispute.task))


def _find_in_task(submission: Submission, labels: LabelingConfig) -> list[Dispute]:
    """The disputes about choices and about boxes, the worse one first."""
    several = len(submission.results)
    found = []
    made = [labels.read_choices(result) for result in submission.results]
    answers = Counter(tuple(sorted(names)) for names in made if names)
    if len(answers) > 1:
        most = answers.most_common(1)[0][1] / answers.total()
        words = ", ".join(f"{' + '.join(names)} ({n})" for names, n in answers.most_common())
        is_tie = most <= 0.5
        found.append(
            Dispute(submission.task, several, is_tie, _FIRST * most, f"it was called {words}")
        )
    if labels.controls:
        size = read_size([item for result in submission.results for item in result])
        drawn = [labels.read_boxes(result, *size)[0] for result in submission.results]
        best = max(compute_f1(a, b) for a, b in combinations(drawn, 2))
        if best < SHARED_F1:
            numbers = ", ".join(str(len(boxes)) for boxes in drawn)
            found.append(
                Dispute(
                    submission.task,
                    several,
                    True,
                    _FIRST * best,
                    f"no two annotators agree on half of their boxes ({numbers} of them)",
                )
            )
    return sorted(found, key=lambda dispute: dispute.score)


def list_ratings(submission: Submission, labels: LabelingConfig) -> list[dict[str, str]]:
    """List what each annotator called the image, and each object that two of them marked.

    Args:
        submission: Of a task.
        labels: Those of the project.

    Returns:
        One for the image where somebody chose, then one for each object; by annotator, the name.
        Several choices of one annotator are one name, joined by " + ".
    """
    ratings = []
    chosen = {
        who: " + ".join(sorted(names))
        for who, result in zip(submission.annotators, submission.results, strict=True)
        if (names := labels.read_choices(result))
    }
    if chosen:
        ratings.append(chosen)
    if labels.controls and len(submission.results) > 1:
        size = read_size([item for result in submission.results for item in result])
        drawn = [labels.read_boxes(result, *size)[0] for result in submission.results]
        ratings += [
            {submission.annotators[number]: name for number, name in names.items()}
            for names in list_names_of_objects(drawn)
        ]
    return ratings


def summarize_disputes(disputes: Sequence[Dispute]) -> list[dict[str, Any]]:
    """Give disputes as plain values."""
    return [
        {
            "task": dispute.task,
            "annotators": dispute.annotators,
            "tie": dispute.is_tie,
            "score": dispute.score,
            "reason": dispute.reason,
        }
        for dispute in disputes
    ]
