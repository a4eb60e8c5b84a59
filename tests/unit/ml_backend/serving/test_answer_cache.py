"""Predictions that are kept: the same answer, without the model, within a bound of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import encode_png
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.learners.base import Prediction
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import ModelCard
from ml_backend.serving.answer_cache import AnswerCache, make_key
from ml_backend.serving.preannotation import PreAnnotation, PreAnnotator
from tests.blobs import Blobs

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Cell"/></RectangleLabels></View>'
)


def make_image(x: int) -> bytes:
    pixels = np.full((96, 128, 3), 20, np.uint8)
    pixels[30:50, x : x + 20] = 240
    return encode_png(pixels)


def preannotate(
    preannotator: PreAnnotator, images: Sequence[bytes], sizes: Sequence[float | None] = ()
) -> list[PreAnnotation]:
    def fetch(addresses: Sequence[str], deadline: float | None) -> Iterator[tuple[int, bytes]]:
        yield from enumerate(images)

    tasks = [
        {"data": {"image": f"/{n}.png", **({"pixel_size": size} if size else {})}}
        for n, size in enumerate(sizes or [None] * len(images))
    ]
    outcomes = dict(preannotator.preannotate(tasks, fetch))
    drawn = [outcomes[number] for number in range(len(images))]
    assert all(isinstance(made, PreAnnotation) for made in drawn)
    return [made for made in drawn if isinstance(made, PreAnnotation)]


@pytest.fixture
def runtime() -> Blobs:
    return Blobs()


@pytest.fixture
def preannotator(runtime: Blobs) -> PreAnnotator:
    card = ModelCard("yolov5n.yaml", ("Cell",), ("Cell",), 1.0, 0.5)
    labels = LabelingConfig.parse(CONFIG)
    matching = labels.match_classes(card.classes)
    return PreAnnotator("1-v1-x", Detector(card, runtime), labels, matching, frozenset({"Cell"}))


def test_a_known_image_gets_the_same_answer_without_the_model(
    preannotator: PreAnnotator, runtime: Blobs
) -> None:
    first = preannotate(preannotator, [make_image(10), make_image(60)])
    assert runtime.seen == 2
    # In another order, as other tasks, and one that is new.
    again = preannotate(preannotator, [make_image(60), make_image(10), make_image(90)])
    assert runtime.seen == 3
    assert [made.to_json() for made in again[:2]] == [made.to_json() for made in first[::-1]]
    assert first[0].result != first[1].result


def test_the_size_of_a_pixel_makes_another_answer(
    preannotator: PreAnnotator, runtime: Blobs
) -> None:
    preannotate(preannotator, [make_image(10), make_image(10)], [0.25, 0.5])
    assert runtime.seen == 2


def test_what_cannot_be_read_is_left_out_again_and_again(
    preannotator: PreAnnotator, tmp_path: Path
) -> None:
    def fetch(addresses: Sequence[str], deadline: float | None) -> Iterator[tuple[int, bytes]]:
        yield 0, b"no image"

    for _ in range(2):
        ((_, outcome),) = preannotator.preannotate([{"data": {"image": "/0.png"}}], fetch)
        assert not isinstance(outcome, PreAnnotation) and "not an image" in outcome.reason


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    boxes = Boxes.from_rows([[0, 0, 5, 5, "Cell"]] * 100)
    prediction = Prediction((10, 10), boxes)
    cache = AnswerCache(size=3 * 13_000)
    keys = [make_key("v", bytes([number]), None) for number in range(4)]
    for key in keys:
        cache.keep(key, prediction)
    assert cache.find(keys[0]) is None
    assert all(cache.find(key) == prediction for key in keys[1:])
    cache.keep(keys[0], Prediction((10, 10), Boxes.from_rows([[0, 0, 5, 5, "Cell"]] * 1000)))
    assert cache.find(keys[0]) is None  # larger than all of it
    assert cache.find(make_key("w", bytes([1]), None)) is None  # of another version
