"""The same judged in micrometres, so that figures of different microscopes can be compared.

Over the images whose pixel size is known, and nothing else: an image of which it is not known
says nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.bootstrap import Figure
from ml_backend.evaluation.center_distance import by_centres
from ml_backend.evaluation.class_matches import tallies
from ml_backend.evaluation.froc import pooled, sensitivity_at_rates
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize

# µm from a mitotic figure's centre: the mitosis challenges (MIDOG) judge so.
RADIUS = 7.5
# A field at 10x shows about 1 mm², one at 100x about a hundredth of it.
FALSE_A_MM2 = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


@dataclass(frozen=True)
class Microns:
    """images: those whose pixel size is known; area_mm2: of those whose sides are known too.

    radius: µm within which a headline box has found an object; precision, recall and f1: so
    judged. froc: false headline boxes a mm², matched by overlap → the best sensitivity that
    keeps to it. All undefined, radius and area None, where no pixel size is known.
    """

    images: int
    area_mm2: float | None
    radius: float | None
    precision: Figure
    recall: Figure
    f1: Figure
    froc: dict[float, Figure]


def in_microns(
    images: Sequence[tuple[Example, Boxes]],
    group: np.ndarray,
    headline: Sequence[str],
    threshold: float,
    weights: np.ndarray,
    radius: float = RADIUS,
) -> Microns:
    """Headline boxes by centres in µm, and the free-response curve a mm².

    images: each with its truth (boxes not None) and what was predicted on it. group: (I,) int,
    the group of each. weights: (R, G), how often each group counts. radius: µm.
    """
    measured = [i for i, (example, _) in enumerate(images) if example.pixel_size]
    near = by_centres(
        [_scaled(*images[i]) for i in measured],
        group[measured],
        headline,
        threshold,
        weights,
        radius,
    )
    areas = {i: _area(images[i][0]) for i in measured if images[i][0].size}
    with_area = list(areas)
    groups = weights.shape[1]
    wanted = {canonicalize(name) for name in headline}
    classes = tallies([images[i] for i in with_area], group[with_area], groups, headline)
    area: np.ndarray = np.bincount(group[with_area], weights=list(areas.values()), minlength=groups)
    sought = pooled([one for name, one in classes.items() if canonicalize(name) in wanted])
    found = sensitivity_at_rates(sought, area, weights, FALSE_A_MM2)
    return Microns(
        images=len(measured),
        area_mm2=float(area.sum()) if areas else None,
        radius=near.radius if measured else None,
        precision=near.precision,
        recall=near.recall,
        f1=near.f1,
        froc={
            rate: Figure.over(found[:, column], sought.truths)
            for column, rate in enumerate(FALSE_A_MM2)
        },
    )


def _scaled(example: Example, drawn: Boxes) -> tuple[Example, Boxes]:
    """An image's boxes in µm."""
    assert example.boxes is not None and example.pixel_size is not None
    size, truth = example.pixel_size, example.boxes
    boxes = replace(truth, xyxy=truth.xyxy * size)
    return replace(example, boxes=boxes, ignored=example.ignored * size), replace(
        drawn, xyxy=drawn.xyxy * size
    )


def _area(example: Example) -> float:
    """mm²."""
    assert example.size is not None and example.pixel_size is not None
    width, height = example.size
    return width * height * example.pixel_size**2 / 1e6
