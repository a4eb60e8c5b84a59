"""The classifier learns what images show, says how sure it is, and serves what it learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml_backend.dataset.example import Example
from ml_backend.learners.base import Picture, TrainingFailed
from ml_backend.learners.classifier.export import export
from ml_backend.learners.classifier.inference import Classifier
from ml_backend.learners.classifier.training import train
from ml_backend.learners.classifier.weights import load
from ml_backend.learners.kinds import load_model
from ml_backend.learners.model_file import CLASSIFIER, FILE_NAME, read_card
from ml_backend.learners.training_job import TrainingJob

CLASSES = ("Cross", "Disc", "Empty")


def draw(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A noisy field of 70 × 60 with a disc or a cross somewhere, or nothing."""
    pixels = rng.normal(60, 12, (60, 70, 3)).clip(0, 255).astype(np.uint8)
    x, y = (int(place) for place in rng.integers((22, 22), (48, 38)))
    if kind == "Disc":
        cv2.circle(pixels, (x, y), 12, (190, 190, 190), -1)
    if kind == "Cross":
        cv2.line(pixels, (x - 14, y - 14), (x + 14, y + 14), (190, 190, 190), 5)
        cv2.line(pixels, (x - 14, y + 14), (x + 14, y - 14), (190, 190, 190), 5)
    return pixels


def paint(folder: Path, each: int, seed: int = 0) -> list[Example]:
    """So many images of each class, in groups of three."""
    rng = np.random.default_rng(seed)
    examples = []
    for number in range(each):
        for kind in CLASSES:
            path = folder / f"{seed}-{number}-{kind}.png"
            cv2.imwrite(str(path), draw(kind, rng))
            examples.append(Example(path, f"group {number}", choices=(kind,)))
    return examples


def make_job(folder: Path, examples: list[Example], **options: Any) -> TrainingJob:
    return TrainingJob(examples, CLASSES, CLASSES, None, folder / "out", kind=CLASSIFIER, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a version that learned thirty images."""
    folder = tmp_path_factory.mktemp("classifier")
    return train(make_job(folder, paint(folder, 10)), lambda step: None).parent


def test_new_images_are_named_rightly_and_the_probabilities_are_shares(trained: Path) -> None:
    rng = np.random.default_rng(7)
    kinds = [CLASSES[number % 3] for number in range(30)]
    model = load_model(trained)
    assert isinstance(model, Classifier) and model.card.kind == CLASSIFIER
    answers = list(model.predict(Picture(draw(kind, rng)) for kind in kinds))
    assert [answer.size for answer in answers] == [(70, 60)] * 30
    named = [max(answer.choices, key=answer.choices.__getitem__) for answer in answers]
    assert sum(map(str.__eq__, named, kinds)) >= 27
    assert all(sum(answer.choices.values()) == pytest.approx(1, abs=1e-4) for answer in answers)


def test_a_turned_image_has_the_same_answer(trained: Path) -> None:
    square = draw("Cross", np.random.default_rng(3))[:, :60]
    model = load_model(trained)
    plain, turned = model.predict([Picture(square), Picture(np.rot90(square).copy())])
    assert turned.choices == pytest.approx(plain.choices, abs=2e-3)


def test_the_file_of_weights_makes_the_same_files_again(trained: Path, tmp_path: Path) -> None:
    networks, card = load(trained / FILE_NAME)
    options = card.options
    export(networks, options["size"], options["temperature"], options["several"], tmp_path)
    picture = Picture(draw("Disc", np.random.default_rng(5)))
    (tmp_path / FILE_NAME).write_bytes((trained / FILE_NAME).read_bytes())
    before, after = (next(load_model(place).predict([picture])) for place in (trained, tmp_path))
    assert after.choices == pytest.approx(before.choices, abs=1e-6)


def test_several_choices_are_independent(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    examples = []
    for number in range(24):
        left, right = draw("Disc", rng), draw("Cross", rng)
        shown = [
            (left, ("Disc",)),
            (right, ("Cross",)),
            (np.maximum(left, right), ("Cross", "Disc")),
        ]
        pixels, choices = shown[number % 3]
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), pixels)
        examples.append(Example(path, str(number), choices=choices))
    out = train(make_job(tmp_path, examples), lambda step: None).parent
    assert read_card(out / FILE_NAME).options["several"] is True
    both = np.maximum(draw("Disc", rng), draw("Cross", rng))
    (answer,) = load_model(out).predict([Picture(both)])
    assert answer.choices["Disc"] + answer.choices["Cross"] > 1


def test_bad_images_are_told_and_left_out(tmp_path: Path) -> None:
    examples = paint(tmp_path, 2)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    told: list[dict[str, Any]] = []
    job = make_job(tmp_path, [*examples, Example(broken, "g", choices=("Disc",))])
    train(job, told.append)
    assert [step["skipped"] for step in told if "skipped" in step] == [str(broken)]


def test_one_class_alone_teaches_nothing(tmp_path: Path) -> None:
    discs = [example for example in paint(tmp_path, 3) if example.choices == ("Disc",)]
    with pytest.raises(TrainingFailed, match="of one class"):
        train(make_job(tmp_path, discs), lambda step: None)
    with pytest.raises(TrainingFailed, match="no image is labelled"):
        train(make_job(tmp_path, [Example(discs[0].image, "g")]), lambda step: None)


def test_refining_all_layers_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    job = make_job(tmp_path, paint(tmp_path, 50), epochs=1)
    path = train(job, told.append)
    steps = [step for step in told if "epoch" in step]
    assert steps and steps[-1]["epoch"] == steps[-1]["epochs"] and steps[-1]["seconds_left"] == 0
    assert read_card(path).options["networks"] in (1, 2)
