"""What all learners of choices share: classes of whole images, as Label Studio's Choices.

A learner of choices adds how it trains and how it loads; `docs/extending.md` has an example of
under fifty lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.class_matches import MatchCounts
from ml_backend.evaluation.classification import (
    ClassificationFigures,
    choose_classes,
    count_choices,
    evaluate_choices,
)
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import ChoicesControl, ClassMatching, LabelingConfig
from ml_backend.learners.base import Picture, Prediction
from ml_backend.learners.model_file import ModelCard


class ChoiceLearner:
    """The part of `learners.base.Learner` that is about choices.

    A card's option `several` allows more than one class for an image.
    """

    default_base = ""
    serving_files: Sequence[str] = ()
    recipe: Mapping[str, Any] = {}

    def choose_headline(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Choose every class: 'Other' is an answer as well."""
        return tuple(classes)

    def can_learn(self, labels: LabelingConfig) -> bool:
        """See `Learner.can_learn`: there must be choices for the whole image."""
        return bool(labels.image_choices)

    def match_labels(
        self, card: ModelCard, labels: LabelingConfig
    ) -> ClassMatching[ChoicesControl] | None:
        """See `Learner.match_labels`."""
        matching = labels.match_choices(card.classes)
        return matching if matching.mapping else None

    def write_result(
        self,
        prediction: Prediction,
        card: ModelCard,
        labels: LabelingConfig,
        matching: ClassMatching[ChoicesControl],
        shown: frozenset[str],
        version: str,
    ) -> list[dict[str, Any]]:
        """See `Learner.write_result`."""
        drawn = {
            name: prediction.choices[name]
            for name in self.list_confident(prediction, card)
            if name in shown
        }
        return labels.write_choices(drawn, matching=matching, version=version)

    def list_confident(self, prediction: Prediction, card: ModelCard) -> list[str]:
        """See `Learner.list_confident`."""
        return list(choose_classes(prediction.choices, card.threshold, _takes_several(card)))

    def describe(
        self, folder: Path, pictures: Iterable[Picture], boxes: Iterable[Boxes]
    ) -> Iterator[np.ndarray]:
        """See `Learner.describe`: what names images looks at no boxes."""
        raise ValueError(f"{folder.name} names images and has no features of boxes")

    def list_answers(self, prediction: Prediction, card: ModelCard) -> Boxes:
        """See `Learner.list_answers`: each class is a box as large as the image."""
        width, height = prediction.size
        return Boxes(
            np.tile(np.array([0, 0, width, height], np.float32), (len(prediction.choices), 1)),
            np.array(list(prediction.choices), np.str_),
            np.array(list(prediction.choices.values()), np.float32),
        )

    def read_truth(self, example: Example) -> tuple[str, ...] | None:
        """See `Learner.read_truth`."""
        return example.choices

    def count(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> MatchCounts:
        """See `Learner.count`."""
        chosen = [self.list_confident(prediction, card) for prediction in predictions]
        return count_choices([example.choices or () for example in examples], chosen, card.headline)

    def tune(
        self, card: ModelCard, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> ModelCard:
        """See `Learner.tune`: the card stays as it is, the most probable class is the answer."""
        return card

    def evaluate(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> ClassificationFigures:
        """See `Learner.evaluate`; examples without choices are left out."""
        pairs = [
            (example, prediction)
            for example, prediction in zip(examples, predictions, strict=True)
            if example.choices is not None
        ]
        return evaluate_choices(
            [example.choices or () for example, _ in pairs],
            [prediction.choices for _, prediction in pairs],
            [example.group for example, _ in pairs],
            classes=card.classes,
            threshold=card.threshold,
            several=_takes_several(card),
        )


def _takes_several(card: ModelCard) -> bool:
    return bool(card.options.get("several"))
