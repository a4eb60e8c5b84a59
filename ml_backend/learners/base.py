"""What a learner is: the few methods by which the product trains, asks and judges one.

A *learner* is a kind of model (`detector`, a classifier, one of yours): it knows how to train,
what in a project's labels it draws, and how its answers are counted. A *model* is one trained
version of it, loaded and ready to predict. Everything outside `learners` speaks with these two
only; `ml_backend.learners.kinds` finds them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.bootstrap import Figure
from ml_backend.evaluation.class_matches import Counts
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
    """What a model gets to see of one image.

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
    """What a model says of one image.

    Attributes:
        size: Width and height of the image, in pixels.
        boxes: Objects, the most confident first, from a low confidence on.
        choices: Classes of the image as a whole, each with its probability, 0..1.
        region_choices: The same for each of the boxes, in their order; () without any.
    """

    size: tuple[int, int]
    boxes: Boxes = field(default_factory=Boxes)
    choices: Mapping[str, float] = field(default_factory=dict)
    region_choices: tuple[Mapping[str, float], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain values; `from_json` reads them back."""
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
    """How good the answers are: what every learner's figures have in common."""

    @property
    def f1(self) -> Figure:
        """Mean F1 over the headline classes, 0..1."""
        ...

    def to_json(self) -> dict[str, Any]:
        """All figures as plain values; every figure x with x_interval, [low, high] or None."""
        ...


class Model(Protocol):
    """One version, loaded. May be used by several threads at a time."""

    @property
    def card(self) -> ModelCard:
        """What the version's file says of itself."""
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
        side: Of the windows that larger planes are looked at through, in image pixels.
        overlap: Of neighbouring windows, in image pixels.
        margin: A box that ends so close to a window's edge is cut by it, in image pixels.
        halvings: How often the pixels of such windows may be halved before they come here.
    """

    scale: float
    side: int
    overlap: int
    margin: float
    halvings: int

    def adapt_to(self, pixel_size: float | None) -> ObjectDetector:
        """The same for images of so many µm a pixel."""
        ...

    def stream(self, images: Iterable[np.ndarray], floor: float | None = None) -> Iterator[Boxes]:
        """The boxes of each image, (H, W, 3) uint8 RGB, in order."""
        ...

    def find_objects(
        self, planes: Iterable[Plane], floor: float | None = None
    ) -> Iterator[Objects]:
        """The objects of each plane in order, each once."""
        ...


class Learner(Protocol):
    """A kind of model.

    Attributes:
        kind: Its name, as in a model's card.
        default_base: What a training starts from where nothing is said: a model as the user
            names it, or "" where the learner brings its own start.
        serving_files: What serving needs beside the weights, in a version's folder.
        recipe: The numbers that a training goes by; another recipe is another training.
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
        """Find where a project's labels take the classes; None where they take no headline one."""
        ...

    def can_learn(self, labels: LabelingConfig) -> bool:
        """Can a project with these labels be learned by this kind?"""
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
        """Write what is confident, of the shown classes, as Label Studio's `result`."""
        ...

    def list_confident(self, prediction: Prediction, card: ModelCard) -> list[str]:
        """List the classes of the confident answers, as often as they occur."""
        ...

    def list_answers(self, prediction: Prediction, card: ModelCard) -> Boxes:
        """List what a person could have to correct, from a low confidence on.

        Each answer is a box with class and confidence; one about the whole image is as large
        as it. Strategies rank tasks by them.
        """
        ...

    # What it learns from.

    def read_truth(self, example: Example) -> tuple[str, ...] | None:
        """List the classes that an example teaches, as often as it does; None if unlabelled."""
        ...

    def train(self, job: TrainingJob, progress: Progress) -> Path:
        """Train in this process; the path of the weights, in `job.out`.

        Raises:
            TrainingFailed: Nothing to train on, or no way on; one line that says what to do.
        """
        ...

    def make_servable(self, weights: Path, folder: Path) -> None:
        """Put into `folder` what serving needs beside a copy of the weights.

        Raises:
            ExportFailed: It cannot be made from these weights.
        """
        ...

    def load(self, folder: Path, threads: int | None = None) -> Model:
        """Load a version's folder; threads: of the CPU, that predicting may take."""
        ...

    # How its answers are counted.

    def count(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> Counts:
        """Count what was right, wrong and missed in every example, for each headline class."""
        ...

    def evaluate(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> Figures:
        """Judge predictions, made from a low floor on, at the card's own threshold."""
        ...


NO_MEMORY = "there is not enough memory; close other programs, or choose a smaller --imgsz"


class ExportFailed(RuntimeError):
    """A model file could not be made ready to serve."""


class TrainingFailed(RuntimeError):
    """A training made no version; the message is one line that says what to do."""


class TrainingInterrupted(TrainingFailed):
    """The machine ended it, not the data: killed, no memory, a full disk. Another try may do."""
