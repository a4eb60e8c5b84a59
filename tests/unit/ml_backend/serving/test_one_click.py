"""A click and a loose box, answered by the shipped starter and without any detector."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.boxes import Boxes, compute_iou
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.label_studio.smart_tools import Prompt
from ml_backend.learners.base import ObjectDetector
from ml_backend.learners.kinds import load_detector
from ml_backend.registry.starters import name_starter
from ml_backend.serving.one_click import (
    FittedBox,
    choose_box,
    choose_label,
    fit_box,
    write_answer,
)

CONFIGS = Path(__file__).parents[4] / "ml_backend" / "label_studio" / "configs"
LABELS = LabelingConfig.parse((CONFIGS / "click.xml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def detector(starter_versions: Path) -> ObjectDetector:
    return load_detector(starter_versions / name_starter("starter:mitosis"))


def overlap(first: tuple[float, ...], second: list[float]) -> float:
    return float(compute_iou(np.array([first]), np.array([second]))[0, 0])


def click(x: float, y: float, *labels: str) -> Prompt:
    return Prompt("p", (x, y, x, y), labels)


def test_a_click_on_a_cell_is_answered_with_its_box_and_class(detector: ObjectDetector) -> None:
    pixels, boxes = generate_field(np.random.default_rng(3))
    mitotic = boxes.xyxy[boxes.label == "Mitotic cell"].tolist()
    assert mitotic
    for box in mitotic:
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        started = time.perf_counter()
        fitted = fit_box(click(x, y), pixels, detector, detector.card.classes)
        assert time.perf_counter() - started < 2
        assert fitted is not None and fitted.name == "Mitotic cell"
        assert overlap(fitted.box, box) > 0.5 and fitted.confidence > 0
        side = 0.15 * (box[2] - box[0])
        loose = Prompt("b", (box[0] - side, box[1] - side, box[2] + side, box[3] + side), ())
        again = fit_box(loose, pixels, detector, detector.card.classes)
        assert again is not None and overlap(again.box, box) > 0.5


def test_without_a_detector_the_contrast_decides() -> None:
    pixels = np.full((200, 200, 3), 30, np.uint8)
    pixels[80:120, 60:110] = 200
    fitted = fit_box(click(85, 100), pixels, None)
    assert (
        fitted is not None and fitted.name == "" and overlap(fitted.box, [60, 80, 110, 120]) > 0.8
    )
    assert fit_box(click(10, 10), np.full((200, 200, 3), 30, np.uint8), None) is None


def test_what_a_detector_does_not_see_is_fitted_by_contrast(detector: ObjectDetector) -> None:
    pixels = np.full((400, 400, 3), 200, np.uint8)
    pixels[190:210, 195:215] = 20  # small and dark: nothing that it learned
    fitted = fit_box(click(205, 200), pixels, detector, ())
    assert (
        fitted is not None and fitted.name == "" and overlap(fitted.box, [195, 190, 215, 210]) > 0.7
    )


def test_the_most_confident_box_around_a_click_is_meant() -> None:
    found = Boxes(
        np.array([[0, 0, 100, 100], [40, 40, 60, 60], [200, 0, 300, 100]], np.float32),
        np.array(["Other", "Mitotic cell", "Other"]),
        np.array([0.3, 0.6, 0.9], np.float32),
    )
    assert choose_box(click(50, 50), found) == FittedBox(
        (40, 40, 60, 60), "Mitotic cell", pytest.approx(0.6)
    )
    assert choose_box(click(5, 5), found).box == (0, 0, 100, 100)  # type: ignore[union-attr]
    assert choose_box(click(150, 150), found) is None
    loose = Prompt("b", (190, -5, 310, 110), ())
    assert choose_box(loose, found).confidence == pytest.approx(0.9)  # type: ignore[union-attr]
    assert choose_box(loose, found.select(slice(2))) is None
    assert choose_box(loose, found.select(slice(0))) is None


def test_the_persons_word_goes_before_the_detectors() -> None:
    found = FittedBox((0, 0, 9, 9), "Mitotic cell", 0.9)
    assert choose_label(found, click(1, 1, "Other"), LABELS) == "Other"
    assert choose_label(found, click(1, 1, "Cell"), LABELS) == "Mitotic cell"
    assert choose_label(FittedBox((0, 0, 9, 9)), click(1, 1, "Cell"), LABELS) == "Mitotic cell"


def test_an_answer_is_a_region_that_label_studio_takes() -> None:
    from label_studio_sdk.label_interface import LabelInterface

    fitted = FittedBox((10, 20, 60, 80), "Other", 0.75)
    answers = [
        write_answer(fitted, Prompt(name, (1, 1, 1, 1), ("Cell",)), (100, 200), LABELS, "v1")
        for name in ("one", "two")
    ]
    (region,), (other,) = answers
    assert region["from_name"] == "label" and region["value"]["rectanglelabels"] == ["Other"]
    assert (region["value"]["x"], region["value"]["height"], region["score"]) == (10, 30, 0.75)
    assert region["id"] != other["id"]
    interface = LabelInterface((CONFIGS / "click.xml").read_text(encoding="utf-8"))
    assert interface.validate_prediction({"result": answers[0], "model_version": "v1", "score": 1})
