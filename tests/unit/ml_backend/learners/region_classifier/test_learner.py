"""The classifier of regions learns boxes by their labels and names boxes without any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.base import Picture, Prediction, TrainingFailed
from ml_backend.learners.kinds import find_learner, load_model
from ml_backend.learners.model_file import REGION_CLASSIFIER, ModelCard
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion.predict_examples import predict_examples
from tests.regions import CLASSES, paint

LEARNER = find_learner(REGION_CLASSIFIER)
CARD = ModelCard("n", CLASSES, CLASSES, 1.0, 0.5, kind=REGION_CLASSIFIER)


def test_boxes_of_other_images_are_named_and_judged(
    discs_and_crosses: Path, tmp_path: Path
) -> None:
    trained = load_model(discs_and_crosses)
    assert trained.card.kind == REGION_CLASSIFIER
    examples = [paint(tmp_path / f"{i}.png", 100 + i, f"g{i}") for i in range(8)]
    examples[3] = replace(examples[3], boxes=Boxes())
    kept, predictions, _ = predict_examples(trained, examples)
    assert [len(found.region_choices) for found in predictions] == [6, 6, 6, 0, 6, 6, 6, 6]
    assert not any(found.boxes.label.tolist()[0] for found in predictions if len(found.boxes))
    figures = LEARNER.evaluate(kept, predictions, trained.card).to_json()
    assert figures["balanced_accuracy"] >= 0.9
    assert (figures["images"], figures["items"], figures["groups"]) == (8, 42, 7)
    counts = LEARNER.count(kept, predictions, trained.card)
    assert (counts.right + counts.missed).sum() == 42 and counts.right.shape == (8, 2)


def test_the_answer_for_a_box_does_not_depend_on_the_others(
    discs_and_crosses: Path, tmp_path: Path
) -> None:
    trained = load_model(discs_and_crosses)
    example = paint(tmp_path / "a.png", 200)
    assert example.boxes is not None
    pixels = cv2.imread(str(example.image))[..., ::-1]
    many = example.boxes.select(np.arange(40) % 6)
    (together,) = trained.predict([Picture(pixels, boxes=many)])
    (alone,) = trained.predict([Picture(pixels, boxes=many.select(np.array([37])))])
    assert len(together.region_choices) == 40
    assert alone.region_choices[0] == pytest.approx(together.region_choices[37], abs=1e-5)


def test_counts_by_hand() -> None:
    """Two images: a cross called disc, then a disc called disc; accuracy 1/2."""
    boxes = Boxes.from_rows([(0, 0, 4, 4, "Cross")]), Boxes.from_rows([(0, 0, 4, 4, "Disc")])
    examples = [Example(Path("a"), "a", boxes[0]), Example(Path("b"), "b", boxes[1])]
    disc = ({"Cross": 0.2, "Disc": 0.8},)
    found = [Prediction((9, 9), box, region_choices=disc) for box in boxes]
    counts = LEARNER.count(examples, found, CARD)
    assert counts.right.tolist() == [[0, 0], [0, 1]]
    assert counts.wrong.tolist() == [[0, 1], [0, 0]]
    assert counts.missed.tolist() == [[1, 0], [0, 0]]
    figures = LEARNER.evaluate(examples, found, CARD).to_json()
    assert figures["accuracy"] == figures["balanced_accuracy"] == 0.5
    assert LEARNER.list_answers(found[0], CARD).to_rows()[0][4:] == ("Disc", pytest.approx(0.8))
    assert LEARNER.list_confident(found[0], CARD) == ["Disc"]


def test_boxes_of_one_class_teach_nothing(tmp_path: Path) -> None:
    example = paint(tmp_path / "a.png", 0)
    assert example.boxes is not None
    discs = replace(example, boxes=example.boxes.select(example.boxes.label == "Disc"))
    job = TrainingJob([discs], CLASSES, CLASSES, None, tmp_path / "out", kind=REGION_CLASSIFIER)
    with pytest.raises(TrainingFailed, match="boxes that can be read are of one class"):
        LEARNER.train(job, lambda step: None)
    unmarked = replace(job, examples=[replace(example, boxes=None)])
    with pytest.raises(TrainingFailed, match="no box is named yet"):
        LEARNER.train(unmarked, lambda step: None)
