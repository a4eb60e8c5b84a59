"""In a file of detections an object of which something is chosen is called by that."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.imaging.decode import decode
from ml_backend.learners.detector_classifier.inference import DetectorClassifier
from ml_backend.learners.model_file import DETECTOR_CLASSIFIER, ModelCard
from ml_backend.learners.region_classifier.inference import RegionClassifier
from tasks.detection.detect_files import detect
from tasks.exchange.detection_files import read_detections
from tests.blobs import Blobs
from tests.regions import CLASSES, paint

OPTIONS = {"choices": list(CLASSES), "several": False}
CARD = ModelCard(
    "yolov5n", ("Cell", "Other"), ("Cell",), 1.0, 0.6, kind=DETECTOR_CLASSIFIER, options=OPTIONS
)


@pytest.mark.parametrize("cut", [False, True])
def test_objects_of_images_and_of_grids_are_called_by_their_choice(
    discs_and_crosses: Path, tmp_path: Path, cut: bool
) -> None:
    """The same field as one image, and as two tiles with a thing on their seam."""
    source = tmp_path / "images"
    source.mkdir()
    example = paint(source / "field.png", 400)
    assert example.boxes is not None
    if cut:
        pixels = decode(example.image)
        example.image.unlink()
        for column, part in enumerate(np.split(pixels, [pixels.shape[1] // 2], axis=1)):
            cv2.imwrite(str(source / f"field_r1_c{column + 1}.png"), part[..., ::-1])
    model = DetectorClassifier(CARD, Blobs(), RegionClassifier.load(discs_and_crosses))
    out = tmp_path / "found.csv"
    summary = detect(source, model, out, "v", lambda done, total: None)
    (found,) = read_detections(out)
    assert summary["detections"] == len(found.detections) == len(example.boxes)
    left_to_right = sorted(found.detections, key=lambda box: box.x1)
    assert [box.label for box in left_to_right] == [str(name) for name in example.boxes.label]
