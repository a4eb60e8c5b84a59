"""The pictures of a source that deserve an eye, by a detector or by a classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ml_backend.learners.base import Prediction
from ml_backend.learners.kinds import find_learner
from ml_backend.learners.model_file import ModelCard
from tasks.detection.scan_classifier import ScanClassifier
from tasks.detection.scan_detector import ScanDetector
from tasks.detection.scan_walk import ScanWalk
from tasks.review.selection import Send, View, select_for_review
from tasks.review.task_metadata import make_picture_key
from tasks.review.tile_selection import select_tiles


class ViewSelector(Protocol):
    """Walks a source once and selects.

    Attributes:
        counts: How many objects, or tiles, of each class there were so far.
    """

    counts: Counter[str]

    @property
    def walk(self) -> ScanWalk:
        """How far it is, and what was left out."""
        ...

    def select(self, send: Send, most: int) -> Iterator[View]:
        """Yield the pictures.

        Args:
            send: Which, see `select_for_review`.
            most: The largest side of a tile, px.
        """
        ...


@dataclass
class DetectedViews:
    """Pictures of objects; see `ViewSelector`."""

    walk: ScanDetector
    card: ModelCard
    counts: Counter[str] = field(default_factory=Counter)

    def select(self, send: Send, most: int) -> Iterator[View]:
        """See `ViewSelector`."""
        for result in self.walk.detect_scans():
            self.counts.update(map(str, result.objects.label))
            yield from select_for_review(
                result,
                send,
                most=most,
                headline=self.card.headline,
                threshold=self.card.threshold,
                key=make_picture_key,
            )


@dataclass
class ClassifiedViews:
    """Pictures of tiles; see `ViewSelector`."""

    walk: ScanClassifier
    card: ModelCard
    counts: Counter[str] = field(default_factory=Counter)

    def select(self, send: Send, most: int) -> Iterator[View]:
        """See `ViewSelector`."""
        learner = find_learner(self.card.kind)

        def list_chosen(probabilities: Mapping[str, float]) -> list[str]:
            return learner.list_confident(Prediction((1, 1), choices=probabilities), self.card)

        for scan in self.walk.classify_scans():
            for tiles in scan.choices.values():
                for probabilities in tiles.values():
                    self.counts.update(list_chosen(probabilities))
            yield from select_tiles(
                scan,
                send,
                most=most,
                list_chosen=list_chosen,
                threshold=self.card.threshold,
                key=make_picture_key,
            )
