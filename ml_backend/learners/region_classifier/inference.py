"""Telling what the boxes of a picture hold, on OpenVINO."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ml_backend.learners.base import Picture, Prediction
from ml_backend.learners.classifier.preprocess import to_square
from ml_backend.learners.model_file import FILE_NAME, IR_FILES, ModelCard, read_card
from ml_backend.learners.openvino_runtime import OpenVinoRuntime
from ml_backend.learners.region_classifier.crops import cut_square

# Crops that go through the network together.
BATCH = 16


class RegionClassifier:
    """A version ready to classify. May be used by several threads at a time."""

    def __init__(self, card: ModelCard, runtime: OpenVinoRuntime) -> None:
        self.card = card
        self.size = int(card.options["size"])
        self._runtime = runtime

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> RegionClassifier:
        """Load a version's folder: weights.safetensors with model.xml and model.bin.

        Args:
            folder: Of the version.
            threads: Of the CPU, that classifying may take; all of them where None.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: The file is not ours.
        """
        card = read_card(folder / FILE_NAME)
        return cls(card, OpenVinoRuntime(folder / IR_FILES[0], threads))

    def predict(
        self, pictures: Iterable[Picture], floor: float | None = None
    ) -> Iterator[Prediction]:
        """Classify the boxes of each picture, in order; every class is answered for every box."""
        waiting: deque[Picture] = deque()

        def prepare() -> Iterator[np.ndarray]:
            for picture in pictures:
                waiting.append(picture)
                for start in range(0, len(picture.boxes), BATCH):
                    part = picture.boxes.xyxy[start : start + BATCH]
                    crops = (cut_square(picture.pixels, box) for box in part)
                    yield np.stack([to_square(crop, self.size) for crop in crops])

        found: list[dict[str, float]] = []
        for answer in self._runtime.infer(prepare()):
            while waiting and len(waiting[0].boxes) == len(found):  # one without boxes, or done
                yield _answer(waiting.popleft(), found)
                found = []
            for row in answer.astype(float).tolist():
                found.append(dict(zip(self.card.classes, row, strict=True)))
        for picture in waiting:
            yield _answer(picture, found)
            found = []


def _answer(picture: Picture, found: list[dict[str, float]]) -> Prediction:
    height, width = picture.pixels.shape[:2]
    return Prediction((width, height), picture.boxes, region_choices=tuple(found))
