"""A project's annotations, read once, as an immutable list of what is trained on.

The snapshot's name is the hash of its content: the same annotations, in any order,
give the same name. Labels are written by us, not by the server's YOLO export, which
turns tasks that nobody annotated into negatives.
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
    Chosen,
    Policy,
    agreement,
    choices_of_regions,
    choose,
    counted,
    settle,
    settle_choices,
)
from ml_backend.dataset.corrections import Deleted, Shown, deleted
from ml_backend.dataset.example import Example
from ml_backend.dataset.split import (
    SIDES,
    Place,
    Side,
    around,
    assign,
    assign_tile,
    group_of,
    leaking,
    place_of,
    shown_in,
)
from ml_backend.imaging.boxes import Boxes, compute_overlap_of_smaller
from ml_backend.imaging.pixel_size import read_task_pixel_size
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.system.atomic_files import read_json, write_json

Row = tuple[float, float, float, float, str]

# A removed box that shares this much of the smaller of the two with a box that stayed was
# removed as its double, or as badly drawn: something is there.
_SOMETHING = 0.5


@dataclass(frozen=True)
class Item:
    """One corrected task in a snapshot.

    image: the fetched file, relative to the images folder. image_hash: its SHA-256.
    boxes: x1, y1, x2, y2 in pixels of the image as shown, and the label; empty means that
    somebody looked and found nothing. problems: what was not taken over as it is, in words.
    annotations: of all annotators, `annotation` first. agreement: of several annotators,
    see `dataset.annotators`. blind: nothing was drawn on it before.
    place: of a tile in its scan. deleted: pre-annotations that were removed, where no box
    lies in their place: what looks like an object and is none. pixel_size: µm that a pixel
    shows, where it is known. choices: of the image as a whole, None where nothing was chosen.
    region_choices: of each of the boxes, in their order; () where no region has one.
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
    deleted: tuple[Deleted, ...] = ()
    pixel_size: float | None = None
    choices: tuple[str, ...] | None = None
    region_choices: tuple[tuple[str, ...], ...] = ()

    @property
    def groups(self) -> set[str]:
        """Its group, and those of all tiles that it shows, where it is stitched from several."""
        return {self.group} | (shown_in(self.place) if self.place else set())

    @property
    def surroundings(self) -> set[str]:
        """Its group, and those of the tiles beside it, which show some of the same."""
        return {self.group} | (around(self.place) if self.place else set())


@dataclass(frozen=True)
class Snapshot:
    """name: the hash of all below but `lost`.

    labels: of rectangles. choices: classes of whole images. left_out: corrected tasks that
    could not be used, and why. lost: held-out tasks of the snapshot before that are not held
    out in this one, and why.
    """

    name: str
    project: int
    labels: tuple[str, ...]
    items: tuple[Item, ...]
    left_out: tuple[tuple[int, str], ...]
    lost: tuple[tuple[int, str], ...] = ()
    choices: tuple[str, ...] = ()

    def side(self, side: Side) -> list[Item]:
        return [item for item in self.items if item.split == side]

    def one_sided(self) -> str:
        """What to do where nothing is there to train on, or to judge by; '' where both are."""
        sides = {item.split for item in self.items}
        groups = len({item.group for item in self.items})
        of = f"all {len(self.items)} corrected tasks, of {groups} group{'s' * (groups > 1)},"
        if sides and "train" not in sides:
            return f"{of} are kept apart for judging: correct tasks whose 'split' is 'train'"
        if sides and "holdout" not in sides:
            return (
                f"{of} are for training, none is kept apart for judging: versions are judged on "
                "tasks lent from training; to be surer, correct tasks whose 'split' is 'holdout'"
            )
        return ""

    def counts(self) -> dict[str, int]:
        """Boxes by label."""
        counts = dict.fromkeys(self.labels, 0)
        for item in self.items:
            for row in item.boxes:
                counts[row[4]] = counts.get(row[4], 0) + 1
        return counts

    def summary(self) -> dict[str, Any]:
        """For the manifest: tasks and boxes by side, and how far several annotators agree."""
        several = [item.agreement for item in self.items if item.agreement is not None]
        return {
            "tasks": {side: len(self.side(side)) for side in SIDES},
            "boxes": self.counts(),
            "boxes_by_side": {
                side: replace(self, items=tuple(self.side(side))).counts() for side in SIDES
            },
            "deleted": dict(Counter(gone.label for item in self.items for gone in item.deleted)),
            "several_annotators": len(several),
            "agreement": fmean(several) if several else None,
            "with_problems": sum(bool(item.problems) for item in self.items),
        }


@dataclass(frozen=True)
class Fetched:
    """A task's image on disk: its path below the images folder, SHA-256, (width, height)."""

    path: str
    sha256: str
    size: tuple[int, int]


def corrected_since(chosen: Sequence[Chosen], snapshot: Snapshot | None) -> int:
    """How many tasks were corrected, or corrected again, since the snapshot."""
    known = {(i.task, i.annotation, i.updated) for i in snapshot.items} if snapshot else set()
    if snapshot:
        # What could not be used then is not new now.
        left_out = {task for task, _ in snapshot.left_out}
        chosen = [one for one in chosen if one.task not in left_out]
    return sum((one.task, one.annotation, one.updated) not in known for one in chosen)


def to_item(
    one: Chosen,
    labels: LabelingConfig,
    image: Fetched,
    holdout_share: float,
    policy: Policy = "newest",
    shown: Mapping[int, Shown] | None = None,
) -> Item:
    """A corrected task as an item.

    The side is what the task's data says since its creation; tasks that were there
    before cytoloop was connected get theirs by the same hash. shown: what annotations
    started from, by their id.
    """
    read = [labels.read_boxes(result, *image.size) for result in one.results]
    drawn = [boxes for boxes, _ in read]
    chosen = [labels.read_choices(result) for result in one.results]
    several = counted(one, policy)
    boxes = settle(drawn[:several], policy)
    problems = [said for _, told in read[:several] for said in told]
    removed = {
        gone
        for number, result in list(zip(one.annotations, one.results, strict=True))[:several]
        if shown and number in shown
        for gone in deleted(shown[number].result, result, labels, image.size)
    }
    group = group_of(one.data, str(one.data.get(labels.image_key, "")))
    split = one.data.get("split")
    p, reason = one.data.get("sampling_p"), one.data.get("sampling_reason")
    if split not in SIDES:
        place = place_of(one.data)
        assignment = assign_tile(place, holdout_share) if place else assign(group, holdout_share)
        split, p, reason = assignment.side, assignment.probability, assignment.reason
    rows = [
        (round(x1, 2), round(y1, 2), round(x2, 2), round(y2, 2), label)
        for x1, y1, x2, y2, label, _ in boxes.to_rows()
    ]
    within = choices_of_regions(one.results[:several], labels, boxes, image.size)
    order = sorted(range(len(rows)), key=lambda i: (rows[i], within[i]))
    return Item(
        task=one.task,
        annotation=one.annotation,
        updated=one.updated,
        image=image.path,
        image_hash=image.sha256,
        group=group,
        split=split,
        sampling_p=None if p is None else float(p),
        sampling_reason=str(reason or ""),
        boxes=tuple(rows[i] for i in order),
        problems=tuple(problems),
        annotations=one.annotations,
        agreement=agreement(drawn),
        blind=bool(one.data.get("blind")),
        place=place_of(one.data),
        deleted=_of_nothing(removed, drawn[:several]),
        pixel_size=read_task_pixel_size(one.data),
        choices=settle_choices(chosen[:several], policy),
        region_choices=tuple(within[i] for i in order) if any(within) else (),
    )


def _of_nothing(removed: Iterable[Deleted], drawn: Sequence[Boxes]) -> tuple[Deleted, ...]:
    """The removed boxes in whose place no annotator who counts has left or drawn another."""
    kept = np.concatenate([boxes.xyxy for boxes in drawn])
    return tuple(
        gone
        for gone in sorted(removed)
        if compute_overlap_of_smaller(np.array([gone[:4]]), kept).max(initial=0) < _SOMETHING
    )


def build(
    project: int,
    labels: Sequence[str],
    items: Iterable[Item],
    left_out: Iterable[tuple[int, str]],
    choices: Sequence[str] = (),
) -> Snapshot:
    """A snapshot with its name, from items in any order."""
    snapshot = Snapshot(
        "",
        project,
        tuple(labels),
        tuple(sorted(items, key=lambda item: item.task)),
        tuple(sorted(left_out)),
        choices=tuple(choices),
    )
    content = {key: value for key, value in asdict(snapshot).items() if key != "lost"}
    # Without choices a snapshot is called what it was called before there were any.
    for part in (content, *content["items"]):
        for key in ("choices", "region_choices"):
            if not part.get(key):
                part.pop(key, None)
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return replace(snapshot, name=hashlib.sha256(text.encode("utf-8")).hexdigest()[:16])


def take(
    project: int,
    tasks: Iterable[dict[str, Any]],
    labels: LabelingConfig,
    fetch: Callable[[Sequence[Chosen]], Iterable[Fetched | Exception]],
    holdout_share: float,
    policy: Policy = "newest",
    shown: Mapping[int, Shown] | None = None,
) -> Snapshot:
    """Read the corrected tasks into a snapshot.

    fetch: gives, for each chosen task in order, its image or why there is none. policy: what
    counts of several annotators; a ground truth always does. shown: what annotations
    started from, by their id.
    """
    chosen = choose(tasks)
    places = {one.task: place_of(one.data) for one in chosen}
    items: list[Item] = []
    left_out: list[tuple[int, str]] = []
    for one, got in zip(chosen, fetch(chosen), strict=True):
        if isinstance(got, Exception):
            left_out.append((one.task, str(got)))
        else:
            items.append(to_item(one, labels, got, holdout_share, policy, shown))
    apart = leaking((item.task, item.split, item.group, places[item.task]) for item in items)
    items = [
        replace(
            item,
            split="buffer",
            problems=(*item.problems, f"neither trains nor judges: {apart[item.task]}"),
        )
        if item.task in apart
        else item
        for item in items
    ]
    return build(project, labels.values, items, left_out, labels.choice_values)


def lost(
    snapshot: Snapshot, before: Snapshot | None, present: Callable[[Sequence[int]], Collection[int]]
) -> Snapshot:
    """The snapshot, with what its hold-out lost since the one before.

    present: which of these tasks are still in the project.
    """
    kept = {item.task for item in snapshot.side("holdout")}
    gone = sorted(i.task for i in before.side("holdout") if i.task not in kept) if before else []
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


def save(snapshot: Snapshot, folder: Path) -> Path:
    """Write the manifest; one that is there already differs at most in what was lost before."""
    path = folder / f"{snapshot.name}.json"
    known = load(snapshot.name, folder)
    if known is None or set(snapshot.lost) - set(known.lost):
        losses = {**dict(known.lost if known else ()), **dict(snapshot.lost)}
        manifest = replace(snapshot, lost=tuple(sorted(losses.items())))
        write_json(path, {"summary": snapshot.summary(), **asdict(manifest)})
    return path


def load(name: str, folder: Path) -> Snapshot | None:
    """The snapshot of that name; None where it is not kept here."""
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
                "deleted": tuple(Deleted(*row) for row in item.get("deleted", ())),
                "choices": tuple(item["choices"]) if item.get("choices") else None,
                "region_choices": tuple(map(tuple, item.get("region_choices", ()))),
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
    """An item as an example; images: the folder of fetched images."""
    return Example(
        images / item.image,
        item.group,
        Boxes.from_rows(item.boxes),
        deleted=np.array([gone[:4] for gone in item.deleted], np.float32).reshape(-1, 4),
        pixel_size=item.pixel_size,
        choices=item.choices,
        region_choices=item.region_choices,
    )
