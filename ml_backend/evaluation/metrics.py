"""The figures of a detector: of its boxes, and of whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.bootstrap import (
    Figure,
    average_defined,
    compute_average_precision,
    compute_sensitivity_at_specificity,
    divide_or_nan,
    make_bootstrap_weights,
)
from ml_backend.evaluation.calibration import Calibration, measure_calibration
from ml_backend.evaluation.center_distance import CentreFigures, evaluate_by_centres
from ml_backend.evaluation.class_matches import (
    compute_rates,
    mask_classes,
    mask_predicted,
    match_classes,
)
from ml_backend.evaluation.confusion import BACKGROUND, MISSED, ImageBoxes, count_confusion
from ml_backend.evaluation.froc import FALSE_AN_IMAGE, compute_froc, pool_classes
from ml_backend.evaluation.matching import IOU_LEVELS, MatchedDetections, match_images
from ml_backend.evaluation.physical_units import RADIUS, MicronFigures, evaluate_in_microns
from ml_backend.evaluation.precision_recall import CurvePoint, compute_precision_recall
from ml_backend.evaluation.summary_tables import (
    ALL,
    ImageRow,
    StageRow,
    classify_content,
    make_image_rows,
    make_stage_rows,
)
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize

SPECIFICITY = 0.985


@dataclass(frozen=True)
class ClassFigures:
    """The figures of one class.

    Attributes:
        precision: Share of the predicted boxes that found a true one, 0..1.
        recall: Share of the true boxes that were found, 0..1.
        f1: Their harmonic mean, 0..1.
        ap50: Average precision at IoU 0.5.
        ap50_95: Mean average precision at IoU 0.5, 0.55 … 0.95.
        truths: True boxes.
        predicted: Predicted boxes at the threshold, without the ignored ones.
    """

    precision: Figure
    recall: Figure
    f1: Figure
    ap50: Figure
    ap50_95: Figure
    truths: int
    predicted: int


@dataclass(frozen=True)
class DetectionFigures:
    """What `evaluate` found; all figures 0..1, undefined ones None.

    Attributes:
        images: Those with any truth.
        groups: How many groups they belong to.
        threshold: The confidence from which boxes count.
        specificity: At which `image_sensitivity_at_specificity` holds.
        image_accuracy: Share of the images for which it is known, and predicted correctly,
            whether they hold a headline object.
        image_sensitivity: Share of the positive images that are called positive.
        image_specificity: Share of the negative images that are called negative.
        image_sensitivity_at_specificity: The best sensitivity that keeps this specificity.
        always_yes: The accuracy of calling every image positive.
        classes: Of the truth and the headline, under the detector's names.
        f1: Mean over the headline classes.
        ap50: Mean over the headline classes.
        ap50_95: Mean over the headline classes.
        froc: False headline boxes an image → the best sensitivity that keeps to that rate.
        confusion: True class, or background → predicted class, or missed → boxes at the
            threshold.
        calibration: Of the headline boxes at the threshold.
        precision_recall: Of the headline boxes, at 21 recalls; () without anything to find.
        centres: Of boxes matched by their centres, in pixels.
        microns: In µm and mm².
        image_table: Images by what they show, see `summary_tables`.
        stage_table: Objects by their stage, see `summary_tables`.
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
    precision_recall: tuple[CurvePoint, ...]
    centres: CentreFigures
    microns: MicronFigures
    image_table: tuple[ImageRow, ...]
    stage_table: tuple[StageRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values; every figure x comes with x_interval, [low, high] or None."""
        flat = _flatten(self)
        flat["classes"] = {name: _flatten(figures) for name, figures in self.classes.items()}
        flat["froc"] = [
            {"false_an_image": rate, **_plain("sensitivity", figure)}
            for rate, figure in self.froc.items()
        ]
        flat["calibration"] = {
            **_plain("error", self.calibration.error),
            "bins": [asdict(bin_) for bin_ in self.calibration.bins],
        }
        flat["precision_recall"] = [asdict(point) for point in self.precision_recall]
        flat["centres"] = _flatten(self.centres)
        flat["microns"] = _flatten(self.microns) | {
            "froc": [
                {"false_a_mm2": rate, **_plain("sensitivity", figure)}
                for rate, figure in self.microns.froc.items()
            ]
        }
        flat["image_table"] = [_flatten(row) for row in self.image_table]
        flat["stage_table"] = [_flatten(row) for row in self.stage_table]
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
) -> DetectionFigures:
    """Judge the boxes predicted on each example.

    Class names are compared by `class_names.canonicalize`. Intervals are over groups.

    Args:
        truth: An example without boxes is not in the box figures; it is in the image figures
            where its image_label is known.
        predictions: The boxes predicted on each, also those far below the threshold (from 0.01
            on): average precision and the sensitivity at a given specificity need them.
        threshold: The confidence from which a box counts, 0..1.
        headline: The classes that the project is about.
        specificity: At which the sensitivity for whole images is computed, 0..1.
        radius: The largest distance in px at which a centre is found; half of the median
            object's side where it is None.
        radius_um: The same in µm, for the examples whose pixel size is known.

    Raises:
        ValueError: There are not as many predictions as examples.
    """
    if len(truth) != len(predictions):
        raise ValueError(f"{len(truth)} examples, {len(predictions)} predictions: one for each")
    wanted = {canonicalize(name) for name in headline}
    judged = [
        (example, boxes, _find_image_truth(example, wanted))
        for example, boxes in zip(truth, predictions, strict=True)
        if example.boxes is not None or example.image_label is not None
    ]
    names, group = np.unique([example.group for example, _, _ in judged], return_inverse=True)
    weights = make_bootstrap_weights(len(names))

    boxed = [i for i, (example, _, _) in enumerate(judged) if example.boxes is not None]
    images = [judged[i][:2] for i in boxed]
    matches = match_classes(images, group[boxed], len(names), headline)
    values = {name: _compute_box_values(of, threshold, weights) for name, of in matches.items()}
    central = [name for name in matches if canonicalize(name) in wanted]
    nothing = match_images([], group[:0], len(names))
    pooled = pool_classes([nothing, *(matches[name] for name in central)])
    predicted = mask_predicted(pooled, threshold)

    def average(figure: str) -> Figure:
        rows = [values[name][figure][0] for name in central]
        return Figure.from_resamples(
            average_defined(np.array(rows).reshape(-1, len(weights))), pooled.truths
        )

    known = [i for i, (_, _, positive) in enumerate(judged) if positive is not None]
    highest = np.array([_find_highest(judged[i][1], wanted) for i in known])
    all_rates = compute_rates(pool_classes([nothing, *matches.values()]), threshold, weights)
    right = {
        name: Figure.from_resamples(*rates["recall"])
        for name, rates in (*values.items(), (ALL, all_rates))
    }
    confusion = _count_confusion(images, list(matches), threshold)
    return DetectionFigures(
        images=len(judged),
        groups=len(names),
        threshold=threshold,
        specificity=specificity,
        **_compute_image_figures(
            highest,
            np.array([judged[i][2] for i in known], bool),
            group[known],
            weights,
            threshold,
            specificity,
        ),
        classes={
            name: ClassFigures(
                **{figure: Figure.from_resamples(*pair) for figure, pair in values[name].items()},
                truths=int(matched.truths.sum()),
                predicted=int(mask_predicted(matched, threshold).sum()),
            )
            for name, matched in matches.items()
        },
        f1=average("f1"),
        ap50=average("ap50"),
        ap50_95=average("ap50_95"),
        froc=_compute_froc(pooled, np.bincount(group[boxed], minlength=len(names)), weights),
        confusion=confusion,
        calibration=measure_calibration(
            pooled.confidence[predicted],
            pooled.hit[0][predicted],
            pooled.group[predicted],
            weights,
        ),
        precision_recall=compute_precision_recall(pooled),
        centres=evaluate_by_centres(images, group[boxed], headline, threshold, weights, radius),
        microns=evaluate_in_microns(images, group[boxed], headline, threshold, weights, radius_um),
        image_table=make_image_rows(
            [_classify_content(judged[i][0], bool(judged[i][2]), wanted) for i in known],
            highest >= np.float32(threshold),
            group[known],
            weights,
        ),
        stage_table=make_stage_rows(confusion, right),
    )


def _classify_content(example: Example, positive: bool, wanted: set[str]) -> str:
    boxes = example.boxes or Boxes()
    return classify_content(positive, boxes.xyxy[mask_classes(boxes, wanted)], example.size)


def _find_image_truth(example: Example, wanted: set[str]) -> bool | None:
    if example.image_label is not None:
        return example.image_label
    if example.boxes is not None and any(
        canonicalize(str(n)) in wanted for n in example.boxes.label
    ):
        return True
    # What lies in an ignored region may be a headline object or not.
    return None if len(example.ignored) else False


def _find_highest(boxes: Boxes, wanted: set[str]) -> float:
    """Find the highest confidence of a headline box in an image, 0 where there is none."""
    return float(boxes.confidence[mask_classes(boxes, wanted)].max(initial=0.0))


def _compute_froc(
    pooled: MatchedDetections, images: np.ndarray, weights: np.ndarray
) -> dict[float, Figure]:
    values = compute_froc(pooled, images, weights)
    return {
        rate: Figure.from_resamples(values[:, column], pooled.truths)
        for column, rate in enumerate(FALSE_AN_IMAGE)
    }


def _count_confusion(
    images: Sequence[tuple[Example, Boxes]], names: Sequence[str], threshold: float
) -> dict[str, dict[str, int]]:
    """Count among the judged classes; predicted boxes of others are left out, as in the figures."""
    number = {canonicalize(name): index for index, name in enumerate(names)}

    def numbers(boxes: Boxes) -> np.ndarray:
        return np.array([number[canonicalize(str(name))] for name in boxes.label], int)

    boxes_of_images = []
    for example, boxes in images:
        assert example.boxes is not None
        shown = boxes.select(
            mask_classes(boxes, set(number)) & (boxes.confidence >= np.float32(threshold))
        )
        shown = shown.select(np.argsort(-shown.confidence, kind="stable"))
        truth = example.boxes
        boxes_of_images.append(
            ImageBoxes(shown.xyxy, numbers(shown), truth.xyxy, numbers(truth), example.ignored)
        )
    counts = count_confusion(boxes_of_images, len(names))
    return {
        true: dict(zip((*names, MISSED), row.tolist(), strict=True))
        for true, row in zip((*names, BACKGROUND), counts, strict=True)
    }


_Values = dict[str, tuple[np.ndarray, np.ndarray]]


def _compute_box_values(
    matched: MatchedDetections, threshold: float, weights: np.ndarray
) -> _Values:
    """Compute each figure of a class: see `class_matches.compute_rates`."""
    precisions = [
        compute_average_precision(matched, level, weights) for level in range(len(IOU_LEVELS))
    ]
    return {
        **compute_rates(matched, threshold, weights),
        "ap50": (precisions[0], matched.truths),
        "ap50_95": (np.mean(precisions, axis=0), matched.truths),
    }


def _compute_image_figures(
    highest: np.ndarray,
    positive: np.ndarray,
    group: np.ndarray,
    weights: np.ndarray,
    threshold: float,
    specificity: float,
) -> dict[str, Figure]:
    called = highest >= np.float32(threshold)

    def share(part: np.ndarray, whole: np.ndarray) -> Figure:
        groups = weights.shape[1]
        parts, wholes = (np.bincount(group[mask], minlength=groups) for mask in (part, whole))
        return Figure.from_resamples(divide_or_nan(weights @ parts, weights @ wholes), wholes)

    everything = np.ones(len(positive), bool)
    best = compute_sensitivity_at_specificity(highest, positive, specificity, weights[:, group])
    # With too few groups of either kind the interval is not known.
    kinds = [np.bincount(group[kind], minlength=weights.shape[1]) for kind in (positive, ~positive)]
    return {
        "image_accuracy": share(called == positive, everything),
        "image_sensitivity": share(called & positive, positive),
        "image_specificity": share(~called & ~positive, ~positive),
        "image_sensitivity_at_specificity": Figure.from_resamples(
            best, min(kinds, key=np.count_nonzero)
        ),
        "always_yes": share(positive, everything),
    }


def _flatten(
    figures: DetectionFigures | ClassFigures | CentreFigures | MicronFigures | ImageRow | StageRow,
) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name in (field.name for field in fields(figures)):
        value = getattr(figures, name)
        flat |= _plain(name, value) if isinstance(value, Figure) else {name: value}
    return flat


def _plain(name: str, figure: Figure) -> dict[str, Any]:
    interval = list(figure.interval) if figure.interval else None
    return {name: figure.value, f"{name}_interval": interval}
