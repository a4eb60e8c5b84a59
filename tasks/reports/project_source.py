"""A project of Label Studio as the source of a report."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from ml_backend.counting.project import count_tasks
from ml_backend.dataset.consensus import (
    Policy,
    Submission,
    collect_submissions,
    count_deciding,
    measure_agreement,
    settle_boxes,
    settle_choices,
    settle_region_choices,
)
from ml_backend.dataset.corrections import (
    ShownRegions,
    find_shown_regions,
    measure_usefulness,
    read_corrections,
)
from ml_backend.dataset.disputes import list_ratings
from ml_backend.dataset.split import GROUP_FIELDS, LEAST_CHANCE, REPEAT_OF
from ml_backend.evaluation.label_quality.annotator_agreement import (
    AnnotatorAgreement,
    evaluate_agreement,
)
from ml_backend.imaging.decode import UnreadableImage, decode
from ml_backend.imaging.pixel_size import read_task_pixel_size
from ml_backend.label_studio.class_names import call_by_choice, choose_headline, is_mitotic
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.labeling_config import LabelingConfig, list_items, parse_labels
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.numbers import LONGEST_SIDE, parse_number, parse_size, parse_whole_number
from tasks.exchange.image_names import Names
from tasks.reports.colours import choose_colours
from tasks.reports.counts import (
    Box,
    ImageGroup,
    MarkedObject,
    ReportImage,
    State,
    group_images,
)
from tasks.reports.source import Piece, ReportSource
from tasks.sources.discover import Skipped, split_numbers


def read_project(project_id: int, settings: Settings) -> ReportSource:
    """Read a project for a report.

    Of each task the annotation counts that trainings take, and of several annotators what the
    same policy decides; of a task without an annotation what the project's version predicts.
    Tasks that have a scan and their place in it share its coordinates. Any other image stands
    alone and is counted under its scan, sample or slide.

    Args:
        project_id: The project's id in Label Studio.
        settings: Of the data folder that the project is connected to.

    Raises:
        NotConnected: The project is not connected to this data folder.
        StudioError: Label Studio refuses something or does not answer.
        ValueError: The project has neither rectangle labels nor choices for images.
    """
    projects = Projects(settings.projects_database)
    project = projects.get(project_id)
    studio = Studio(project.url, project.token)
    found = studio.get_project(project_id)
    labels = parse_labels(found.label_config)
    if not labels.controls and not labels.image_choices:
        raise ValueError(f"project {project_id} has neither rectangles nor choices to count")
    tasks = list(studio.list_tasks(project_id))
    shown = {
        annotation: prediction
        for task in tasks
        for annotation, prediction in find_shown_regions(task).items()
    }
    projects.keep_shown_regions(project_id, shown)
    shown |= projects.get_shown_regions(project_id)
    reader = ProjectReader(
        tasks,
        labels,
        shown,
        version=found.model_version,
        title=found.title,
        policy=settings.annotators,
    )
    corrections, from_nothing = [], 0
    for task in tasks:
        made, unaided = read_corrections(task, shown, labels)
        corrections += made
        from_nothing += unaided
    groups = reader.read_groups()
    classes = labels.choice_values if reader.names_images else labels.box_names
    return ReportSource(
        title=found.title,
        groups=groups,
        classes=classes,
        headline=classes if reader.names_images else choose_headline(classes),
        dividing=_list_dividing(labels),
        colours=choose_colours(classes, found.label_config),
        model=found.model_version,
        corrections=measure_usefulness(corrections),
        from_nothing=from_nothing,
        annotators=settings.annotators,
        agreements=reader.agreements,
        name_agreement=reader.evaluate_names(),
        pixels=_TaskPixels(project, settings.media, reader.addresses),
        skipped=reader.skipped,
        names_images=reader.names_images,
        count=count_tasks(project_id, tasks, labels, settings),
    )


class ProjectReader:
    """Reads tasks as groups of images with their objects.

    A box of which something was chosen is called so, and else by its label, see `call_by_choice`.

    Args:
        tasks: As Label Studio's JSON has them.
        labels: The labels of the project.
        shown: The prediction that each annotation started from, by the annotation's id.
        version: The version whose predictions count.
        title: Of the project; images without a scan, sample or slide are counted under it.
        policy: What counts of several annotators of a task.

    Attributes:
        skipped: What could not be read; filled by `read_groups`.
        agreements: How far the annotators of each task that has several agree, 0..1; filled by
            `read_groups`.
        names_images: The labels have no rectangles, so what counts are choices of whole images.
        addresses: Where Label Studio has each image, by the name of its group and its number
            in it; filled by `read_groups`.
    """

    def __init__(
        self,
        tasks: Sequence[dict[str, Any]],
        labels: LabelingConfig,
        shown: Mapping[int, ShownRegions],
        *,
        version: str,
        title: str,
        policy: Policy,
    ) -> None:
        self.skipped: list[Skipped] = []
        self.agreements: list[float] = []
        self.addresses: dict[tuple[str, int], str] = {}
        self._tasks = [task for task in tasks if REPEAT_OF not in task["data"]]
        self.names_images = not labels.controls
        self._labels = labels
        self._shown = shown
        self._version = version
        self._title = title
        self._policy = policy
        self._chosen = {chosen.task: chosen for chosen in collect_submissions(tasks)}
        self._names = Names(((task["id"], task["data"]) for task in tasks), labels.image_key)

    def read_groups(self) -> list[ImageGroup]:
        """Read the groups, in the natural order of their scans and names."""
        members_by_name: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for task in self._tasks:
            data = task["data"]
            # An image that is called something counts by itself, whatever its neighbours are.
            placed = (
                not self.names_images
                and data.get("scan")
                and all(_read_coordinate(data, key) is not None for key in "xy")
            )
            name = str(data["scan"]) if placed else self._names.get(task["id"])
            members_by_name.setdefault((self._find_scan(data), name), []).append(task)
        groups = []
        for (scan, name), members in sorted(
            members_by_name.items(), key=lambda item: tuple(map(split_numbers, item[0]))
        ):
            images = _fill_sizes([self._read_image(task, len(members) > 1) for task in members])
            for number, task in enumerate(members):
                address = str(task["data"].get(self._labels.image_key) or "")
                self.addresses[name, number] = address
            pixel = next((read_task_pixel_size(task["data"]) for task in members), None)
            groups.append(group_images(name, scan, images, pixel))
        return groups

    def evaluate_names(self) -> AnnotatorAgreement | None:
        """Evaluate how far annotators agree on what images and objects are called.

        They are numbered, not named: a report may be sent to others.
        """
        ratings = [
            {f"annotator {who}": name for who, name in rating.items()}
            for chosen in self._chosen.values()
            for rating in list_ratings(chosen, self._labels)
        ]
        return evaluate_agreement(ratings)

    def _find_scan(self, data: Mapping[str, Any]) -> str:
        return next((str(data[key]) for key in GROUP_FIELDS if data.get(key)), self._title)

    def _read_image(self, task: dict[str, Any], placed: bool) -> ReportImage:
        # The tiles of a scan have no names that tell more than the task's number.
        name = f"task {task['id']}" if placed else self._names.get(task["id"])
        data = task["data"]
        chosen = self._chosen.get(task["id"])
        predictions = [] if data.get("blind") else task.get("predictions") or []
        prediction = max(
            predictions,
            key=lambda entry: (str(entry.get("model_version")) == self._version, entry["id"]),
            default=None,
        )
        state: State = "reviewed" if chosen else "detected" if prediction else "waiting"
        result = chosen.results[0] if chosen else (prediction or {}).get("result") or []
        others = chosen.results[1:] if chosen else ()
        before = None
        if chosen:
            # What the person started from; else, as for imported annotations, the prediction.
            before = self._shown.get(chosen.annotation)
            if before is None and prediction:
                before = ShownRegions(
                    str(prediction.get("model_version")), prediction.get("result") or []
                )
        size = _find_size([*result, *(before.result if before else []), *chain(*others)])
        # A single image is a group of its own, wherever it lies in a scan.
        x, y = (_read_coordinate(data, key) or 0.0 for key in "xy") if placed else (0.0, 0.0)
        plane = parse_whole_number(data.get("plane")) if placed else None
        if chosen and others:
            objects, problems = self._settle_annotators(chosen, size, (x, y))
        else:
            objects, problems = self._read_objects(result, size, (x, y), by_hand=chosen is not None)
        self.skipped += [{"source": name, "reason": problem} for problem in problems]
        pre_annotated = None
        if before:
            pre_annotated, _ = self._read_objects(before.result, size, (x, y), by_hand=False)
        chance = (
            parse_number(data.get("sampling_p"), LEAST_CHANCE, 1)
            if data.get("key") and data.get("scan")
            else None
        )
        return ReportImage(
            name,
            x,
            y,
            *size,
            state,
            tuple(objects),
            None if pre_annotated is None else tuple(pre_annotated),
            plane or 0,
            1 / chance if chance else 1.0,
        )

    def _settle_annotators(
        self, chosen: Submission, size: tuple[int, int], place: tuple[float, float]
    ) -> tuple[list[MarkedObject], list[str]]:
        """What counts of several annotators, and problems; notes how far they agree."""
        if self.names_images:
            several = count_deciding(chosen, self._policy)
            named = [self._labels.read_choices(result) for result in chosen.results[:several]]
            return _name_image(settle_choices(named, self._policy), size, None), []
        read = [self._labels.read_boxes(result, *size) for result in chosen.results]
        drawn = [boxes for boxes, _ in read]
        agreed = measure_agreement(drawn)
        assert agreed is not None
        self.agreements.append(agreed)
        several = count_deciding(chosen, self._policy)
        settled = settle_boxes(drawn[:several], self._policy)
        chosen_of = settle_region_choices(chosen.results[:several], self._labels, settled, size)
        objects = [
            MarkedObject(call_by_choice(row[4], names), _move(row[:4], *place), None)
            for row, names in zip(settled.to_rows(), chosen_of, strict=True)
        ]
        return objects, [problem for _, problems in read[:several] for problem in problems]

    def _read_objects(
        self,
        result: Sequence[dict[str, Any]],
        size: tuple[int, int],
        place: tuple[float, float],
        *,
        by_hand: bool,
    ) -> tuple[list[MarkedObject], list[str]]:
        if self.names_images:
            scores = [parse_number(item.get("score"), 0, 1) for item in list_items(result)]
            least = min((value for value in scores if value is not None), default=1.0)
            chosen = self._labels.read_choices(result)
            return _name_image(chosen, size, None if by_hand else least), []
        regions: dict[str, list[dict[str, Any]]] = {}
        for number, item in enumerate(list_items(result)):
            regions.setdefault(str(item.get("id") or f"number {number + 1}"), []).append(item)
        objects, problems = [], []
        for items in regions.values():
            marked, wrong = self._labels.read_regions(items, *size)
            problems += wrong
            score = None if by_hand else parse_number(items[0].get("score"), 0, 1)
            confidence = None if by_hand else 1.0 if score is None else score
            for region in marked:
                box = _move(region.xyxy, *place)
                names = dict.fromkeys(call_by_choice(n, region.choices) for n in region.labels)
                objects += [MarkedObject(name, box, confidence) for name in names]
        return objects, problems


def _list_dividing(labels: LabelingConfig) -> frozenset[str]:
    """What dividing cells are called, whatever the choices for them are."""
    dividing = {value for value in labels.values if is_mitotic(value)}
    return frozenset(
        label.value
        for control in labels.region_choices
        if dividing and dividing >= set(control.only_for or labels.values)
        for label in control.labels
    )


def _name_image(
    chosen: Sequence[str] | None, size: tuple[int, int], confidence: float | None
) -> list[MarkedObject]:
    """Mark an image as a whole with each class that was chosen for it."""
    box = (0.0, 0.0, float(size[0]), float(size[1]))
    return [MarkedObject(label, box, confidence, whole=True) for label in chosen or ()]


def _move(corners: Sequence[float], x: float, y: float) -> Box:
    # Percentages come back as px that are off by less than a thousandth, which must not decide
    # which of two tiles shows a cell best.
    x1, y1, x2, y2 = (round(side, 3) for side in corners)
    return x1 + x, y1 + y, x2 + x, y2 + y


def _fill_sizes(images: list[ReportImage]) -> list[ReportImage]:
    """Give images of unknown size, on which nothing is marked, the size of the others."""
    known = [image for image in images if image.width]
    if len(images) == 1 or not known:
        return images
    width = max(image.width for image in known)
    height = max(image.height for image in known)
    return [
        image if image.width else replace(image, width=width, height=height) for image in images
    ]


def _find_size(items: Sequence[dict[str, Any]]) -> tuple[int, int]:
    for item in list_items(items):
        if size := parse_size(item.get("original_width"), item.get("original_height")):
            return size
    return 0, 0


def _read_coordinate(data: Mapping[str, Any], key: str) -> float | None:
    """Read where an image lies in its scan, px; None where its task's data does not say."""
    return parse_number(data.get(key), -LONGEST_SIDE, LONGEST_SIDE)


class _TaskPixels:
    """The images of tasks, as Label Studio shows them."""

    def __init__(
        self, project: Project, media: Path, addresses: Mapping[tuple[str, int], str]
    ) -> None:
        self._source = ImageSource(project.url, project.token, media=media, project=project.id)
        self._addresses = addresses

    def read_pieces(
        self, group: ImageGroup, images: Collection[int], skipped: list[Skipped]
    ) -> Iterator[Piece]:
        """See `Pixels`."""
        numbers = sorted(images)
        addresses = [self._addresses[group.name, number] for number in numbers]
        for place, content in self._source.fetch(addresses):
            number = numbers[place]
            image = group.images[number]
            try:
                if isinstance(content, Exception):
                    raise content
                pixels = decode(content)
            except UnreadableImage as error:
                skipped.append({"source": image.name, "reason": error.reason})
                continue
            yield Piece(number, image.plane, image.left, image.top, pixels)
