"""Objects of a scan called by what is chosen of them: a dividing cell by its stage.

Files of detections have one class for each box. Where a version finds boxes and chooses for each,
the choice says more than the label, so it is what the file has.
"""

from __future__ import annotations

import math

import numpy as np

from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import call_by_choice
from ml_backend.learners.base import Picture, Prediction, RegionChooser
from ml_backend.learners.detector_classifier.learner import choose_for_boxes
from tasks.detection.scan_result import ScanResult
from tasks.readers.planes import Rect


def name_objects(result: ScanResult, model: RegionChooser) -> list[str]:
    """Name the objects of a scan.

    Args:
        result: Of the scan, whose files are still there.
        model: What found the objects.

    Returns:
        Of each of `result.objects`, see `call_by_choice`; its label where its pixels cannot be read
        any more.
    """
    names = [str(label) for label in result.objects.label]
    mosaic = result.mosaic
    around = [_surround(box, mosaic.width, mosaic.height) for box in result.objects.xyxy]
    for plane in np.unique(result.best).tolist():
        # Tile by tile, so that a tile is opened once and not for each of its objects.
        places = sorted(
            np.flatnonzero(result.best == plane).tolist(),
            key=lambda place: mosaic.find_tiles(around[place]),
        )
        rects = [around[place] for place in places]
        for number, pixels in mosaic.read_parts(plane, rects):
            place = places[number]
            (left, top), (height, width) = rects[number][:2], pixels.shape[:2]
            box = Boxes(
                (result.objects.xyxy[place] - [left, top, left, top])[None].astype(np.float32),
                result.objects.label[[place]].astype(np.str_),
                result.objects.confidence[[place]],
            )
            prediction = model.choose(Picture(pixels), Prediction((width, height), box))
            (chosen,) = choose_for_boxes(prediction, model.card)
            names[place] = call_by_choice(names[place], chosen)
    return names


def _surround(box: np.ndarray, width: int, height: int) -> Rect:
    """The square of twice a box's longest side around it, within the scan: more than is cut."""
    left, top, right, bottom = map(float, box)
    reach = max(right - left, bottom - top)
    x, y = (left + right) / 2, (top + bottom) / 2
    return (
        max(0, math.floor(x - reach)),
        max(0, math.floor(y - reach)),
        min(width, math.ceil(x + reach)),
        min(height, math.ceil(y + reach)),
    )
