"""Telling what the boxes of a picture hold, on OpenVINO."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from ml_backend.imaging.crops import cut_square
from ml_backend.learners.base import Picture, Prediction
from ml_backend.learners.classifier.inference import Classifier
from ml_backend.learners.classifier.preprocess import to_square

# Crops that go through the network together.
BATCH = 16


class RegionClassifier(Classifier):
    """A version ready to classify boxes. May be used by several threads at a time."""

    def predict(
        self, pictures: Iterable[Picture], floor: float | None = None
    ) -> Iterator[Prediction]:
        """Classify the boxes of each picture, in order; every class is answered for every box.

        A picture without known boxes is taken for a crop: its choices are the answer.
        """
        waiting: deque[Picture] = deque()

        def prepare() -> Iterator[np.ndarray]:
            for picture in pictures:
                waiting.append(picture)
                if not len(picture.boxes):
                    yield to_square(picture.pixels, self.size)[None]
                for start in range(0, len(picture.boxes), BATCH):
                    part = picture.boxes.xyxy[start : start + BATCH]
                    crops = (cut_square(picture.pixels, box) for box in part)
                    yield np.stack([to_square(crop, self.size) for crop in crops])

        found: list[dict[str, float]] = []
        for answer in self._runtime.infer(prepare()):
            for row in answer.astype(float).tolist():
                found.append(dict(zip(self.card.classes, row, strict=True)))
            if len(found) == max(1, len(waiting[0].boxes)):
                yield _answer(waiting.popleft(), found)
                found = []


def _answer(picture: Picture, found: list[dict[str, float]]) -> Prediction:
    height, width = picture.pixels.shape[:2]
    if not len(picture.boxes):
        return Prediction((width, height), choices=found[0])
    return Prediction((width, height), picture.boxes, region_choices=tuple(found))
