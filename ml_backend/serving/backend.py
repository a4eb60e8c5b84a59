"""What the backend answers Label Studio, without HTTP.

`Backend` has the shape of Label Studio's own framework: made for one request about one
project, then asked to set up, to predict, or to learn of an event. It only reads the data
folder and leaves notes; whatever takes long is the worker's.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ml_backend.imaging.pixel_size import read_task_pixel_size
from ml_backend.label_studio.smart_tools import read_prompt
from ml_backend.learners.kinds import finds_objects
from ml_backend.serving.app_state import AppState
from ml_backend.serving.model_cache import name_untrained, parse_labels
from ml_backend.serving.one_click import fit_box, write_answer
from ml_backend.serving.preannotation import QUEUED, LeftOut, PreAnnotation
from ml_backend.state.projects import Note

# The events of Label Studio, and the notes that they leave for the worker. Each is only a
# hint: what really changed is read from Label Studio when the job runs.
NOTES: dict[str, tuple[Note, ...]] = {
    "START_TRAINING": ("train",),
    "ANNOTATION_CREATED": ("changed",),
    "ANNOTATIONS_CREATED": ("changed",),
    "ANNOTATION_UPDATED": ("changed",),
    "ANNOTATIONS_DELETED": ("changed",),
    "TASKS_CREATED": ("publish",),
    "TASKS_DELETED": ("changed",),
    "PROJECT_UPDATED": ("changed",),
}


class BadLabelingConfig(ValueError):
    """A labeling config that cannot be used; why, in one line."""


@dataclass(frozen=True)
class ModelResponse:
    """The predictions for some tasks, under the names of Label Studio's framework.

    Attributes:
        predictions: One entry for each task, in order: a dict of `result`, `score` (0..1) and
            `model_version`, or an empty list, with which Label Studio stores nothing.
        model_version: The version that predicted; None while the project is untrained.
    """

    predictions: list[Any]
    model_version: str | None = None


class Backend:
    """Answers for one connected project.

    Args:
        state: The data folder, as the server opened it.
        project_id: The project's id in Label Studio.
        label_config: The labeling config that Label Studio sent, where it sent one.

    Raises:
        NotConnected: The project is not connected to this data folder.
    """

    def __init__(self, state: AppState, project_id: int, label_config: str | None = None) -> None:
        self._state = state
        self._project = state.projects.get(project_id)
        self._label_config = label_config

    @property
    def model_version(self) -> str:
        """What pre-annotates the project now, or `<id>-untrained`."""
        return self._state.models.choose_version(self._project)

    def setup(self) -> None:
        """Take over the labeling config, and load the model without waiting for it.

        Raises:
            BadLabelingConfig: The config cannot be used; the one before stays.
        """
        self._take_over_labels()
        # The first Retrieve predictions should not have to wait for the model to load.
        self._state.models.prepare(self._project)

    def _take_over_labels(self) -> None:
        config = self._label_config
        if config is not None and config != self._project.label_config:
            try:
                parse_labels(config)
            except ValueError as error:
                raise BadLabelingConfig(str(error)) from None
            self._state.projects.update_labels(self._project.id, config)
            self._project = self._state.projects.get(self._project.id)

    def predict(
        self,
        tasks: list[dict[str, Any]],
        context: dict[str, Any] | None = None,
        *,
        deadline: float | None = None,
        **kwargs: Any,
    ) -> ModelResponse:
        """Pre-annotate tasks.

        A task that cannot be pre-annotated, or not in time, gets an empty list, is listed with
        the reason, and where only time was short is left to the worker.

        Args:
            tasks: Label Studio's tasks, with their `data`.
            context: What an annotator just drew with a smart tool; the first task is then
                answered with a box fitted to it, and the others with nothing.
            deadline: When the answer is due, on `time.monotonic()`; by default
                `settings.predict_seconds` from now.
            **kwargs: What else Label Studio sends; not used.
        """
        # Label Studio tells nobody that the labels changed; it sends them with every request.
        with suppress(BadLabelingConfig):
            self._take_over_labels()
        state, project = self._state, self._project
        if deadline is None:
            deadline = time.monotonic() + state.settings.predict_seconds
        predictions: list[Any] = [[] for _ in tasks]
        if context and context.get("result") and tasks:
            predictions[0] = self._answer_click(tasks[0], context, deadline)
            return ModelResponse(predictions, self.model_version)
        preannotator = state.models.get_preannotator(project)
        if preannotator is None:
            return ModelResponse(predictions)
        left_out: list[tuple[Any, str]] = []
        drawn: list[tuple[int, PreAnnotation]] = []
        fetch = state.images.get(project).stream
        for index, outcome in preannotator.preannotate(tasks, fetch, deadline):
            if isinstance(outcome, LeftOut):
                left_out.append((tasks[index].get("id"), outcome.reason))
            elif not outcome.blind:
                drawn.append((index, outcome))
        queue = state.models.open_queue(state.projects, project.id, preannotator.version)
        for index, preannotation in preannotator.score_in_queue(tasks, drawn, queue):
            predictions[index] = preannotation.to_json()
        self._record([tasks[index].get("id") for index, _ in drawn], left_out)
        return ModelResponse(predictions, preannotator.version)

    def _answer_click(
        self, task: dict[str, Any], context: dict[str, Any], deadline: float
    ) -> dict[str, Any]:
        """Answer what was drawn with a smart tool; with nothing where there is nothing."""
        state, project = self._state, self._project
        nothing: dict[str, Any] = {"result": []}
        labels = parse_labels(project.label_config)
        data = task.get("data")
        address = data.get(labels.image_key) if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(address, str) or not labels.controls:
            return nothing
        pixels = state.images.get_pixels(project, address, deadline)
        if pixels is None:
            return nothing
        size = pixels.shape[1], pixels.shape[0]
        prompt = read_prompt(context, size)
        if prompt is None:
            return nothing
        preannotator = state.models.get_preannotator(project)
        detector, classes = None, tuple[str, ...]()
        if preannotator is not None and data.get("blind") is not True:
            model = preannotator.model
            detector = model if finds_objects(model) else None
            classes = tuple(preannotator.matching.mapping)
        fitted = fit_box(prompt, pixels, detector, classes, read_task_pixel_size(data))
        if fitted is None:
            return nothing
        result = write_answer(fitted, prompt, size, labels, self.model_version)
        return {"result": result, "score": round(fitted.confidence, 4)}

    def fit(self, event: str, data: dict[str, Any], **kwargs: Any) -> bool:
        """Leave a note of an event for the worker, which learns from what Label Studio holds then.

        Args:
            event: The event's name, such as `ANNOTATION_CREATED`.
            data: What Label Studio sent with it; not used, because it may be outdated when the
                worker comes to it.
            **kwargs: What else Label Studio sends; not used.

        Returns:
            Whether the event is one that leaves a note.
        """
        for note in NOTES.get(event, ()):
            self._state.projects.add_note(self._project.id, note)
        return event in NOTES

    def _record(self, done: list[Any], left_out: list[tuple[Any, str]]) -> None:
        """Keep which tasks were left out and why, by their ids, and count them."""
        projects, number = self._state.projects, self._project.id
        projects.add_left_out(number, [(task, why) for task, why in left_out if _is_task_id(task)])
        projects.remove_left_out(number, [task for task in done if _is_task_id(task)])
        if any(reason == QUEUED for _, reason in left_out):
            projects.add_note(number, "publish")
        self._state.metrics.preannotated.labels(number).inc(len(done))
        self._state.metrics.left_out.labels(number).inc(len(left_out))


def list_versions(state: AppState) -> list[str]:
    """Return all version strings that a project may show, the untrained ones too."""
    trained = [version.name for version in state.registry.list_versions()]
    return trained + [name_untrained(project.id) for project in state.projects.list_projects()]


def _is_task_id(value: Any) -> bool:
    """Can it be a task's id in Label Studio's database, and in ours?"""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63
