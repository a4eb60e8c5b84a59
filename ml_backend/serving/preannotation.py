"""Pre-annotating tasks: fetch, decode and detect overlap, and one bad image harms no other.

A task that cannot be pre-annotated is left out with its reason. It is never answered
with an empty pre-annotation: Label Studio would store that as 'nothing here' for ever.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np

from ml_backend.active_learning.certainty import at_place, certainty
from ml_backend.dataset.split import queue_place
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode
from ml_backend.imaging.pixel_size import read_task_pixel_size
from ml_backend.label_studio.labeling_config import Labels, Matching
from ml_backend.learners.detector.inference import Detector
from ml_backend.system.batching import chunks

# Tasks that go through the model together. Images of one size share a batch; two
# batches are on their way at a time, so that memory stays bounded.
BATCH = 8
# Boxes below the threshold count for a task's certainty, from this confidence on.
FLOOR = 0.05

QUEUED = "queued: the answer was due; the worker pre-annotates it"

# A task's index, µm a pixel of its image where that is known, and the image.
_Ahead = tuple[int, float | None, Future[np.ndarray]]

Fetch = Callable[[Sequence[str], float | None], Iterator[tuple[int, bytes | Exception]]]


@dataclass(frozen=True)
class PreAnnotation:
    """What is drawn on one task: Label Studio's result, certainty (0..1), version string.

    blind: the task is shown without boxes, because it judges those that draw them.
    """

    result: list[dict[str, Any]]
    score: float
    version: str
    blind: bool = False

    def entry(self) -> dict[str, Any]:
        """As /predict answers it and as the server imports it."""
        return {"result": self.result, "score": self.score, "model_version": self.version}


@dataclass(frozen=True)
class LeftOut:
    """Why a task has no pre-annotation."""

    reason: str


@dataclass(frozen=True)
class Annotator:
    """A detector that draws with the labels of one project.

    shown: the labels' names of the detector's classes that are drawn; other classes
    with a label are found but not drawn, classes without a label cannot be.
    """

    version: str
    detector: Detector
    labels: Labels
    matching: Matching
    shown: frozenset[str]
    dropped: Counter[str] = field(default_factory=Counter)

    def annotate(
        self, tasks: Sequence[dict[str, Any]], fetch: Fetch, deadline: float | None = None
    ) -> Iterator[tuple[int, PreAnnotation | LeftOut]]:
        """(index, outcome) of every task exactly once, in no fixed order.

        tasks: Label Studio's, with `data`. deadline: on time.monotonic(); what is not
        finished by then is left out as QUEUED.
        """
        waiting = set(range(len(tasks)))
        for index, outcome in self._outcomes(tasks, fetch, deadline):
            waiting.discard(index)
            yield index, outcome
            if deadline is not None and time.monotonic() >= deadline:
                break
        for index in sorted(waiting):
            yield index, LeftOut(QUEUED)

    def _outcomes(
        self, tasks: Sequence[dict[str, Any]], fetch: Fetch, deadline: float | None
    ) -> Iterator[tuple[int, PreAnnotation | LeftOut]]:
        key = self.labels.image_key
        addressed: list[tuple[int, float | None, str]] = []
        for index, task in enumerate(tasks):
            data = task.get("data")
            address = data.get(key) if isinstance(data, dict) else None
            if isinstance(data, dict) and data.get("blind") is True:
                yield index, PreAnnotation([], 1.0, self.version, blind=True)
            elif isinstance(data, dict) and isinstance(address, str) and address:
                addressed.append((index, read_task_pixel_size(data), address))
            else:
                yield index, LeftOut(f"the task has no image in its field {key!r}")
        ahead: deque[_Ahead] = deque()
        with ThreadPoolExecutor(4, thread_name_prefix="decode") as pool:
            try:
                for position, got in fetch([address for *_, address in addressed], deadline):
                    index, size, _ = addressed[position]
                    if isinstance(got, Exception):
                        yield index, LeftOut(str(got))
                        continue
                    ahead.append((index, size, pool.submit(decode, got)))
                    if len(ahead) >= 2 * BATCH:
                        yield from self._detect([ahead.popleft() for _ in range(BATCH)])
                for rest in chunks(list(ahead), BATCH):
                    yield from self._detect(rest)
            finally:
                for *_, future in ahead:
                    future.cancel()

    def _detect(self, batch: Iterable[_Ahead]) -> Iterator[tuple[int, PreAnnotation | LeftOut]]:
        decoded = []
        for index, size, future in batch:
            try:
                decoded.append((index, size, future.result()))
            except Exception as error:  # a decoder may fail in any way; the task is listed
                yield index, LeftOut(str(error))
        if not decoded:
            return
        try:
            found = [
                boxes
                for size, members in groupby(decoded, key=lambda one: one[1])
                for boxes in self.detector.at(size).predict([image for *_, image in members], FLOOR)
            ]
        except Exception as error:
            if len(decoded) == 1:
                yield decoded[0][0], LeftOut(f"the detector failed on this image: {error}")
                return
            for index, size, image in decoded:  # one by one, so that one image fails alone
                done: Future[np.ndarray] = Future()
                done.set_result(image)
                yield from self._detect([(index, size, done)])
            return
        for (index, _, image), boxes in zip(decoded, found, strict=True):
            yield index, self.draw(boxes, width=image.shape[1], height=image.shape[0])

    def draw(self, boxes: Boxes, *, width: int, height: int) -> PreAnnotation:
        """The pre-annotation from an image's boxes (from FLOOR on); sizes in pixels."""
        confident = boxes.where(boxes.confidence >= self.detector.card.threshold)
        self.dropped.update(
            label for label in map(str, confident.label) if label in self.matching.unmatched
        )
        drawn = confident.where(np.isin(confident.label, list(self.shown)))
        result = self.labels.to_regions(
            drawn, width=width, height=height, matching=self.matching, version=self.version
        )
        return PreAnnotation(result, self.certainty(boxes), self.version)

    def certainty(self, boxes: Boxes) -> float:
        """Of an image, by its boxes of the headline classes (from FLOOR on)."""
        card = self.detector.card
        headline = boxes.where(np.isin(boxes.label, list(card.headline)))
        return certainty(headline, card.threshold)

    def queued(
        self,
        tasks: Sequence[dict[str, Any]],
        drawn: Iterable[tuple[int, PreAnnotation]],
        known: Callable[[Sequence[float]], Sequence[float]],
    ) -> list[tuple[int, PreAnnotation]]:
        """What was drawn, with the score of held-out tasks at random places of the queue.

        drawn: (index into tasks, pre-annotation). known: from the certainties of these, those
        among which the places are.
        """
        drawn = list(drawn)
        among = known([one.score for _, one in drawn if not one.blind])
        placed = []
        for index, one in drawn:
            data = tasks[index]["data"]
            place = queue_place(data, str(data.get(self.labels.image_key)))
            score = one.score if place is None else at_place(place, among)
            placed.append((index, replace(one, score=score)))
        return placed
