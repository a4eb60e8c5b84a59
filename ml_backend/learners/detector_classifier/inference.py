"""Finding objects and choosing for each what annotators choose, on OpenVINO."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml_backend.learners.base import Picture, Prediction
from ml_backend.learners.detector.inference import Detector, choose_runtime
from ml_backend.learners.detector_classifier.parts import PARTS
from ml_backend.learners.model_file import FILE_NAME, ModelCard, read_card
from ml_backend.learners.openvino_runtime import Runtime
from ml_backend.learners.region_classifier.inference import RegionClassifier


class DetectorClassifier(Detector):
    """A detector that also answers what is chosen of its boxes.

    A scan of planes that are larger than memory (`find_objects`) has the boxes alone; `choose` adds
    to them what is chosen, once the pixels around them are there.
    """

    def __init__(self, card: ModelCard, runtime: Runtime, classifier: RegionClassifier) -> None:
        super().__init__(card, runtime)
        self.classifier = classifier

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> DetectorClassifier:
        """Load a version's folder: weights.safetensors, and a folder for each of its parts.

        Args:
            folder: Of the version.
            threads: Of the CPU, that predicting may take; all where not given.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: A file is not ours.
        """
        detector, classifier = (folder / part for part in PARTS)
        return cls(
            read_card(folder / FILE_NAME),
            choose_runtime(detector, threads),
            RegionClassifier.load(classifier, threads),
        )

    def predict(
        self, pictures: Iterable[Picture], floor: float | None = None
    ) -> Iterator[Prediction]:
        """Answer for each picture, in order; see `learners.base.Model`.

        Boxes below the threshold, which nobody is shown, have no choices.
        """
        waiting: deque[Picture] = deque()

        def keep() -> Iterator[Picture]:
            for picture in pictures:
                waiting.append(picture)
                yield picture

        for prediction in super().predict(keep(), floor):
            yield self.choose(waiting.popleft(), prediction)

    def choose(self, picture: Picture, prediction: Prediction) -> Prediction:
        """Add what is chosen of each box; see `learners.base.RegionChooser`."""
        boxes = prediction.boxes
        shown = np.flatnonzero(boxes.confidence >= self.card.threshold)
        if not len(shown):
            return replace(prediction, region_choices=({},) * len(boxes))
        asked = replace(picture, boxes=boxes.select(shown))
        (answer,) = self.classifier.predict([asked])
        choices: list[Mapping[str, float]] = [{}] * len(boxes)
        for place, found in zip(shown.tolist(), answer.region_choices, strict=True):
            choices[place] = found
        return replace(prediction, region_choices=tuple(choices))
