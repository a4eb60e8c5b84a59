"""Likely errors in labels, by the answers of a model that never saw them: which, and why.

Of each label, and of each box where nothing is marked, the odds that the label is wrong follow from
Bayes: the odds before the model is asked, times how much likelier its answer is if the label is
wrong than if it is right. How likely an answer is for a right label is learned from all labels, of
which few are wrong (`learn_habits`). With e = 0.05 wrong labels in one, and m = 0.1 missing ones:

- *swapped* (the box that fits is of another class): e · p / p_k, the confidences of that box and of
  the most confident one of the label's own class there (at least 0.02);
- *badly placed*: e · p / P(an overlap as small or smaller), a Student distribution of 3 degrees of
  freedom about the class's median overlap (IoU), as wide as its median deviation;
- *nothing there* (no box fits): e · (1 - 0.9 · t / threshold) / P(the model misses such an object),
  t the confidence of the best trace below the threshold;
- *overlooked* (a box where nothing is marked): m · q / (1 - q), q the probability that a box of
  such confidence lies on an object, by logistic regression (Platt 1999).

The score is 1 / (1 + odds): the probability that the label is right. The kinds but the third are
those of ObjectLab (Tkachenko, Thyagarajan and Mueller 2023, arXiv 2309.00832), whose own scores
put less of the damage first: `benchmarks/second_look.py` has both. Choices are scored by their
self-confidence (Northcutt, Jiang and Chuang 2021, Confident Learning): the probability of the given
class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import expit, logit, stdtr  # the last: of Student's t

from ml_backend.imaging.boxes import Boxes, choose_pairs, compute_iou, compute_overlap_of_smaller

# The first five are of models, the others of `odd_cells`.
IssueKind = Literal[
    "overlooked", "swapped", "badly placed", "nothing there", "other choice",
    "too large", "too small", "too bright", "too dark", "like another", "halves",
]  # fmt: skip
Corners = tuple[float, float, float, float]

# The share of labels that are wrong, and of objects without one, before a model is asked. People
# overlook more than they misname: a second look at a published set found 29 % more mitoses.
WRONG, MISSING = 0.05, 0.1
# A box fits a label from this IoU on; one that overlaps some label by half is about that label.
_FITS, _SAME = 0.2, 0.5
# The least confidence that a class has where the model sees another one.
_LEAST = 0.02
# Degrees of freedom: boxes are now and then placed much worse than usual.
_FREEDOM = 3
# Where a class has few labels, its overlaps are filled up with these.
_USUAL_OVERLAPS = (0.7, 0.8, 0.85, 0.9)
# Surer than this that a label is right, nobody need look.
WORTH_A_LOOK = 0.95


@dataclass(frozen=True)
class LabelIssue:
    """A label that may be wrong, or one that may be missing.

    Attributes:
        kind: What may be wrong.
        score: The probability that the label is right, 0..1; the lowest is the likeliest error.
        label: As it was given; "" where nothing was marked.
        suggested: As the model has it; "" where it sees nothing.
        confidence: Of what the model sees, 0..1.
        box: The given box, x1 y1 x2 y2 in px; None where nothing was marked, and for choices.
        suggested_box: The model's; None where it sees nothing, and for choices.
    """

    kind: IssueKind
    score: float
    label: str
    suggested: str
    confidence: float
    box: Corners | None = None
    suggested_box: Corners | None = None

    @property
    def reason(self) -> str:
        """Why it is worth a look, in words."""
        seen = f"{self.suggested} ({self.confidence:.2f})"
        return {
            "overlooked": f"missed here? nothing is marked, the model sees {seen}",
            "swapped": f"marked {self.label}, the model sees {seen}",
            "badly placed": f"{self.label}: the model places the box differently ({seen})",
            "nothing there": f"marked {self.label}, the model sees nothing there",
            "other choice": f"called {self.label}, the model says {seen}",
            "like another": f"marked {self.label}, its size and brightness are those of "
            f"{self.suggested}",
            "halves": f"two {self.label} that lie like the halves of one",
        }.get(self.kind, f"{self.label}: {self.kind} for its class")

    def to_json(self) -> dict[str, Any]:
        """Give plain values; `from_json` reads them back."""
        return {**self.__dict__, "reason": self.reason}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LabelIssue:
        """Read what `to_json` wrote."""
        names = ("kind", "score", "label", "suggested", "confidence")
        boxes = [value[name] and tuple(value[name]) for name in ("box", "suggested_box")]
        return cls(*(value[name] for name in names), *boxes)


@dataclass(frozen=True)
class ModelHabits:
    """What a model answers where labels are right.

    Attributes:
        intercept: Of the logistic regression of 'the box lies on a label' on the logit of its
            confidence.
        slope: Of the same.
        overlap: By class, the median and the deviation of the IoU of labels and their boxes.
        missed: By class, the share of labels that no box fits.
    """

    intercept: float
    slope: float
    overlap: Mapping[str, tuple[float, float]]
    missed: Mapping[str, float]

    def judge_confidence(self, confidence: float) -> float:
        """Give the probability that a box of this confidence lies on an object, 0..1."""
        return float(expit(self.intercept + self.slope * _to_logit(np.array(confidence))))


def learn_habits(images: Sequence[tuple[Boxes, Boxes]], threshold: float) -> ModelHabits:
    """Learn what a model answers where labels are right; the few wrong ones hardly matter.

    Args:
        images: The labels and the boxes that the model sees, of each image.
        threshold: The confidence from which a box counts, 0..1.
    """
    confidences, on_label = [], []
    overlaps: dict[str, list[float]] = {}
    fitted: dict[str, list[bool]] = {}
    for labels, boxes in images:
        overlap = compute_iou(labels.xyxy, boxes.xyxy)
        of_label = _match(labels, boxes, overlap, threshold)
        taken = set(of_label.values())
        for j in np.flatnonzero(boxes.confidence > threshold).tolist():
            if j in taken or overlap[:, j].max(initial=0) < _SAME:
                confidences.append(float(boxes.confidence[j]))
                on_label.append(j in taken)
        for i, name in enumerate(labels.label.tolist()):
            fitted.setdefault(name, []).append(i in of_label)
            if i in of_label:
                overlaps.setdefault(name, []).append(float(overlap[i, of_label[i]]))
    intercept, slope = _fit_logistic(np.array(confidences), np.array(on_label, bool))
    return ModelHabits(
        intercept,
        slope,
        {name: _describe_overlaps(values) for name, values in overlaps.items()},
        {name: (len(found) - sum(found) + 1) / (len(found) + 2) for name, found in fitted.items()},
    )


def _fit_logistic(confidence: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of the regression; drawn towards 0 and 1, so that few boxes suffice."""
    from scipy.optimize import minimize  # most processes that import this module judge nothing

    x = _to_logit(confidence)

    def measure_misfit(line: np.ndarray) -> float:
        z = line[0] + line[1] * x
        loss = np.logaddexp(0, z) - right * z
        return float(loss.sum() + 0.05 * line[0] ** 2 + 0.5 * (line[1] - 1) ** 2)

    intercept, slope = minimize(measure_misfit, [0.0, 1.0]).x
    return float(intercept), float(slope)


def _to_logit(confidence: np.ndarray) -> np.ndarray:
    return logit(np.clip(confidence, 1e-3, 1 - 1e-3))


def _describe_overlaps(values: Sequence[float]) -> tuple[float, float]:
    """The median, and the median deviation as a standard deviation: at least 0.03."""
    known = np.array([*values, *(_USUAL_OVERLAPS if len(values) < 8 else ())])
    middle = float(np.median(known))
    return middle, max(1.4826 * float(np.median(np.abs(known - middle))), 0.03)


def _match(labels: Boxes, boxes: Boxes, overlap: np.ndarray, threshold: float) -> dict[int, int]:
    """Find the box of each label, each in one pair at most: those that fit best come first.

    Args:
        labels: N of them.
        boxes: M of them.
        overlap: (N, M), their IoU.
        threshold: Boxes below it do not count.
    """
    same = np.where(labels.label[:, None] == boxes.label, 1.0, 0.7)
    counts = (overlap >= _FITS) & (boxes.confidence > threshold)
    weight = overlap * boxes.confidence * same * counts
    pairs = sorted((-weight[i, j], i, j) for i, j in np.argwhere(weight > 0).tolist())
    return dict(choose_pairs((i, j) for _, i, j in pairs))


def find_box_issues(
    labels: Boxes,
    boxes: Boxes,
    threshold: float,
    habits: ModelHabits,
    ignored: np.ndarray | None = None,
) -> list[LabelIssue]:
    """Find the labels of an image that may be wrong, and the places where one may be missing.

    Args:
        labels: As people marked them.
        boxes: What a model that never saw the image sees, down to a low confidence.
        threshold: The confidence from which its boxes are shown, 0..1.
        habits: See `learn_habits`.
        ignored: (K, 4), regions in which nothing is judged.

    Returns:
        At most one for each label and for each box, in no order.
    """
    overlap = compute_iou(labels.xyxy, boxes.xyxy)
    of_label = _match(labels, boxes, overlap, threshold)
    seen = boxes.to_rows()
    found = []
    for i, (x1, y1, x2, y2, label, _) in enumerate(labels.to_rows()):
        given = (x1, y1, x2, y2)
        there = overlap[i] >= _FITS
        if i not in of_label:
            trace = float(boxes.confidence[there].max(initial=0))
            odds = WRONG * (1 - 0.9 * trace / max(threshold, trace, 0.01))
            odds /= habits.missed.get(label, 0.5)
            found.append(_make_issue("nothing there", odds, label, "", trace, given))
            continue
        *corners, name, p = seen[of_label[i]]
        place = (corners[0], corners[1], corners[2], corners[3])
        own = float(boxes.confidence[there & (boxes.label == label)].max(initial=_LEAST))
        usual, deviation = habits.overlap.get(label, _describe_overlaps(()))
        worse = max((usual - float(overlap[i, of_label[i]])) / deviation, 0)
        tail = max(2 * float(stdtr(_FREEDOM, -worse)), 1e-6)
        moved = _make_issue("badly placed", WRONG * p / tail, label, name, p, given, place)
        odds = WRONG * p / own if name != label else 0.0
        swapped = _make_issue("swapped", odds, label, name, p, given, place)
        found.append(min(moved, swapped, key=lambda issue: issue.score))
    taken = set(of_label.values())
    beside = overlap.max(axis=0, initial=0.0) < _SAME
    if ignored is not None and len(ignored):
        inside = compute_overlap_of_smaller(boxes.xyxy, ignored).max(axis=1, initial=0.0)
        beside &= inside < _SAME
    for j in np.flatnonzero((boxes.confidence > threshold) & beside).tolist():
        if j not in taken:
            x1, y1, x2, y2, name, p = seen[j]
            q = min(habits.judge_confidence(p), 1 - 1e-6)
            odds = MISSING * q / (1 - q)
            found.append(_make_issue("overlooked", odds, "", name, p, None, (x1, y1, x2, y2)))
    return [issue for issue in found if issue.score < WORTH_A_LOOK]


def _make_issue(
    kind: IssueKind,
    odds: float,
    label: str,
    suggested: str,
    confidence: float,
    box: Corners | None,
    suggested_box: Corners | None = None,
) -> LabelIssue:
    return LabelIssue(kind, 1 / (1 + odds), label, suggested, confidence, box, suggested_box)


def find_choice_issue(
    choices: Sequence[str], probabilities: Mapping[str, float]
) -> LabelIssue | None:
    """Find out whether an image may be called wrongly.

    Args:
        choices: What it was called.
        probabilities: Of each class, by a model that never saw the image, 0..1.

    Returns:
        None where the model's first class is among the given ones, or there is no answer.
    """
    if not choices or not probabilities:
        return None
    best = max(probabilities, key=lambda name: probabilities[name])
    if best in choices:
        return None
    given = min(probabilities.get(name, 0.0) for name in choices)
    return LabelIssue(
        "other choice", float(given), " + ".join(choices), best, float(probabilities[best])
    )
