"""Pre-annotating tasks: fetching, decoding and predicting overlap; one bad image harms no other.

A task that cannot be pre-annotated is left out with its reason. It is never answered
with an empty pre-annotation: Label Studio would store that as 'nothing here' for ever.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import numpy as np

from ml_backend.active_learning.queue import Queue, QueuedTask, name_task
from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.dataset.split import compute_queue_place
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode, measure_decoded
from ml_backend.imaging.decode_budget import BUDGET
from ml_backend.imaging.pixel_size import read_task_pixel_size
from ml_backend.label_studio.labeling_config import ClassMatching, LabelingConfig
from ml_backend.learners.base import Model, Picture, Prediction
from ml_backend.learners.kinds import find_learner
from ml_backend.serving.answer_cache import AnswerCache, Key, make_key

# Tasks that go through the model together. Images of one size share a batch; two
# batches are on their way at a time, so that memory stays bounded.
BATCH = 8
# Boxes below the threshold count for a task's score, from this confidence on.
FLOOR = 0.05

QUEUED = "queued: the answer was due; the worker pre-annotates it"
# Not a fault yet: the caller did not want to wait.
SLOW = "its image is slow to come"

# A task's index, the key of its prediction, the image, and the bytes that were taken for it.
_Ahead = tuple[int, Key, Future[np.ndarray], int]

# See `ImageSource.stream`; None tells that nothing came for a while.
Fetch = Callable[[Sequence[str], float | None], Iterator[tuple[int, bytes | Exception] | None]]


@dataclass(frozen=True)
class PreAnnotation:
    """The pre-annotation of a task.

    Attributes:
        result: The regions or choices, as Label Studio writes them.
        version: The version string of the model.
        answers: What a person could have to correct, from FLOOR on: a strategy scores the task
            by them.
        blind: The task is shown without boxes, because it judges the models that find them.
        score: The place in the queue, 0..1, low is reviewed first; 1 until `score_in_queue`.
    """

    result: list[dict[str, Any]]
    version: str
    answers: Boxes = field(default_factory=Boxes)
    blind: bool = False
    score: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Give the prediction as /predict answers it and as the server imports it."""
        return {"result": self.result, "score": self.score, "model_version": self.version}


@dataclass(frozen=True)
class LeftOut:
    """A task without a pre-annotation.

    Attributes:
        reason: Why, in one line.
    """

    reason: str


@dataclass(frozen=True)
class PreAnnotator:
    """A model that pre-annotates the tasks of one project.

    Attributes:
        version: The model's version string.
        model: The model.
        labels: The project's labeling config.
        matching: The labels of the model's classes.
        shown: The model's classes that are shown; other classes with a label are found but not
            shown, classes without a label cannot be.
        dropped: How often a confident class without a label was found.
        answers: Predictions of before, which several projects may share.
        round: How many champions the project had before this one.
    """

    version: str
    model: Model
    labels: LabelingConfig
    matching: ClassMatching[Any]
    shown: frozenset[str]
    dropped: Counter[str] = field(default_factory=Counter)
    answers: AnswerCache = field(default_factory=AnswerCache)
    round: int = 0

    def preannotate(
        self,
        tasks: Sequence[dict[str, Any]],
        fetch: Fetch,
        deadline: float | None = None,
        patience: float | None = None,
        *,
        look_at_blind: bool = False,
    ) -> Iterator[tuple[int, PreAnnotation | LeftOut]]:
        """Pre-annotate tasks. What has come is worked on while others are slow to come.

        Args:
            tasks: As Label Studio writes them, with `data`.
            fetch: See `ImageSource.stream`.
            deadline: On `time.monotonic()`; what is not finished by then is left out as QUEUED.
            patience: Once no image came for so many seconds, the missing ones are left out as
                SLOW; None to wait for them.
            look_at_blind: Find `answers` on blind tasks too; they are shown without boxes still.

        Yields:
            The index of every task exactly once, in no fixed order, with its outcome.
        """
        waiting = set(range(len(tasks)))
        reason = QUEUED if patience is None else SLOW
        for index, outcome in self._outcomes(tasks, fetch, deadline, patience, look_at_blind):
            waiting.discard(index)
            if isinstance(outcome, PreAnnotation) and is_blind(tasks[index]):
                outcome = replace(outcome, result=[], blind=True)
            yield index, outcome
            if deadline is not None and time.monotonic() >= deadline:
                reason = QUEUED
                break
        for index in sorted(waiting):
            yield index, LeftOut(reason)

    def _outcomes(
        self,
        tasks: Sequence[dict[str, Any]],
        fetch: Fetch,
        deadline: float | None,
        patience: float | None,
        look_at_blind: bool,
    ) -> Iterator[tuple[int, PreAnnotation | LeftOut]]:
        key = self.labels.image_key
        addressed: list[tuple[int, float | None, str]] = []
        for index, task in enumerate(tasks):
            data = task.get("data")
            address = data.get(key) if isinstance(data, dict) else None
            if not look_at_blind and is_blind(task):
                yield index, PreAnnotation([], self.version, blind=True)
            elif isinstance(data, dict) and isinstance(address, str) and address:
                addressed.append((index, read_task_pixel_size(data), address))
            else:
                yield index, LeftOut(f"the task has no image in its field {key!r}")
        ahead: deque[_Ahead] = deque()
        with ThreadPoolExecutor(4, thread_name_prefix="decode") as pool:
            try:
                heard_at = time.monotonic()
                for arrival in fetch([address for *_, address in addressed], deadline):
                    if arrival is None:
                        if ahead:
                            yield from self._decode([*ahead])
                            ahead.clear()
                            heard_at = time.monotonic()  # the work took its time too
                        elif patience is not None and time.monotonic() - heard_at > patience:
                            break
                        continue
                    heard_at = time.monotonic()
                    position, got = arrival
                    index, size, _ = addressed[position]
                    if isinstance(got, Exception):
                        yield index, LeftOut(str(got))
                        continue
                    answer = make_key(self.version, got, size)
                    if (known := self.answers.find(answer)) is not None:
                        yield index, self.make_preannotation(known)
                        continue
                    try:
                        taken = measure_decoded(got)
                    except Exception as error:  # a header may fail in any way, as pixels may
                        yield index, LeftOut(str(error))
                        continue
                    # Whoever waits holds nothing, so that nobody waits for ever.
                    while not BUDGET.take(taken, 0.0 if ahead else _seconds_until(deadline)):
                        if not ahead:
                            yield index, LeftOut(QUEUED)
                            break
                        yield from self._decode(_pop_batch(ahead))
                    else:
                        ahead.append((index, answer, pool.submit(decode, got), taken))
                    if len(ahead) >= 2 * BATCH:
                        yield from self._decode(_pop_batch(ahead))
                while ahead:
                    yield from self._decode(_pop_batch(ahead))
            finally:
                for *_, future, taken in ahead:
                    future.cancel()
                    BUDGET.give_back(taken)

    def _decode(self, batch: Sequence[_Ahead]) -> Iterator[tuple[int, PreAnnotation | LeftOut]]:
        decoded = []
        try:
            for index, key, future, _ in batch:
                try:
                    decoded.append((index, key, Picture(future.result(), key[2])))
                except Exception as error:  # a decoder may fail in any way; the task is listed
                    yield index, LeftOut(str(error))
            yield from self._predict(decoded)
        finally:
            BUDGET.give_back(sum(taken for *_, taken in batch))

    def _predict(
        self, decoded: Sequence[tuple[int, Key, Picture]]
    ) -> Iterator[tuple[int, PreAnnotation | LeftOut]]:
        try:
            found = list(self.model.predict([picture for *_, picture in decoded], FLOOR))
        except Exception as error:
            if len(decoded) == 1:
                yield decoded[0][0], LeftOut(f"the model failed on this image: {error}")
                return
            for alone in decoded:  # one by one, so that one image fails alone
                yield from self._predict([alone])
            return
        for (index, key, _), prediction in zip(decoded, found, strict=True):
            self.answers.keep(key, prediction)
            yield index, self.make_preannotation(prediction)

    def make_preannotation(self, prediction: Prediction) -> PreAnnotation:
        """Make the pre-annotation of a prediction that was made from FLOOR on."""
        card = self.model.card
        learner = find_learner(card.kind)
        self.dropped.update(
            name
            for name in learner.list_confident(prediction, card)
            if name in self.matching.unmatched
        )
        result = learner.write_result(
            prediction, card, self.labels, self.matching, self.shown, self.version
        )
        return PreAnnotation(result, self.version, self.list_answers(prediction))

    def list_answers(self, prediction: Prediction) -> Boxes:
        """List what a person could have to correct; a strategy scores the image by it."""
        card = self.model.card
        return find_learner(card.kind).list_answers(prediction, card)

    @property
    def context(self) -> Context:
        """What a strategy may know of the version."""
        return Context(self.model.card.threshold, self.round)

    def score_in_queue(
        self,
        tasks: Sequence[dict[str, Any]],
        drawn: Iterable[tuple[int, PreAnnotation]],
        queue: Queue,
    ) -> list[tuple[int, PreAnnotation]]:
        """Score pre-annotations by their place in the queue.

        Args:
            tasks: As Label Studio writes them.
            drawn: Index into the tasks and pre-annotation of each.
            queue: Of the project.

        Returns:
            The same with scores, in the order of the tasks.
        """
        drawn, queued = sorted(drawn, key=itemgetter(0)), []
        for index, annotation in drawn:
            data = tasks[index]["data"]
            image = str(data.get(self.labels.image_key))
            candidate = Candidate(name_task(data, image), annotation.answers)
            queued.append(
                QueuedTask(
                    None if annotation.blind else candidate,
                    compute_queue_place(data, image),
                    tasks[index].get("id"),
                )
            )
        scores = queue.score(queued, self.context)
        return [
            (index, replace(annotation, score=score))
            for (index, annotation), score in zip(drawn, scores, strict=True)
        ]


def is_blind(task: dict[str, Any]) -> bool:
    """Tell whether a task is shown without boxes."""
    data = task.get("data")
    return isinstance(data, dict) and data.get("blind") is True


def _pop_batch(ahead: deque[_Ahead]) -> list[_Ahead]:
    return [ahead.popleft() for _ in range(min(BATCH, len(ahead)))]


def _seconds_until(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
