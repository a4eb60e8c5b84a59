"""The learner protocol: the methods by which the product trains, asks and judges a model.

A *learner* is a kind of model (`detector`, a classifier, one of yours): it knows how to train,
how its answers become Label Studio's results, and how they are counted. A *model* is one trained
version of it, loaded and ready to predict. Everything outside `learners` uses these two only;
`ml_backend.learners.kinds` finds a learner by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.bootstrap import Figure
from ml_backend.evaluation.class_matches import MatchCounts
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.merge_detections import Objects
from ml_backend.imaging.sliding_windows import Plane
from ml_backend.label_studio.labeling_config import ClassMatching, LabelingConfig
from ml_backend.learners.model_file import ModelCard
from ml_backend.learners.training_job import TrainingJob

# What a training tells while it runs, one dict a line:
#   {"skipped": path, "reason": why}                    an image that cannot be read
#   {"epoch", "epochs", "loss", "seconds_left"}         after every epoch
#   {"again": why}                                      started anew, with less
Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Picture:
    """An image as a model gets it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        pixel_size: µm that a pixel shows, where it is known.
        boxes: Objects known before: a classifier of regions answers for each of them.
    """

    pixels: np.ndarray
    pixel_size: float | None = None
    boxes: Boxes = field(default_factory=Boxes)


@dataclass(frozen=True)
class Prediction:
    """A model's answer for one image.

    Attributes:
        size: Width and height of the image, px.
        boxes: Objects, the most confident first, down to a low confidence.
        choices: Classes of the image as a whole, each with its probability, 0..1.
        region_choices: The same for each of the boxes, in their order; () without any.
    """

    size: tuple[int, int]
    boxes: Boxes = field(default_factory=Boxes)
    choices: Mapping[str, float] = field(default_factory=dict)
    region_choices: tuple[Mapping[str, float], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Give plain values; `from_json` reads them back."""
        return {
            "size": list(self.size),
            "boxes": self.boxes.to_rows(),
            "choices": dict(self.choices),
            "region_choices": [dict(choices) for choices in self.region_choices],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Prediction:
        """Read what `to_json` wrote."""
        rows = value["boxes"]
        boxes = Boxes.from_rows(row[:5] for row in rows)
        confidence = np.array([row[5] for row in rows], np.float32)
        width, height = value["size"]
        return cls(
            (width, height),
            Boxes(boxes.xyxy, boxes.label, confidence),
            value.get("choices", {}),
            tuple(value.get("region_choices", ())),
        )


class Figures(Protocol):
    """How good the answers are: what the figures of every learner have in common."""

    @property
    def f1(self) -> Figure:
        """Mean F1 over the headline classes, 0..1."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Give all figures as plain values; every figure x with x_interval, [low, high] or None."""
        ...


class Model(Protocol):
    """A version, loaded. May be used by several threads at a time."""

    @property
    def card(self) -> ModelCard:
        """The card in the version's file."""
        ...

    def predict(
        self, pictures: Iterable[Picture], floor: float | None = None
    ) -> Iterator[Prediction]:
        """Answer for each picture, in order.

        Args:
            pictures: Taken a few ahead of the answers, so that they may be read meanwhile.
            floor: The lowest confidence of a box, 0..1; the card's threshold where it is None.
        """
        ...


class ObjectDetector(Model, Protocol):
    """A model that finds objects, also in planes too large for memory.

    Attributes:
        scale: Input pixels for each image pixel.
        side: Of the sliding windows over larger planes, image px.
        overlap: Of neighbouring windows, image px.
        margin: A box that ends so close to a window's edge is cut by it, image px.
        halvings: How often the pixels of such windows may be halved before they come here.
    """

    scale: float
    side: int
    overlap: int
    margin: float
    halvings: int

    def adapt_to(self, pixel_size: float | None) -> ObjectDetector:
        """Return a detector for images of so many µm a pixel."""
        ...

    def stream(self, images: Iterable[np.ndarray], floor: float | None = None) -> Iterator[Boxes]:
        """Yield the boxes of each image, (H, W, 3) uint8 RGB, in order."""
        ...

    def find_objects(
        self, planes: Iterable[Plane], floor: float | None = None
    ) -> Iterator[Objects]:
        """Yield the objects of each plane in order, each object once."""
        ...


class RegionChooser(Model, Protocol):
    """A model that chooses for regions, also for those that were found without their pixels."""

    def choose(self, picture: Picture, prediction: Prediction) -> Prediction:
        """Add to a prediction what is chosen of each of its boxes.

        Args:
            picture: The image.
            prediction: For that image.
        """
        ...


class Learner(Protocol):
    """A kind of model.

    Attributes:
        kind: Its name, as in a model's card.
        default_base: What a training starts from by default: a model as the user names it, or ""
            where the learner has its own start.
        serving_files: The files that serving needs beside the weights, in a version's folder.
        recipe: The hyperparameters of a training; another recipe is another training.
    """

    kind: str
    default_base: str
    serving_files: Sequence[str]
    recipe: Mapping[str, Any]

    # What it draws.

    def choose_headline(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Choose, of a project's classes, those that it is about, as against clutter."""
        ...

    def match_labels(self, card: ModelCard, labels: LabelingConfig) -> ClassMatching[Any] | None:
        """Match the model's classes with the labels; None where no headline class has one."""
        ...

    def can_learn(self, labels: LabelingConfig) -> bool:
        """Tell whether a project with these labels can be learned by this kind."""
        ...

    def write_result(
        self,
        prediction: Prediction,
        card: ModelCard,
        labels: LabelingConfig,
        matching: ClassMatching[Any],
        shown: frozenset[str],
        version: str,
    ) -> list[dict[str, Any]]:
        """Write the confident answers of the shown classes as Label Studio's `result`.

        Args:
            prediction: For one image.
            card: Of the model.
            labels: The project's labeling config.
            matching: See `match_labels`.
            shown: The model's classes to write.
            version: The version string, on which the ids of the items depend.
        """
        ...

    def list_confident(self, prediction: Prediction, card: ModelCard) -> list[str]:
        """List the class of each confident answer."""
        ...

    def list_answers(self, prediction: Prediction, card: ModelCard) -> Boxes:
        """List what a person could have to correct, down to a low confidence.

        Each answer is a box with class and confidence; one about the whole image is as large as the
        image. Strategies rank tasks by them.
        """
        ...

    # What it learns from.

    def read_truth(self, example: Example) -> tuple[str, ...] | None:
        """List the class of each object or choice of an example; None if it is unlabelled."""
        ...

    def train(self, job: TrainingJob, progress: Progress) -> Path:
        """Train in this process.

        Args:
            job: What to train.
            progress: See `Progress`.

        Returns:
            The path of the weights, in `job.out`.

        Raises:
            TrainingFailed: There is nothing to train on, or no way on; one line says what to do.
        """
        ...

    def make_servable(self, weights: Path, folder: Path) -> None:
        """Put into `folder` what serving needs beside a copy of the weights.

        Raises:
            ExportFailed: It cannot be made from these weights.
        """
        ...

    def load(self, folder: Path, threads: int | None = None) -> Model:
        """Load a version's folder.

        Args:
            folder: With the weights and the serving files.
            threads: Of the CPU, that predicting may take; all where None.
        """
        ...

    def describe(
        self, folder: Path, pictures: Iterable[Picture], boxes: Iterable[Boxes]
    ) -> Iterator[np.ndarray]:
        """Describe each box of each picture by features of a version's own network.

        Args:
            folder: Of the version.
            pictures: The images.
            boxes: Of each, in pixels of the image.

        Yields:
            (N, D) float32 for the N boxes of a picture, each row of length 1.

        Raises:
            ValueError: The version has no such features.
        """
        ...

    # How its answers are counted.

    def count(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> MatchCounts:
        """Count what was right, wrong and missed in every example, for each headline class."""
        ...

    def tune(
        self, card: ModelCard, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> ModelCard:
        """Return the card with the threshold and calibration that suit answers to unseen images.

        Args:
            card: Of a version.
            examples: That the version's like has not seen, with their truth.
            predictions: For them, without any calibration, down to a low confidence.
        """
        ...

    def evaluate(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> Figures:
        """Judge predictions, made down to a low confidence, at the card's own threshold."""
        ...


NO_MEMORY = "there is not enough memory; close other programs, or choose a smaller --imgsz"


class ExportFailed(RuntimeError):
    """A model file could not be made ready to serve."""


class TrainingFailed(RuntimeError):
    """A training made no version; the message is one line that says what to do."""


class TrainingInterrupted(TrainingFailed):
    """The machine ended the training: killed, no memory, a full disk. Another try may succeed."""
