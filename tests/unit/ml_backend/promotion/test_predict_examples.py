"""Examples are predicted in order, and what cannot be read is named and left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.base import Picture, Prediction
from ml_backend.learners.model_file import ModelCard
from ml_backend.promotion.predict_examples import FLOOR, predict_examples


class BrightRegion:
    """A model that finds the bright pixels of a picture, as one box."""

    def __init__(self) -> None:
        self.card = ModelCard("threshold", ("bright",), ("bright",), scale=1.0, threshold=0.5)
        self.floors: list[float | None] = []
        self.pixel_sizes: list[float | None] = []

    def predict(
        self, pictures: Iterable[Picture], floor: float | None = None
    ) -> Iterator[Prediction]:
        self.floors.append(floor)
        for picture in pictures:
            self.pixel_sizes.append(picture.pixel_size)
            rows, columns = np.nonzero(picture.pixels.max(axis=2) > 128)
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, "bright")
            height, width = picture.pixels.shape[:2]
            yield Prediction((width, height), Boxes.from_rows([box]))


def write(path: Path, corner: int) -> Path:
    """An image 40 x 30, black but for a white square of 5 px at (corner, corner)."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[corner : corner + 5, corner : corner + 5] = 255
    assert cv2.imwrite(str(path), pixels)
    return path


def test_examples_are_predicted_in_order_and_unreadable_ones_are_named(tmp_path: Path) -> None:
    # More than are read ahead at a time, so that order is kept over several batches.
    examples = [
        Example(write(tmp_path / f"{corner}.png", corner), "g", pixel_size=corner / 10)
        for corner in range(1, 21)
    ]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    examples.insert(7, Example(broken, "g"))
    model = BrightRegion()
    progress: list[tuple[int, int]] = []
    kept, predictions, skipped = predict_examples(
        model, examples, lambda done, total: progress.append((done, total))
    )
    assert [example.image.stem for example in kept] == [str(n) for n in range(1, 21)]
    assert [int(found.boxes.xyxy[0, 0]) for found in predictions] == list(range(1, 21))
    assert {example.size for example in kept} == {(40, 30)}
    assert model.pixel_sizes == [corner / 10 for corner in range(1, 21)]
    assert model.floors == [FLOOR]
    ((file, reason),) = skipped
    assert file == str(broken) and reason
    assert progress[-1] == (21, 21)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)
