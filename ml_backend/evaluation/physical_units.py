"""Figures in micrometres, so that those of different microscopes can be compared.

Only images whose pixel size is known count here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.bootstrap import Figure
from ml_backend.evaluation.center_distance import evaluate_by_centres
from ml_backend.evaluation.class_matches import match_classes
from ml_backend.evaluation.froc import compute_froc, pool_classes
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize

# µm from a mitotic figure's centre: the mitosis challenges (MIDOG) judge so.
RADIUS = 7.5
# A field at 10x shows about 1 mm², one at 100x about a hundredth of it.
FALSE_A_MM2 = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


@dataclass(frozen=True)
class MicronFigures:
    """Figures of headline boxes in µm and mm².

    All figures are undefined, and radius and area None, where no pixel size is known.

    Attributes:
        images: Those whose pixel size is known.
        area_mm2: The area of those whose width and height are known too, in mm².
        radius: The largest distance in µm at which a box has found an object.
        precision: By that radius, 0..1.
        recall: By that radius, 0..1.
        f1: By that radius, 0..1.
        froc: False headline boxes a mm², matched by overlap → the best sensitivity (0..1) that
            keeps to that rate.
    """

    images: int
    area_mm2: float | None
    radius: float | None
    precision: Figure
    recall: Figure
    f1: Figure
    froc: dict[float, Figure]


def evaluate_in_microns(
    images: Sequence[tuple[Example, Boxes]],
    group: np.ndarray,
    headline: Sequence[str],
    threshold: float,
    weights: np.ndarray,
    radius: float = RADIUS,
) -> MicronFigures:
    """Judge headline boxes by their centres in µm, and by the free-response curve a mm².

    Args:
        images: Each with its truth (boxes not None) and the boxes predicted on it, in pixels.
        group: (I,) int, the group of each image.
        headline: The classes that count.
        threshold: The confidence from which a box counts, 0..1; not for the curve.
        weights: (R, G), how often each group counts.
        radius: The largest distance at which a box has found an object, in µm.
    """
    measured = [i for i, (example, _) in enumerate(images) if example.pixel_size]
    by_centres = evaluate_by_centres(
        [_scale_to_microns(*images[i]) for i in measured],
        group[measured],
        headline,
        threshold,
        weights,
        radius,
    )
    areas = {i: _compute_area(images[i][0]) for i in measured if images[i][0].size}
    with_area = list(areas)
    groups = weights.shape[1]
    wanted = {canonicalize(name) for name in headline}
    matches = match_classes([images[i] for i in with_area], group[with_area], groups, headline)
    area: np.ndarray = np.bincount(group[with_area], weights=list(areas.values()), minlength=groups)
    pooled = pool_classes(
        [matched for name, matched in matches.items() if canonicalize(name) in wanted]
    )
    sensitivity = compute_froc(pooled, area, weights, FALSE_A_MM2)
    return MicronFigures(
        images=len(measured),
        area_mm2=float(area.sum()) if areas else None,
        radius=by_centres.radius if measured else None,
        precision=by_centres.precision,
        recall=by_centres.recall,
        f1=by_centres.f1,
        froc={
            rate: Figure.from_resamples(sensitivity[:, column], pooled.truths)
            for column, rate in enumerate(FALSE_A_MM2)
        },
    )


def _scale_to_microns(example: Example, predicted: Boxes) -> tuple[Example, Boxes]:
    """Convert an image's boxes from pixels to µm."""
    assert example.boxes is not None and example.pixel_size is not None
    size, truth = example.pixel_size, example.boxes
    boxes = replace(truth, xyxy=truth.xyxy * size)
    return replace(example, boxes=boxes, ignored=example.ignored * size), replace(
        predicted, xyxy=predicted.xyxy * size
    )


def _compute_area(example: Example) -> float:
    """Compute the area that an image shows, in mm²."""
    assert example.size is not None and example.pixel_size is not None
    width, height = example.size
    return width * height * example.pixel_size**2 / 1e6
