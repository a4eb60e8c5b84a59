"""What the runs of a seed share: hidden truth, training by the product's own code, and judging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.learners.base import Prediction
from ml_backend.learners.kinds import find_learner, load_model
from ml_backend.learners.model_file import DETECTOR, FILE_NAME, read_card
from ml_backend.learners.training_child import run_in_child
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion.predict_examples import predict_examples

# Named images with their truth, which only the annotator and the judge see.
Named = Mapping[str, Example]


@dataclass(frozen=True)
class Lab:
    """What is the same in all runs of a seed.

    Attributes:
        pool: The images that may be reviewed, by name.
        judged: The images kept apart.
        classes: Of the boxes.
        base: The model's file that every training starts from.
        served: The folder of the version that marks the first images.
        epochs: Passes of a training; the recipe's own where None.
        seed: Of the trainings, and of what strategies draw.
        folder: For the runs of the seed.
    """

    pool: Named
    judged: Sequence[Example]
    classes: tuple[str, ...]
    base: Path
    served: Path
    epochs: int | None
    seed: int
    folder: Path

    @property
    def headline(self) -> tuple[str, ...]:
        """The classes that the folder is about."""
        return find_learner(DETECTOR).choose_headline(self.classes)

    def train(self, examples: Sequence[Example], out: Path) -> Path:
        """Train on examples as the product does; what is finished in `out` is not done again."""
        job = TrainingJob(
            examples=examples,
            classes=self.classes,
            headline=self.headline,
            base=self.base,
            out=out,
            epochs=self.epochs,
            seed=self.seed,
        )
        run_in_child(job, lambda step: None)
        return out

    def judge(self, version: Path) -> dict[str, float | None]:
        """Judge a version on the images kept apart; see `curves.Point`."""
        model = load_model(version)
        kept, predictions, _ = predict_examples(model, self.judged)
        named = [self.name_boxes(prediction) for prediction in predictions]
        card = replace(model.card, classes=self.classes, headline=self.headline)
        figures = find_learner(DETECTOR).evaluate(kept, named, card).to_json()
        return {
            "f1": figures["f1"],
            "ap50": figures["ap50"],
            "image_sensitivity": figures["image_sensitivity_at_specificity"],
        }

    def mark(self, version: Path, images: Named) -> dict[str, Boxes]:
        """Mark images by a version, down to a low confidence; those that cannot be read are left.

        Returns:
            The boxes of each image by its name, of the folder's classes.
        """
        kept, predictions, _ = predict_examples(load_model(version), list(images.values()))
        names = {example.image: name for name, example in images.items()}
        return {
            names[example.image]: self.name_boxes(prediction).boxes
            for example, prediction in zip(kept, predictions, strict=True)
        }

    def list_answers(self, boxes: Boxes, floor: float) -> Boxes:
        """List what strategies see: boxes of headline classes, from a confidence on."""
        return boxes.select(np.isin(boxes.label, list(self.headline)) & (boxes.confidence >= floor))

    def read_threshold(self, version: Path) -> float:
        """Read the confidence from which a version shows a box."""
        return read_card(version / FILE_NAME).threshold

    def name_boxes(self, prediction: Prediction) -> Prediction:
        """Name boxes as the folder does, without those of a class that it does not know."""
        names = {canonicalize(name): name for name in self.classes}
        boxes = prediction.boxes
        found = [names.get(canonicalize(str(name)), "") for name in boxes.label]
        named = Boxes(boxes.xyxy, np.array(found, np.str_), boxes.confidence)
        return replace(prediction, boxes=named.select(named.label != ""))
