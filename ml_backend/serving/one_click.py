"""One click: a click or a loose box on an object is answered with a fitted box and its class.

The project's detector looks at a window around it. It is asked down to a low confidence, because a
person says that something is there. Where it finds nothing, where there is none, and in blind
tasks, which must not show what a model thinks, the box is fitted by contrast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.contrast_fit import fit_at_point, fit_in_box
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.label_studio.smart_tools import Prompt
from ml_backend.learners.base import ObjectDetector, Picture

# Input px of the detector: the side of the window around a click, and the least around a box.
WINDOW = 384
# Of a box's longer side: how much of its surroundings the detector is shown.
AROUND = 2.0
FLOOR = 0.1  # the lowest confidence of a box that a person points at
LEAST_OVERLAP = 0.3  # IoU of a loose box and what is found in it
EDGE = 3.0  # px; a click may miss a box by so much


@dataclass(frozen=True)
class FittedBox:
    """What lies at a click.

    Attributes:
        box: x1, y1, x2, y2 in px of the image.
        name: What the detector calls it; "" where the box was fitted by contrast.
        confidence: The detector's, 0..1; 0 where it was not the detector.
    """

    box: tuple[float, float, float, float]
    name: str = ""
    confidence: float = 0.0


def fit_box(
    prompt: Prompt,
    pixels: np.ndarray,
    detector: ObjectDetector | None,
    classes: Sequence[str] = (),
    pixel_size: float | None = None,
) -> FittedBox | None:
    """Fit a box to what a person points at.

    Args:
        prompt: What the person drew.
        pixels: (H, W, 3) uint8 RGB, the whole image.
        detector: Of the project; None to fit by contrast alone.
        classes: Those of the detector that may be answered.
        pixel_size: µm that a pixel of the image shows, where it is known.

    Returns:
        None where nothing is there.
    """
    if detector is not None:
        found = _detect_around(prompt, pixels, detector.adapt_to(pixel_size), pixel_size)
        best = choose_box(prompt, found.select(np.isin(found.label, list(classes))))
        if best is not None:
            return best
    if prompt.is_click:
        box = fit_at_point(pixels, *prompt.box[:2])
    else:
        box = fit_in_box(pixels, prompt.box)
    return None if box is None else FittedBox(box)


def choose_box(prompt: Prompt, found: Boxes) -> FittedBox | None:
    """Choose what a person meant among the boxes of a detector.

    A click means the most confident box around it; a loose box the one with the greatest product of
    IoU and confidence, of those that overlap enough.

    Args:
        prompt: What the person drew.
        found: px of the image.
    """
    x1, y1, x2, y2 = found.xyxy.astype(float).T
    left, top, right, bottom = prompt.box
    if prompt.is_click:
        at = (x1 - EDGE <= left) & (left <= x2 + EDGE) & (y1 - EDGE <= top) & (top <= y2 + EDGE)
        rank = found.confidence * at
    else:
        across = np.minimum(x2, right) - np.maximum(x1, left)
        down = np.minimum(y2, bottom) - np.maximum(y1, top)
        shared = np.clip(across, 0, None) * np.clip(down, 0, None)
        both = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - shared
        overlap = shared / np.maximum(both, 1e-9)
        rank = np.where(overlap >= LEAST_OVERLAP, overlap * found.confidence, 0)
    if not len(rank) or rank.max() <= 0:
        return None
    best = int(rank.argmax())
    a, b, c, d = found.xyxy[best].tolist()
    return FittedBox((a, b, c, d), str(found.label[best]), float(found.confidence[best]))


def _detect_around(
    prompt: Prompt, pixels: np.ndarray, detector: ObjectDetector, pixel_size: float | None
) -> Boxes:
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = prompt.box
    side = max(WINDOW / detector.scale, AROUND * (x2 - x1), AROUND * (y2 - y1))
    left, right = _place((x1 + x2) / 2, side, width)
    top, bottom = _place((y1 + y2) / 2, side, height)
    window = np.ascontiguousarray(pixels[top:bottom, left:right])
    (prediction,) = detector.predict([Picture(window, pixel_size)], FLOOR)
    boxes = prediction.boxes
    return Boxes(
        boxes.xyxy + np.array([left, top, left, top], np.float32), boxes.label, boxes.confidence
    )


def _place(middle: float, side: float, length: int) -> tuple[int, int]:
    """Place a span around a point inside the image; all of it where the span is longer."""
    if side >= length:
        return 0, length
    start = round(min(max(middle - side / 2, 0), length - side))
    return start, min(length, start + round(side))


def choose_label(fitted: FittedBox, prompt: Prompt, labels: LabelingConfig) -> str | None:
    """Choose the label of a fitted box: the person's word, else the detector's, else the first.

    Args:
        fitted: See `fit_box`.
        prompt: What the person drew, with a label that may be none of the rectangles'.
        labels: Of the project.
    """
    for name in (*prompt.labels, fitted.name):
        mapping = labels.match_classes([name]).mapping if name else {}
        if mapping:
            return name
    return labels.values[0] if labels.values else None


def write_answer(
    fitted: FittedBox,
    prompt: Prompt,
    size: tuple[int, int],
    labels: LabelingConfig,
    version: str,
) -> list[dict[str, Any]]:
    """Write a fitted box as the `result` that the editor draws.

    Args:
        fitted: See `fit_box`.
        prompt: What the person drew; the new region's id depends on its id.
        size: Width and height of the image, px.
        labels: Of the project.
        version: Of the detector.
    """
    name = choose_label(fitted, prompt, labels)
    if name is None:
        return []
    boxes = Boxes.from_rows([(*fitted.box, name)])
    confidence = np.array([fitted.confidence], np.float32)
    return labels.write_regions(
        Boxes(boxes.xyxy, boxes.label, confidence),
        width=size[0],
        height=size[1],
        matching=labels.match_classes([name]),
        version=f"{version}/{prompt.id}",
    )
