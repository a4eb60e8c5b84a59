"""Telling what images show, on OpenVINO."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import numpy as np

from ml_backend.learners.base import Picture, Prediction
from ml_backend.learners.classifier.preprocess import to_square
from ml_backend.learners.model_file import FILE_NAME, IR_FILES, ModelCard, read_card
from ml_backend.learners.openvino_runtime import OpenVinoRuntime


class Classifier:
    """A version ready to classify. May be used by several threads at a time."""

    def __init__(self, card: ModelCard, runtime: OpenVinoRuntime) -> None:
        self.card = card
        self.size = int(card.options["size"])
        self._runtime = runtime

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> Self:
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
        """Classify each picture, in order; all classes are answered, whatever the floor."""
        sizes: deque[tuple[int, int]] = deque()

        def prepare() -> Iterator[np.ndarray]:
            for picture in pictures:
                height, width = picture.pixels.shape[:2]
                sizes.append((width, height))
                yield to_square(picture.pixels, self.size)[None]

        for answer in self._runtime.infer(prepare()):
            choices = dict(zip(self.card.classes, answer[0].astype(float).tolist(), strict=True))
            yield Prediction(sizes.popleft(), choices=choices)
