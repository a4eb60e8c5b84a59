"""A project of Label Studio as the source of a report."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from ml_backend.dataset.consensus import (
    Policy,
    Submission,
    collect_submissions,
    count_deciding,
    measure_agreement,
    settle_boxes,
)
from ml_backend.dataset.corrections import (
    ShownRegions,
    find_shown_regions,
    measure_usefulness,
    read_corrections,
)
from ml_backend.dataset.split import GROUP_FIELDS
from ml_backend.imaging.decode import UnreadableImage, decode
from ml_backend.label_studio.class_names import choose_headline
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.labeling_config import LabelingConfig, parse_labels
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tasks.exchange.image_names import Names
from tasks.reports import counts
from tasks.reports.colours import colours
from tasks.reports.counts import Box, Field, Look, State, Thing
from tasks.reports.source import Piece, Source
from tasks.sources.discover import Skipped, natural_key


def of_project(project_id: int, settings: Settings) -> Source:
    """What the project holds: of each task the annotation that trainings take, of several
    annotators by the same policy, else what the project's version drew.

    Tasks that carry a scan and their place in it share its coordinates; any other image
    stands alone, counted under its scan, sample or slide. Raises NotConnected, the errors of
    `Studio`, ValueError for labels without rectangles.
    """
    projects = Projects(settings.projects_database)
    project = projects.get(project_id)
    studio = Studio(project.url, project.token)
    found = studio.get_project(project_id)
    labels = parse_labels(found.label_config)
    if not labels.controls:
        raise ValueError(f"project {project_id} has no rectangle labels to count")
    tasks = list(studio.list_tasks(project_id))
    shown = {key: one for task in tasks for key, one in find_shown_regions(task).items()}
    projects.keep_shown(project_id, shown)
    shown |= projects.shown(project_id)
    reading = _Reading(tasks, labels, shown, found.model_version, found.title, settings.annotators)
    corrections, from_nothing = [], 0
    for task in tasks:
        made, unaided = read_corrections(task, shown, labels)
        corrections += made
        from_nothing += unaided
    fields = reading.fields()
    return Source(
        title=found.title,
        fields=fields,
        classes=labels.values,
        headline=choose_headline(labels.values),
        colours=colours(labels.values, found.label_config),
        model=found.model_version,
        corrections=measure_usefulness(corrections),
        from_nothing=from_nothing,
        annotators=settings.annotators,
        agreements=reading.agreements,
        pixels=_Fetched(project, settings.media, reading),
        skipped=reading.skipped,
    )


class _Reading:
    """Tasks as fields; remembers which task is which image of a field."""

    def __init__(
        self,
        tasks: Sequence[dict[str, Any]],
        labels: LabelingConfig,
        shown: Mapping[int, ShownRegions],
        version: str,
        title: str,
        policy: Policy,
    ) -> None:
        self.skipped: list[Skipped] = []
        self.agreements: list[float] = []
        self.addresses: dict[tuple[str, int], str] = {}
        self._tasks = tasks
        self._labels = labels
        self._shown = shown
        self._version = version
        self._title = title
        self._policy = policy
        self._chosen = {one.task: one for one in collect_submissions(tasks)}
        self._names = Names(((task["id"], task["data"]) for task in tasks), labels.image_key)

    def fields(self) -> list[Field]:
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for task in self._tasks:
            data = task["data"]
            placed = data.get("scan") and all(_number(data.get(key)) is not None for key in "xy")
            name = str(data["scan"]) if placed else self._names.get(task["id"])
            groups.setdefault((self._scan(data), name), []).append(task)
        made = []
        for (scan, name), members in sorted(
            groups.items(), key=lambda item: tuple(map(natural_key, item[0]))
        ):
            looks = _sized([self._look(task, len(members) > 1) for task in members])
            for number, task in enumerate(members):
                address = str(task["data"].get(self._labels.image_key) or "")
                self.addresses[name, number] = address
            pixel = next((_number(task["data"].get("pixel_size")) for task in members), None)
            made.append(counts.field(name, scan, looks, pixel or None))
        return made

    def _scan(self, data: Mapping[str, Any]) -> str:
        return next((str(data[key]) for key in GROUP_FIELDS if data.get(key)), self._title)

    def _look(self, task: dict[str, Any], placed: bool) -> Look:
        # Many pictures of one scan have no name that says more than the task's number.
        name = f"task {task['id']}" if placed else self._names.get(task["id"])
        data = task["data"]
        chosen = self._chosen.get(task["id"])
        predictions = [] if data.get("blind") else task.get("predictions") or []
        prediction = max(
            predictions,
            key=lambda one: (str(one.get("model_version")) == self._version, one["id"]),
            default=None,
        )
        state: State = "reviewed" if chosen else "detected" if prediction else "waiting"
        result = chosen.results[0] if chosen else (prediction or {}).get("result") or []
        others = chosen.results[1:] if chosen else ()
        drawn = None
        if chosen:
            # What the person started from; else, as for imported annotations, what is there.
            drawn = self._shown.get(chosen.annotation)
            if drawn is None and prediction:
                drawn = ShownRegions(
                    str(prediction.get("model_version")), prediction["result"] or []
                )
        size = _size([*result, *(drawn.result if drawn else []), *chain(*others)])
        # A single image is its own field, wherever it lies in a scan.
        x, y = (_number(data.get(key)) or 0.0 for key in "xy") if placed else (0.0, 0.0)
        plane = data.get("plane") if placed else None
        if chosen and others:
            things, problems = self._of_several(chosen, size, (x, y))
        else:
            things, problems = self._things(result, size, (x, y), by_hand=chosen is not None)
        self.skipped += [{"source": name, "reason": problem} for problem in problems]
        before = self._things(drawn.result, size, (x, y), by_hand=False)[0] if drawn else None
        chance = _number(data.get("sampling_p")) if data.get("key") and data.get("scan") else None
        return Look(
            name,
            x,
            y,
            *size,
            state,
            tuple(things),
            None if before is None else tuple(before),
            plane if isinstance(plane, int) else 0,
            1 / chance if chance else 1.0,
        )

    def _of_several(
        self, chosen: Submission, size: tuple[int, int], place: tuple[float, float]
    ) -> tuple[list[Thing], list[str]]:
        """What counts of several annotators; notes how far they agree."""
        read = [self._labels.read_boxes(result, *size) for result in chosen.results]
        drawn = [boxes for boxes, _ in read]
        agreed = measure_agreement(drawn)
        assert agreed is not None
        self.agreements.append(agreed)
        several = count_deciding(chosen, self._policy)
        rows = settle_boxes(drawn[:several], self._policy).to_rows()
        x, y = place
        things = [Thing(row[4], _moved(row[:4], x, y), None) for row in rows]
        return things, [said for _, told in read[:several] for said in told]

    def _things(
        self,
        result: Sequence[dict[str, Any]],
        size: tuple[int, int],
        place: tuple[float, float],
        *,
        by_hand: bool,
    ) -> tuple[list[Thing], list[str]]:
        regions: dict[str, list[dict[str, Any]]] = {}
        for number, item in enumerate(result):
            regions.setdefault(str(item.get("id") or f"number {number + 1}"), []).append(item)
        things, problems = [], []
        for items in regions.values():
            boxes, said = self._labels.read_boxes(items, *size)
            problems += said
            score = None if by_hand else _number(items[0].get("score"))
            for *corners, label, _ in boxes.to_rows():
                box = _moved(corners, *place)
                confidence = None if by_hand else 1.0 if score is None else score
                things.append(Thing(label, box, confidence))
        return things, problems


def _moved(corners: Sequence[float], x: float, y: float) -> Box:
    x1, y1, x2, y2 = corners
    return x1 + x, y1 + y, x2 + x, y2 + y


def _sized(looks: list[Look]) -> list[Look]:
    """Images on which nothing is drawn do not tell their size: then it is their neighbours'."""
    known = [look for look in looks if look.width]
    if len(looks) == 1 or not known:
        return looks
    width, height = max(look.width for look in known), max(look.height for look in known)
    return [look if look.width else replace(look, width=width, height=height) for look in looks]


def _size(items: Sequence[dict[str, Any]]) -> tuple[int, int]:
    for item in items:
        width, height = item.get("original_width"), item.get("original_height")
        if width and height:
            return int(width), int(height)
    return 0, 0


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


class _Fetched:
    """The images of tasks, as Label Studio shows them."""

    def __init__(self, project: Project, media: Path, reading: _Reading) -> None:
        self._source = ImageSource(project.url, project.token, media=media, project=project.id)
        self._addresses = reading.addresses

    def pieces(self, one: Field, looks: Collection[int], skipped: list[Skipped]) -> Iterator[Piece]:
        numbers = sorted(looks)
        addresses = [self._addresses[one.name, number] for number in numbers]
        for place, got in self._source.fetch(addresses):
            look = numbers[place]
            try:
                if isinstance(got, Exception):
                    raise got
                pixels = decode(got)
            except UnreadableImage as error:
                skipped.append({"source": one.looks[look].name, "reason": error.reason})
                continue
            shown = one.looks[look]
            yield Piece(look, shown.plane, shown.left, shown.top, pixels)
