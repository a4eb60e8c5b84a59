"""How good predictions are, for the boxes and for whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.bootstrap import (
    Figure,
    average_precision,
    draw_weights,
    mean_defined,
    ratio,
    sensitivity_at,
)
from ml_backend.evaluation.calibration import Calibration, calibration
from ml_backend.evaluation.center_distance import Centres, by_centres
from ml_backend.evaluation.class_matches import are, rates, shown_at, tallies
from ml_backend.evaluation.confusion import BACKGROUND, MISSED, Marks, confusion
from ml_backend.evaluation.froc import FALSE_AN_IMAGE, pooled, sensitivity_at_rates
from ml_backend.evaluation.matching import IOU_LEVELS, MatchedDetections, match_images
from ml_backend.evaluation.physical_units import RADIUS, Microns, in_microns
from ml_backend.evaluation.precision_recall import Point, precision_recall
from ml_backend.evaluation.summary_tables import (
    ALL,
    ImageRow,
    StageRow,
    image_rows,
    shows,
    stage_rows,
)
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize

SPECIFICITY = 0.985


@dataclass(frozen=True)
class ClassFigures:
    """One class. truths: boxes to find; predicted: boxes at the threshold, ignored ones aside."""

    precision: Figure
    recall: Figure
    f1: Figure
    ap50: Figure
    ap50_95: Figure
    truths: int
    predicted: int


@dataclass(frozen=True)
class Figures:
    """What `evaluate` found; all figures 0..1, undefined ones None.

    images: those with any truth. groups: theirs. threshold: at which boxes count.
    image_*: is there a headline object in the image at all; always_yes is the accuracy of
        calling every image positive. image_sensitivity_at_specificity: at `specificity`.
    classes: of the truth and the headline, under the detector's names.
    f1, ap50, ap50_95: means over the headline classes.
    froc: false headline boxes an image → the best sensitivity that keeps to it.
    confusion: true class, or background → predicted class, or missed → boxes at the
        threshold. calibration: of the headline boxes at the threshold.
    precision_recall: of the headline boxes, at 21 recalls; () without anything to find.
    centres: the same judged by centres, in pixels. microns: in µm and mm².
    image_table, stage_table: the field's own two tables, see `rosters`.
    """

    images: int
    groups: int
    threshold: float
    specificity: float
    image_accuracy: Figure
    image_sensitivity: Figure
    image_specificity: Figure
    image_sensitivity_at_specificity: Figure
    always_yes: Figure
    classes: dict[str, ClassFigures]
    f1: Figure
    ap50: Figure
    ap50_95: Figure
    froc: dict[float, Figure]
    confusion: dict[str, dict[str, int]]
    calibration: Calibration
    precision_recall: tuple[Point, ...]
    centres: Centres
    microns: Microns
    image_table: tuple[ImageRow, ...]
    stage_table: tuple[StageRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; every figure x comes with x_interval, [low, high] or None."""
        flat = _flat(self)
        flat["classes"] = {name: _flat(figures) for name, figures in self.classes.items()}
        flat["froc"] = [
            {"false_an_image": rate, **_plain("sensitivity", figure)}
            for rate, figure in self.froc.items()
        ]
        flat["calibration"] = {
            **_plain("error", self.calibration.error),
            "bins": [asdict(one) for one in self.calibration.bins],
        }
        flat["precision_recall"] = [asdict(one) for one in self.precision_recall]
        flat["centres"] = _flat(self.centres)
        flat["microns"] = _flat(self.microns) | {
            "froc": [
                {"false_a_mm2": rate, **_plain("sensitivity", figure)}
                for rate, figure in self.microns.froc.items()
            ]
        }
        flat["image_table"] = [_flat(row) for row in self.image_table]
        flat["stage_table"] = [_flat(row) for row in self.stage_table]
        return flat


def evaluate(
    truth: Sequence[Example],
    predictions: Sequence[Boxes],
    *,
    threshold: float,
    headline: Sequence[str],
    specificity: float = SPECIFICITY,
    radius: float | None = None,
    radius_um: float = RADIUS,
) -> Figures:
    """Judge the boxes predicted on each example.

    predictions: also those far below the threshold (from 0.01 on): average precision and
    the sensitivity at a given specificity need them. Class names are compared by
    `labels.canonicalize`. An example without boxes is out of the box figures, and in the
    image figures when its image_label is known. Intervals are over groups.
    radius: within how many pixels a centre is found; half of the median object's side where
    it is not given. radius_um: the same in µm, for the examples whose pixel size is known.

    Raises ValueError when there are not as many predictions as examples.
    """
    if len(truth) != len(predictions):
        raise ValueError(f"{len(truth)} examples, {len(predictions)} predictions: one for each")
    wanted = {canonicalize(name) for name in headline}
    judged = [
        (example, boxes, _image_truth(example, wanted))
        for example, boxes in zip(truth, predictions, strict=True)
        if example.boxes is not None or example.image_label is not None
    ]
    names, group = np.unique([example.group for example, _, _ in judged], return_inverse=True)
    weights = draw_weights(len(names))

    boxed = [i for i, (example, _, _) in enumerate(judged) if example.boxes is not None]
    drawn = [judged[i][:2] for i in boxed]
    classes = tallies(drawn, group[boxed], len(names), headline)
    values = {name: _box_values(one, threshold, weights) for name, one in classes.items()}
    central = [name for name in classes if canonicalize(name) in wanted]
    nothing = match_images([], group[:0], len(names))
    sought = pooled([nothing, *(classes[name] for name in central)])
    shown = shown_at(sought, threshold)

    def mean(figure: str) -> Figure:
        rows = [values[name][figure][0] for name in central]
        return Figure.over(mean_defined(np.array(rows).reshape(-1, len(weights))), sought.truths)

    known = [i for i, (_, _, positive) in enumerate(judged) if positive is not None]
    surest = np.array([_surest(judged[i][1], wanted) for i in known])
    everything = rates(pooled([nothing, *classes.values()]), threshold, weights)
    right = {
        name: Figure.over(*one["recall"]) for name, one in (*values.items(), (ALL, everything))
    }
    taken = _confusion(drawn, list(classes), threshold)
    return Figures(
        images=len(judged),
        groups=len(names),
        threshold=threshold,
        specificity=specificity,
        **_image_figures(
            surest,
            np.array([judged[i][2] for i in known], bool),
            group[known],
            weights,
            threshold,
            specificity,
        ),
        classes={
            name: ClassFigures(
                **{figure: Figure.over(*pair) for figure, pair in values[name].items()},
                truths=int(one.truths.sum()),
                predicted=int(shown_at(one, threshold).sum()),
            )
            for name, one in classes.items()
        },
        f1=mean("f1"),
        ap50=mean("ap50"),
        ap50_95=mean("ap50_95"),
        froc=_froc(sought, np.bincount(group[boxed], minlength=len(names)), weights),
        confusion=taken,
        calibration=calibration(
            sought.confidence[shown], sought.hit[0][shown], sought.group[shown], weights
        ),
        precision_recall=precision_recall(sought),
        centres=by_centres(drawn, group[boxed], headline, threshold, weights, radius),
        microns=in_microns(drawn, group[boxed], headline, threshold, weights, radius_um),
        image_table=image_rows(
            [_shows(judged[i][0], bool(judged[i][2]), wanted) for i in known],
            surest >= np.float32(threshold),
            group[known],
            weights,
        ),
        stage_table=stage_rows(taken, right),
    )


def _shows(example: Example, positive: bool, wanted: set[str]) -> str:
    boxes = example.boxes or Boxes()
    return shows(positive, boxes.xyxy[are(boxes, wanted)], example.size)


def _image_truth(example: Example, wanted: set[str]) -> bool | None:
    if example.image_label is not None:
        return example.image_label
    if example.boxes is not None and any(
        canonicalize(str(n)) in wanted for n in example.boxes.label
    ):
        return True
    # What lies in an ignored region may be a headline object or not.
    return None if len(example.ignored) else False


def _surest(boxes: Boxes, wanted: set[str]) -> float:
    """The highest confidence of a headline box in an image, 0 where there is none."""
    return float(boxes.confidence[are(boxes, wanted)].max(initial=0.0))


def _froc(
    sought: MatchedDetections, images: np.ndarray, weights: np.ndarray
) -> dict[float, Figure]:
    values = sensitivity_at_rates(sought, images, weights)
    return {
        rate: Figure.over(values[:, column], sought.truths)
        for column, rate in enumerate(FALSE_AN_IMAGE)
    }


def _confusion(
    images: Sequence[tuple[Example, Boxes]], names: Sequence[str], threshold: float
) -> dict[str, dict[str, int]]:
    """Among the classes judged; predicted boxes of others are left out, as in the figures."""
    number = {canonicalize(name): index for index, name in enumerate(names)}

    def numbers(boxes: Boxes) -> np.ndarray:
        return np.array([number[canonicalize(str(name))] for name in boxes.label], int)

    marks = []
    for example, boxes in images:
        assert example.boxes is not None
        shown = boxes.where(are(boxes, set(number)) & (boxes.confidence >= np.float32(threshold)))
        shown = shown.where(np.argsort(-shown.confidence, kind="stable"))
        truth = example.boxes
        marks.append(Marks(shown.xyxy, numbers(shown), truth.xyxy, numbers(truth), example.ignored))
    counts = confusion(marks, len(names))
    return {
        true: dict(zip((*names, MISSED), row.tolist(), strict=True))
        for true, row in zip((*names, BACKGROUND), counts, strict=True)
    }


_Values = dict[str, tuple[np.ndarray, np.ndarray]]


def _box_values(one: MatchedDetections, threshold: float, weights: np.ndarray) -> _Values:
    """Each figure of a class: its values (R,) and what each group holds of its denominator."""
    precisions = [average_precision(one, level, weights) for level in range(len(IOU_LEVELS))]
    return {
        **rates(one, threshold, weights),
        "ap50": (precisions[0], one.truths),
        "ap50_95": (np.mean(precisions, axis=0), one.truths),
    }


def _image_figures(
    surest: np.ndarray,
    positive: np.ndarray,
    group: np.ndarray,
    weights: np.ndarray,
    threshold: float,
    specificity: float,
) -> dict[str, Figure]:
    called = surest >= np.float32(threshold)

    def share(part: np.ndarray, whole: np.ndarray) -> Figure:
        groups = weights.shape[1]
        parts, wholes = (np.bincount(group[mask], minlength=groups) for mask in (part, whole))
        return Figure.over(ratio(weights @ parts, weights @ wholes), wholes)

    everything = np.ones(len(positive), bool)
    held = sensitivity_at(surest, positive, specificity, weights[:, group])
    # Too few groups of either kind, and the interval is not known.
    kinds = [np.bincount(group[kind], minlength=weights.shape[1]) for kind in (positive, ~positive)]
    return {
        "image_accuracy": share(called == positive, everything),
        "image_sensitivity": share(called & positive, positive),
        "image_specificity": share(~called & ~positive, ~positive),
        "image_sensitivity_at_specificity": Figure.over(held, min(kinds, key=np.count_nonzero)),
        "always_yes": share(positive, everything),
    }


def _flat(
    figures: Figures | ClassFigures | Centres | Microns | ImageRow | StageRow,
) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name in (field.name for field in fields(figures)):
        value = getattr(figures, name)
        flat |= _plain(name, value) if isinstance(value, Figure) else {name: value}
    return flat


def _plain(name: str, figure: Figure) -> dict[str, Any]:
    interval = list(figure.interval) if figure.interval else None
    return {name: figure.value, f"{name}_interval": interval}
