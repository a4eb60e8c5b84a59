"""Cells that stand out in their class, and halves of one that were marked apart; no model is asked.

As the Allen Institute for Cell Science curated its stages: cells whose size and brightness
contradict their label, outliers within a class, and the two halves of one anaphase or telophase.

Size and brightness of a cell are those of its foreground (Otsu 1979), as logarithms. In each class
both are described by median and median deviation, and a Student distribution of 3 degrees of
freedom:

- *too large, too small, too bright, too dark*: where p = P(as far out or further) is at most
  e = 0.05, the share of labels that are wrong before one looks; p is doubled because two numbers
  are tried. The odds are e times the most that such a p can say against a label
  (`bound_evidence`); 1 / p would be far too much, since one right label in twenty lies so far out;
- *like another*: e times how much likelier both numbers are in that class, weighed by its size.

The score is 1 / (1 + odds), as for `label_issues`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
from scipy.special import stdtr  # of Student's t

from ml_backend.evaluation.label_quality.label_issues import (
    WRONG,
    Corners,
    IssueKind,
    LabelIssue,
)
from ml_backend.imaging.boxes import Boxes, compute_iou
from ml_backend.label_studio.class_names import canonicalize

# What `measure_cell` gives: log size, log brightness, elongation, angle.
Shape = tuple[float, float, float, float]

_FREEDOM = 3
# With fewer cells a class has no usual size and brightness.
FEWEST = 8
# The least deviation of a logarithm: 5 % more or less stands out nowhere.
_NARROWEST = 0.05
_MOST_ODDS = 99.0
# Stages whose two groups of chromosomes lie apart.
_DIVIDED = frozenset(map(canonicalize, ("Anaphase", "Telophase")))
# Halves: how far apart their centres lie at most, in units of the mean longer side; how much their
# areas differ at most; from which elongation on an axis means something; and its angles.
_APART, _ALIKE, _LONG = 1.6, 1.8, 1.25
_PARALLEL, _FACING = 35.0, 45.0  # degrees


def measure_cell(pixels: np.ndarray) -> Shape:
    """Measure the foreground of a cell.

    Args:
        pixels: (H, W, 3) uint8 RGB, the cell alone.

    Returns:
        Logarithm of its area in px, and of its mean brightness (0..255, plus 1); its elongation,
        the ratio of the axes of the ellipse of the same moments; the angle of the longer one in
        degrees, 0..180 from the x axis.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    _, mask = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if not mask.any():
        mask = np.ones_like(grey)
    area = int(mask.sum())
    bright = float(grey[mask > 0].mean())
    moments = cv2.moments(mask, binaryImage=True)
    spread = np.array(
        [[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]
    ) / max(area, 1)
    values, vectors = np.linalg.eigh(spread)
    elongation = float(np.sqrt((values[1] + 1e-3) / (values[0] + 1e-3)))
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])) % 180)
    return float(np.log(area)), float(np.log1p(bright)), elongation, angle


def find_odd_cells(
    features: np.ndarray, labels: Sequence[str], boxes: Sequence[Corners | None]
) -> list[tuple[int, LabelIssue]]:
    """Find the cells whose size and brightness contradict their label.

    Args:
        features: (N, 2), the logarithms of size and brightness, see `measure_cell`.
        labels: N classes.
        boxes: Where each lies in its image; None for a whole image.

    Returns:
        The number of the cell, and the worst that is said of it; those of which nothing is
        said are left out.
    """
    names = np.array(labels, np.str_)
    usual = {
        name: _describe(features[names == name])
        for name in sorted(set(labels))
        if (names == name).sum() >= FEWEST
    }
    share = {name: float((names == name).mean()) for name in usual}
    found = []
    for number, (label, values) in enumerate(zip(labels, features, strict=True)):
        if label not in usual:
            continue
        issues = _judge_alone(values, label, usual[label], boxes[number])
        likely = {name: _measure_likelihood(values, usual[name]) * share[name] for name in usual}
        for name, other in likely.items():
            odds = WRONG * other / max(likely[label], 1e-12)
            if odds > 1:  # of the label's own class they are WRONG at most
                issues.append(_make_issue("like another", odds, label, name, boxes[number]))
        if issues:
            found.append((number, min(issues, key=lambda issue: issue.score)))
    return found


def _describe(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median (2,) and deviation (2,) of (N, 2) values."""
    middle = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - middle), axis=0)
    return middle, np.maximum(spread, _NARROWEST)


def _measure_likelihood(values: np.ndarray, usual: tuple[np.ndarray, np.ndarray]) -> float:
    from scipy.stats import t as student  # takes a second; most processes that start need it never

    middle, spread = usual
    return float(np.prod(student.pdf((values - middle) / spread, _FREEDOM) / spread))


def _judge_alone(
    values: np.ndarray, label: str, usual: tuple[np.ndarray, np.ndarray], box: Corners | None
) -> list[LabelIssue]:
    z = (values - usual[0]) / usual[1]
    which = int(np.abs(z).argmax())
    tail = max(4 * float(stdtr(_FREEDOM, -abs(z[which]))), 1e-9)
    if tail > WRONG:
        return []
    kinds: tuple[tuple[IssueKind, IssueKind], ...] = (
        ("too small", "too large"),
        ("too dark", "too bright"),
    )
    odds = WRONG * bound_evidence(tail)
    return [_make_issue(kinds[which][int(z[which] > 0)], odds, label, "", box)]


def bound_evidence(p: float) -> float:
    """Bound how much likelier an observation can be where a label is wrong than where it is right.

    Source: Sellke, Bayarri and Berger 2001, Calibration of p Values for Testing Precise Null
    Hypotheses, eq. 3: the p values of wrong labels are taken to follow any Beta(k, 1), k up to 1.

    Args:
        p: How often right labels lie as far out or further, above 0 and below 1 / e.

    Returns:
        1 / (-e p ln p), at least 1.
    """
    return float(1 / (-np.e * p * np.log(p)))


def _make_issue(
    kind: IssueKind, odds: float, label: str, suggested: str, box: Corners | None
) -> LabelIssue:
    return LabelIssue(kind, 1 / (1 + min(odds, _MOST_ODDS)), label, suggested, 0.0, box)


def find_halves(
    labels: Boxes, shapes: Sequence[tuple[float, float, float, float]]
) -> list[LabelIssue]:
    """Find pairs of boxes that are the halves of one anaphase or telophase.

    Both have that class, lie beside each other, are alike in size, and where they are elongated
    they are parallel and face each other.

    Args:
        labels: The boxes of an image.
        shapes: Of each, see `measure_cell`.

    Returns:
        An issue for each pair, whose suggested box holds both; a box is in one pair at most, the
        nearest ones first. The score is the distance, as a share of the largest allowed one.
    """
    xyxy = labels.xyxy.astype(np.float64)
    centres, sizes = (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]
    overlap = compute_iou(xyxy, xyxy)
    pairs = []
    for i, j in combinations(range(len(labels)), 2):
        name = str(labels.label[i])
        if name != labels.label[j] or canonicalize(name) not in _DIVIDED or overlap[i, j] > 0.3:
            continue
        between = centres[j] - centres[i]
        reach = _APART * float(sizes[[i, j]].max(axis=1).mean())
        areas = sorted(float(sizes[k].prod()) for k in (i, j))
        near = float(np.hypot(*between)) / max(reach, 1e-9)
        if near <= 1 and areas[1] <= _ALIKE * areas[0] and _face(shapes[i], shapes[j], between):
            pairs.append((near, i, j))
    taken: set[int] = set()
    found = []
    for near, i, j in sorted(pairs):
        if not taken & {i, j}:
            taken |= {i, j}
            x1, y1 = xyxy[[i, j], :2].min(axis=0).tolist()
            x2, y2 = xyxy[[i, j], 2:].max(axis=0).tolist()
            a1, b1, a2, b2 = xyxy[i].tolist()
            name = str(labels.label[i])
            found.append(
                LabelIssue("halves", near, name, name, 0.0, (a1, b1, a2, b2), (x1, y1, x2, y2))
            )
    return found


def _face(
    first: Shape,
    second: Shape,
    between: np.ndarray,
) -> bool:
    """Are two shapes parallel, and across the line between them? Round ones may be either."""
    line = float(np.degrees(np.arctan2(between[1], between[0])) % 180)
    long = [shape[3] for shape in (first, second) if shape[2] >= _LONG]
    across = all(_turn(angle, line) >= _FACING for angle in long)
    return across and (len(long) < 2 or _turn(long[0], long[1]) <= _PARALLEL)


def _turn(a: float, b: float) -> float:
    """The angle between two axes, 0..90 degrees."""
    apart = abs(a - b) % 180
    return min(apart, 180 - apart)
