"""What was seen, each object once, and how many there are of each class in each scan. Pure.

A count says whose it is: *reviewed* objects are on images that a person submitted,
*detected* ones were drawn by the detector on images that nobody has reviewed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ml_backend.imaging.merge_detections import WindowDetections, merge_planes, merge_windows

# A box that ends so near to where its image ends, in px, is cut there.
EDGE = 2.0

State = Literal["reviewed", "detected", "waiting"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thing:
    """An object. box: x1, y1, x2, y2 in px of its field.

    confidence: 0..1; None where a person submitted it. look: the number of the image in its
    field that shows it best. partial: it touches the outer edge, or no image shows all of it.
    """

    label: str
    box: Box
    confidence: float | None
    plane: int = 0
    partial: bool = False
    look: int = 0


@dataclass(frozen=True)
class Look:
    """An image that can be looked at, as a task shows it or the detector saw it.

    left, top: its place in the field, px. state: reviewed by a person, detected on, or
    neither yet. things: what is on it, px of the field. shown: what the detector had drawn
    on a reviewed one; None where nothing is known of that. weight: how many images of the
    scan it stands for, where only a sample of them was sent for review.
    """

    name: str
    left: float
    top: float
    width: int
    height: int
    state: State
    things: tuple[Thing, ...] = ()
    shown: tuple[Thing, ...] | None = None
    plane: int = 0
    weight: float = 1.0

    @property
    def view(self) -> Box:
        return self.left, self.top, self.left + self.width, self.top + self.height


@dataclass(frozen=True)
class Field:
    """Images with common coordinates: a scan with its tiles, or a single image.

    scan: what it is counted under. things: each once, though several images show it; on
    what a person reviewed, the person's word counts. shown: what the detector had drawn on
    the reviewed images, each once. pixel_size: micrometres, where it is known.
    """

    name: str
    scan: str
    looks: tuple[Look, ...]
    things: tuple[Thing, ...]
    shown: tuple[Thing, ...]
    pixel_size: float | None = None

    @property
    def width(self) -> int:
        return int(max((look.left + look.width for look in self.looks), default=0))

    @property
    def height(self) -> int:
        return int(max((look.top + look.height for look in self.looks), default=0))

    def reviewed(self, thing: Thing) -> bool:
        return self.looks[thing.look].state == "reviewed"


@dataclass(frozen=True)
class Count:
    """How many objects of a class a scan holds.

    images, reviewed_images: of the scan; waiting_images: neither reviewed nor detected on.
    reviewed: on reviewed images. pre_annotated, submitted: drawn by the detector and by a
    person on those reviewed images of which it is known what the detector drew. detected: on
    the images that nobody reviewed. partial: of reviewed and detected, those cut.
    """

    scan: str
    label: str
    images: int
    reviewed_images: int
    waiting_images: int
    reviewed: int
    pre_annotated: int
    submitted: int
    detected: int
    partial: int


def field(name: str, scan: str, looks: Sequence[Look], pixel_size: float | None = None) -> Field:
    """A field from its images, with each object once."""
    made = Field(name, scan, tuple(looks), (), (), pixel_size)
    if len(looks) == 1:
        (look,) = looks
        things = tuple(replace(one, partial=one.partial or _cut(one, made)) for one in look.things)
        return replace(made, things=things, shown=look.shown or ())
    reviewed = _once(made, lambda look: look.things if look.state == "reviewed" else ())
    shown = _once(made, lambda look: look.shown or ())
    detected = _once(made, lambda look: look.things if look.state == "detected" else ())
    return replace(
        made,
        things=(*reviewed, *_outside(detected, made)),
        shown=tuple(shown),
    )


def _cut(thing: Thing, on: Field) -> bool:
    left, top, right, bottom = thing.box
    return min(left, top) <= EDGE or right >= on.width - EDGE or bottom >= on.height - EDGE


def _once(on: Field, of: Callable[[Look], Sequence[Thing]]) -> list[Thing]:
    """Each object once, of those that several images or planes show."""
    planes = sorted({look.plane for look in on.looks if of(look)})
    merged = []
    for plane in planes:
        rows = [(one, look) for look in on.looks if look.plane == plane for one in of(look)]
        found = WindowDetections(
            np.array([one.box for one, _ in rows], np.float64),
            np.array([one.label for one, _ in rows]),
            np.array([1.0 if one.confidence is None else one.confidence for one, _ in rows]),
            np.array([look.view for _, look in rows], np.float64),
        )
        merged.append(merge_windows(found, on.width, on.height, EDGE))
    if not merged:
        return []
    objects, places = merge_planes(merged)
    drawn = [number for number, look in enumerate(on.looks) if of(look)]
    by_hand = all(one.confidence is None for number in drawn for one in of(on.looks[number]))
    things = []
    for box, label, confidence, partial, place in zip(
        objects.xyxy.tolist(),
        objects.label,
        objects.confidence.tolist(),
        objects.partial,
        places.tolist(),
        strict=True,
    ):
        plane = planes[place]
        look = _nearest(box, [n for n in drawn if on.looks[n].plane == plane], on)
        things.append(
            Thing(
                str(label),
                tuple(box),
                None if by_hand else confidence,
                plane,
                bool(partial),
                look,
            )
        )
    return things


def _nearest(box: Sequence[float], among: Sequence[int], on: Field) -> int:
    """The image in whose middle the box lies most nearly."""

    def distance(number: int) -> float:
        left, top, right, bottom = on.looks[number].view
        return abs(box[0] + box[2] - left - right) + abs(box[1] + box[3] - top - bottom)

    return min(among, key=distance)


def _outside(things: Sequence[Thing], on: Field) -> list[Thing]:
    """Those whose middle lies on no image that a person reviewed."""
    settled = [look.view for look in on.looks if look.state == "reviewed"]
    if not settled or not things:
        return list(things)
    boxes = np.array([one.box for one in things])
    middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    views = np.array(settled)[None]
    inside = ((middle >= views[..., :2]) & (middle < views[..., 2:])).all(axis=2).any(axis=1)
    return [one for one, known in zip(things, inside, strict=True) if not known]


def counts(fields: Iterable[Field], classes: Sequence[str]) -> list[Count]:
    """By scan, in the order of the fields, and by class, in the order given; with the zeros."""
    scans: dict[str, list[Field]] = {}
    for one in fields:
        scans.setdefault(one.scan, []).append(one)
    rows = []
    for scan, members in scans.items():
        states = Counter(look.state for one in members for look in one.looks)
        reviewed: Counter[str] = Counter()
        detected: Counter[str] = Counter()
        partial: Counter[str] = Counter()
        submitted: Counter[str] = Counter()
        for one in members:
            for thing in one.things:
                submitted[thing.label] += one.looks[thing.look].shown is not None
                (reviewed if one.reviewed(thing) else detected)[thing.label] += 1
                partial[thing.label] += thing.partial
        shown = Counter(thing.label for one in members for thing in one.shown)
        rows += [
            Count(
                scan,
                label,
                states.total(),
                states["reviewed"],
                states["waiting"],
                reviewed[label],
                shown[label],
                submitted[label],
                detected[label],
                partial[label],
            )
            for label in classes
        ]
    return rows
