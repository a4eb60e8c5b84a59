"""Snapshots: a project's annotations, read once, as an immutable list of training data.

A snapshot's name is the hash of its content: the same annotations, in any order, give the same
name. The annotations are read directly, not through the server's YOLO export, which turns tasks
that nobody annotated into negatives.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ml_backend.dataset.consensus import (
    Policy,
    Submission,
    collect_submissions,
    count_deciding,
    count_votes,
    measure_agreement,
    settle_boxes,
    settle_choices,
    settle_region_choices,
)
from ml_backend.dataset.corrections import DeletedRegion, ShownRegions, find_deleted_regions
from ml_backend.dataset.example import Example
from ml_backend.dataset.split import (
    SIDES,
    Place,
    Side,
    assign,
    assign_tile,
    find_leaking,
    list_near_groups,
    list_shown_groups,
    read_group,
    read_place,
)
from ml_backend.imaging.boxes import Boxes, compute_overlap_of_smaller
from ml_backend.imaging.pixel_size import parse_pixel_size, read_task_pixel_size
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.system.atomic_files import read_json, write_json
from ml_backend.system.numbers import parse_number

Row = tuple[float, float, float, float, str]

# A removed box that shares this much of the smaller of the two with a box that stayed was
# removed as a duplicate, or because it was placed badly: an object is there.
_SAME_OBJECT = 0.5


@dataclass(frozen=True)
class Item:
    """One corrected task in a snapshot.

    Attributes:
        task: Label Studio's id of the task.
        annotation: The id of the annotation that counts, see `consensus.Submission`.
        updated: When it was last changed, as Label Studio writes it.
        image: The fetched file, relative to the images folder.
        image_hash: Its SHA-256.
        group: What must stay on one side of the split.
        split: The side.
        sampling_p: The probability with which the task was assigned to it, 0..1, where known.
        sampling_reason: Why, in words.
        boxes: x1, y1, x2, y2 in pixels of the image as shown, and the label; empty means that
            somebody looked and found nothing.
        problems: What was not taken over as it is, in words.
        annotations: Ids of the annotations of all annotators, `annotation` first.
        agreement: Of several annotators, see `consensus.measure_agreement`.
        blind: It was shown without pre-annotations.
        place: Of a tile in its scan.
        deleted: Pre-annotations that were removed, where no box lies in their place: what looks
            like an object and is none.
        pixel_size: µm that a pixel shows, where it is known.
        choices: Of the image as a whole; None where nothing was chosen.
        region_choices: Of each of the boxes, in their order; () where no region has one.
        choice_shares: The share of annotators who chose each class, 0..1, where they disagree and
            soft labels are asked for; else ().
    """

    task: int
    annotation: int
    updated: str
    image: str
    image_hash: str
    group: str
    split: Side
    sampling_p: float | None
    sampling_reason: str
    boxes: tuple[Row, ...]
    problems: tuple[str, ...] = ()
    annotations: tuple[int, ...] = ()
    agreement: float | None = None
    blind: bool = False
    place: Place | None = None
    deleted: tuple[DeletedRegion, ...] = ()
    pixel_size: float | None = None
    choices: tuple[str, ...] | None = None
    region_choices: tuple[tuple[str, ...], ...] = ()
    choice_shares: tuple[tuple[str, float], ...] = ()

    @property
    def groups(self) -> set[str]:
        """Its group, and those of all tiles that its image shows."""
        return {self.group} | (list_shown_groups(self.place) if self.place else set())

    @property
    def surroundings(self) -> set[str]:
        """Its group, and those of the tiles beside it, which show some of the same cells."""
        return {self.group} | (list_near_groups(self.place) if self.place else set())


@dataclass(frozen=True)
class Snapshot:
    """The corrected tasks of a project at one time.

    Attributes:
        name: The hash of all below but `lost`.
        project: Label Studio's id of the project.
        labels: Of rectangles.
        items: The tasks, in order of their ids.
        left_out: Corrected tasks that could not be used, and why.
        lost: Held-out tasks of the snapshot before that are not held out in this one, and why.
        choices: Classes of whole images.
    """

    name: str
    project: int
    labels: tuple[str, ...]
    items: tuple[Item, ...]
    left_out: tuple[tuple[int, str], ...]
    lost: tuple[tuple[int, str], ...] = ()
    choices: tuple[str, ...] = ()

    def select_side(self, side: Side) -> list[Item]:
        """Select the tasks of one side."""
        return [item for item in self.items if item.split == side]

    def describe_missing_side(self) -> str:
        """Say what to do where a side is empty: nothing to train on, or nothing to judge by.

        Returns:
            A sentence; "" where neither side is empty, or both are.
        """
        sides = {item.split for item in self.items}
        groups = len({item.group for item in self.items})
        tasks = f"all {len(self.items)} corrected tasks, of {groups} group{'s' * (groups > 1)},"
        if sides and "train" not in sides:
            return f"{tasks} are kept apart for judging: correct tasks whose 'split' is 'train'"
        if sides and "holdout" not in sides:
            return (
                f"{tasks} are for training, none is kept apart for judging: versions are judged on "
                "tasks lent from training; to be surer, correct tasks whose 'split' is 'holdout'"
            )
        return ""

    def count_boxes(self) -> dict[str, int]:
        """Count the boxes by label."""
        counts = dict.fromkeys(self.labels, 0)
        for item in self.items:
            for row in item.boxes:
                counts[row[4]] = counts.get(row[4], 0) + 1
        return counts

    def summarize(self) -> dict[str, Any]:
        """Summarize for the manifest: tasks and boxes by side, and how far annotators agree."""
        several = [item.agreement for item in self.items if item.agreement is not None]
        return {
            "tasks": {side: len(self.select_side(side)) for side in SIDES},
            "boxes": self.count_boxes(),
            "boxes_by_side": {
                side: replace(self, items=tuple(self.select_side(side))).count_boxes()
                for side in SIDES
            },
            "deleted": dict(
                Counter(region.label for item in self.items for region in item.deleted)
            ),
            "several_annotators": len(several),
            "agreement": fmean(several) if several else None,
            "with_problems": sum(bool(item.problems) for item in self.items),
        }


@dataclass(frozen=True)
class FetchedImage:
    """A task's image on disk.

    Attributes:
        path: Relative to the images folder.
        sha256: Of the file.
        size: Width and height in pixels as shown.
    """

    path: str
    sha256: str
    size: tuple[int, int]


def count_corrected_since(submissions: Sequence[Submission], snapshot: Snapshot | None) -> int:
    """Count the tasks that were corrected, or corrected again, since the snapshot."""
    if snapshot is None:
        return len(submissions)
    known = {(item.task, item.annotation, item.updated) for item in snapshot.items}
    # What could not be used then is not new now.
    left_out = {task for task, _ in snapshot.left_out}
    return sum(
        made.task not in left_out and (made.task, made.annotation, made.updated) not in known
        for made in submissions
    )


def to_item(
    submission: Submission,
    labels: LabelingConfig,
    image: FetchedImage,
    holdout_share: float,
    policy: Policy = "newest",
    shown: Mapping[int, ShownRegions] | None = None,
    soft_labels: bool = False,
) -> Item:
    """Convert a corrected task to an item.

    Args:
        submission: What was submitted for the task. The side is what the task's data says since
            its creation; tasks that were there before cytoloop was connected get theirs by the
            same hash.
        labels: Those of the project.
        image: Its image.
        holdout_share: Share of the groups that is held out, 0..1.
        policy: Which of several annotators count.
        shown: What annotations started from, by annotation id.
        soft_labels: Keep how many annotators chose each class of the image, where they disagree.
    """
    data = submission.data
    read = [labels.read_boxes(result, *image.size) for result in submission.results]
    annotated = [boxes for boxes, _ in read]
    chosen = [labels.read_choices(result) for result in submission.results]
    deciding = count_deciding(submission, policy)
    results = submission.results[:deciding]
    boxes = settle_boxes(annotated[:deciding], policy)
    problems = [problem for _, of_annotation in read[:deciding] for problem in of_annotation]
    problems += _describe_bad_numbers(data)
    removed = {
        region
        for number, result in zip(submission.annotations[:deciding], results, strict=True)
        if shown and number in shown
        for region in find_deleted_regions(shown[number].result, result, labels, image.size)
    }
    group, place = read_group(data, str(data.get(labels.image_key, ""))), read_place(data)
    split = data.get("split")
    p, reason = data.get("sampling_p"), data.get("sampling_reason")
    if split not in SIDES:
        assignment = assign_tile(place, holdout_share) if place else assign(group, holdout_share)
        split, p, reason = assignment.side, assignment.probability, assignment.reason
    rows = [
        (round(x1, 2), round(y1, 2), round(x2, 2), round(y2, 2), label)
        for x1, y1, x2, y2, label, _ in boxes.to_rows()
    ]
    within = settle_region_choices(results, labels, boxes, image.size)
    order = sorted(range(len(rows)), key=lambda i: (rows[i], within[i]))
    return Item(
        task=submission.task,
        annotation=submission.annotation,
        updated=submission.updated,
        image=image.path,
        image_hash=image.sha256,
        group=group,
        split=split,
        sampling_p=parse_number(p, 0, 1),
        sampling_reason=str(reason or ""),
        boxes=tuple(rows[i] for i in order),
        problems=tuple(problems),
        annotations=submission.annotations,
        agreement=measure_agreement(annotated),
        blind=bool(data.get("blind")),
        place=place,
        deleted=_keep_empty_places(removed, annotated[:deciding]),
        pixel_size=read_task_pixel_size(data),
        choices=settle_choices(chosen[:deciding], policy),
        region_choices=tuple(within[i] for i in order) if any(within) else (),
        choice_shares=_share_votes(submission, chosen) if soft_labels else (),
    )


def _share_votes(
    submission: Submission, chosen: Sequence[tuple[str, ...] | None]
) -> tuple[tuple[str, float], ...]:
    """The share of annotators who chose each class; () where all agree or one of them decided."""
    votes = {} if submission.settled else count_votes(chosen)
    return tuple(votes.items()) if any(share < 1 for share in votes.values()) else ()


def _describe_bad_numbers(data: Mapping[str, Any]) -> list[str]:
    """Say which numbers of a task's data are none; they are then not known."""
    read = {
        "pixel_size": parse_pixel_size(data.get("pixel_size")),
        "sampling_p": parse_number(data.get("sampling_p"), 0, 1),
        # A place is read as a whole, and only where a scan is named.
        "row or column": read_place(data) if data.get("scan") else None,
    }
    given = {name: data.get(name) for name in ("pixel_size", "sampling_p")}
    given["row or column"] = data.get("row") if data.get("scan") else None
    return [
        f"the {name} in its data is no number that it can be"
        for name, value in read.items()
        if value is None and given[name] not in (None, "")
    ]


def _keep_empty_places(
    removed: Iterable[DeletedRegion], annotated: Sequence[Boxes]
) -> tuple[DeletedRegion, ...]:
    """Keep the removed boxes in whose place no deciding annotator has a box."""
    kept = np.concatenate([boxes.xyxy for boxes in annotated])
    return tuple(
        region
        for region in sorted(removed)
        if compute_overlap_of_smaller(np.array([region[:4]]), kept).max(initial=0) < _SAME_OBJECT
    )


def build_snapshot(
    project: int,
    labels: Sequence[str],
    items: Iterable[Item],
    left_out: Iterable[tuple[int, str]],
    choices: Sequence[str] = (),
) -> Snapshot:
    """Build a snapshot, and its name, from items in any order; see `Snapshot` for the arguments."""
    snapshot = Snapshot(
        "",
        project,
        tuple(labels),
        tuple(sorted(items, key=lambda item: item.task)),
        tuple(sorted(left_out)),
        choices=tuple(choices),
    )
    content = {key: value for key, value in asdict(snapshot).items() if key != "lost"}
    # A snapshot without these keeps the name that it had before there were any.
    for part in (content, *content["items"]):
        for key in ("choices", "region_choices", "choice_shares"):
            if not part.get(key):
                part.pop(key, None)
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return replace(
        snapshot, name=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    )


def take_snapshot(
    project: int,
    tasks: Iterable[dict[str, Any]],
    labels: LabelingConfig,
    fetch: Callable[[Sequence[Submission]], Iterable[FetchedImage | Exception]],
    holdout_share: float,
    policy: Policy = "newest",
    shown: Mapping[int, ShownRegions] | None = None,
    soft_labels: bool = False,
) -> Snapshot:
    """Read the corrected tasks into a snapshot.

    Args:
        project: Label Studio's id of the project.
        tasks: Label Studio's, with annotations.
        labels: Those of the project.
        fetch: Gives, for each submission in order, its image or why there is none.
        holdout_share: Share of the groups that is held out, 0..1.
        policy: Which of several annotators count; a ground truth always does.
        shown: What annotations started from, by annotation id.
        soft_labels: See `to_item`.
    """
    submissions = collect_submissions(tasks)
    items: list[Item] = []
    left_out: list[tuple[int, str]] = []
    for submission, image in zip(submissions, fetch(submissions), strict=True):
        if isinstance(image, Exception):
            left_out.append((submission.task, str(image)))
        else:
            items.append(
                to_item(submission, labels, image, holdout_share, policy, shown, soft_labels)
            )
    leaking = find_leaking((item.task, item.split, item.group, item.place) for item in items)
    items = [
        replace(
            item,
            split="buffer",
            problems=(*item.problems, f"neither trains nor judges: {leaking[item.task]}"),
        )
        if item.task in leaking
        else item
        for item in items
    ]
    return build_snapshot(project, labels.values, items, left_out, labels.choice_values)


def add_lost_tasks(
    snapshot: Snapshot, before: Snapshot | None, present: Callable[[Sequence[int]], Collection[int]]
) -> Snapshot:
    """Add to a snapshot what its hold-out lost since the one before.

    Args:
        snapshot: The new one.
        before: The one before, where there is one.
        present: Tells which of these tasks are still in the project.
    """
    kept = {item.task for item in snapshot.select_side("holdout")}
    held = {item.task for item in before.select_side("holdout")} if before else set()
    gone = sorted(held - kept)
    if not gone:
        return snapshot
    side = {item.task: item.split for item in snapshot.items}
    unused = dict(snapshot.left_out)
    there = set(present([task for task in gone if task not in side and task not in unused]))
    why = dict.fromkeys(there, "its annotation was deleted or skipped")
    why |= {task: f"left out: {reason}" for task, reason in unused.items()}
    why |= {task: f"its side is {now!r} now" for task, now in side.items()}
    reasons = tuple((task, why.get(task, "the task was deleted")) for task in gone)
    return replace(snapshot, lost=reasons)


def save_snapshot(snapshot: Snapshot, folder: Path) -> Path:
    """Write the manifest; one that is there already differs at most in what was lost before.

    Args:
        snapshot: The snapshot.
        folder: Of the manifests.

    Returns:
        The manifest's file.
    """
    path = folder / f"{snapshot.name}.json"
    known = load_snapshot(snapshot.name, folder)
    if known is None or set(snapshot.lost) - set(known.lost):
        losses = {**dict(known.lost if known else ()), **dict(snapshot.lost)}
        manifest = replace(snapshot, lost=tuple(sorted(losses.items())))
        write_json(path, {"summary": snapshot.summarize(), **asdict(manifest)})
    return path


def load_snapshot(name: str, folder: Path) -> Snapshot | None:
    """Load the snapshot of that name; None where it is not in the folder."""
    value = read_json(folder / f"{name}.json")
    if value is None:
        return None
    items = tuple(
        Item(
            **{
                **item,
                "boxes": tuple(tuple(row) for row in item["boxes"]),
                "problems": tuple(item["problems"]),
                "annotations": tuple(item.get("annotations", ())),
                "place": Place(*item["place"]) if item.get("place") else None,
                "deleted": tuple(DeletedRegion(*row) for row in item.get("deleted", ())),
                "choices": tuple(item["choices"]) if item.get("choices") else None,
                "region_choices": tuple(map(tuple, item.get("region_choices", ()))),
                "choice_shares": tuple(map(tuple, item.get("choice_shares", ()))),
            }
        )
        for item in value["items"]
    )
    return Snapshot(
        value["name"],
        value["project"],
        tuple(value["labels"]),
        items,
        tuple((task, reason) for task, reason in value["left_out"]),
        tuple((task, reason) for task, reason in value.get("lost", ())),
        tuple(value.get("choices", ())),
    )


def to_example(item: Item, images: Path) -> Example:
    """Convert an item to an example.

    Args:
        item: The item.
        images: The folder of fetched images.
    """
    return Example(
        images / item.image,
        item.group,
        Boxes.from_rows(item.boxes),
        deleted=np.array([region[:4] for region in item.deleted], np.float32).reshape(-1, 4),
        pixel_size=item.pixel_size,
        choices=item.choices,
        region_choices=item.region_choices,
        choice_shares=dict(item.choice_shares),
    )
