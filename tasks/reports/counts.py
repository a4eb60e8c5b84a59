"""How many objects of each class each scan holds, every object counted once. Pure functions.

*Reviewed* objects are on images that a person submitted. *Detected* objects were found by the
detector on images that nobody has reviewed.
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
class MarkedObject:
    """An object that a person or the detector marked.

    Attributes:
        label: Its class.
        box: x1, y1, x2, y2 in px of its group of images.
        confidence: 0..1; None where a person submitted it.
        plane: The plane of a z-stack that it is on, from 0.
        partial: Whether it touches the outer edge, or no image shows all of it.
        image: The number, in its group, of the image that shows it best.
        whole: It is the image as a whole, which is called so.
    """

    label: str
    box: Box
    confidence: float | None
    plane: int = 0
    partial: bool = False
    image: int = 0
    whole: bool = False


@dataclass(frozen=True)
class ReportImage:
    """An image, as a task shows it or as the detector saw it.

    Attributes:
        name: As the report calls it.
        left: Its place in its group, px.
        top: The same, downwards.
        width: Its size, px.
        height: Its size, px.
        state: Reviewed by a person, detected in, or waiting for either.
        objects: What is marked on it, in px of its group.
        pre_annotated: What the detector had marked on a reviewed image; None where that is
            not known.
        plane: The plane of a z-stack that it shows, from 0.
        weight: How many images of the scan it stands for, where only a sample of them was
            sent for review.
    """

    name: str
    left: float
    top: float
    width: int
    height: int
    state: State
    objects: tuple[MarkedObject, ...] = ()
    pre_annotated: tuple[MarkedObject, ...] | None = None
    plane: int = 0
    weight: float = 1.0

    @property
    def rect(self) -> Box:
        """The part of its group that it shows: x1, y1, x2, y2 in px."""
        return self.left, self.top, self.left + self.width, self.top + self.height


@dataclass(frozen=True)
class ImageGroup:
    """Images with common coordinates: the tiles of a scan, or a single image.

    Attributes:
        name: As the report calls it.
        scan: The scan or sample that it is counted under.
        images: All its images.
        objects: Each once, though several images show it. On what a person reviewed, only
            the person's objects are there.
        pre_annotated: What the detector had marked on the reviewed images, each once.
        pixel_size: µm; None where it is not known.
    """

    name: str
    scan: str
    images: tuple[ReportImage, ...]
    objects: tuple[MarkedObject, ...]
    pre_annotated: tuple[MarkedObject, ...]
    pixel_size: float | None = None

    @property
    def width(self) -> int:
        """Its width, px."""
        return int(max((image.left + image.width for image in self.images), default=0))

    @property
    def height(self) -> int:
        """Its height, px."""
        return int(max((image.top + image.height for image in self.images), default=0))

    def is_reviewed(self, marked: MarkedObject) -> bool:
        """Whether a person submitted the image of this object."""
        return self.images[marked.image].state == "reviewed"


@dataclass(frozen=True)
class Count:
    """How many objects of a class a scan holds.

    Attributes:
        scan: The scan or sample.
        label: The class.
        images: All images of the scan.
        reviewed_images: Those that a person submitted.
        waiting_images: Those neither reviewed nor detected in.
        reviewed: Objects on reviewed images.
        pre_annotated: Objects that the detector had marked on those reviewed images of which
            that is known.
        submitted: Objects that a person submitted on the same images.
        detected: Objects on images that nobody has reviewed.
        partial: Of reviewed and detected, those that are cut.
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


def group_images(
    name: str, scan: str, images: Sequence[ReportImage], pixel_size: float | None = None
) -> ImageGroup:
    """Group images with common coordinates, and take each object once.

    Args:
        name: The name of the group.
        scan: The scan or sample that it is counted under.
        images: One or more.
        pixel_size: µm; None where it is not known.
    """
    group = ImageGroup(name, scan, tuple(images), (), (), pixel_size)
    if len(images) == 1:
        (image,) = images
        objects = tuple(
            replace(marked, partial=not marked.whole and (marked.partial or _is_cut(marked, group)))
            for marked in image.objects
        )
        return replace(group, objects=objects, pre_annotated=image.pre_annotated or ())
    reviewed = _merge(group, lambda image: image.objects if image.state == "reviewed" else ())
    pre_annotated = _merge(group, lambda image: image.pre_annotated or ())
    detected = _merge(group, lambda image: image.objects if image.state == "detected" else ())
    return replace(
        group,
        objects=(*reviewed, *_select_unreviewed(detected, group)),
        pre_annotated=tuple(pre_annotated),
    )


def _is_cut(marked: MarkedObject, group: ImageGroup) -> bool:
    left, top, right, bottom = marked.box
    return min(left, top) <= EDGE or right >= group.width - EDGE or bottom >= group.height - EDGE


def _merge(
    group: ImageGroup, select: Callable[[ReportImage], Sequence[MarkedObject]]
) -> list[MarkedObject]:
    """Each object once, of those that `select` takes of the images."""
    planes = sorted({image.plane for image in group.images if select(image)})
    merged = []
    for plane in planes:
        rows = [
            (marked, image)
            for image in group.images
            if image.plane == plane
            for marked in select(image)
        ]
        windows = WindowDetections(
            np.array([marked.box for marked, _ in rows], np.float64),
            np.array([marked.label for marked, _ in rows]),
            np.array([1.0 if m.confidence is None else m.confidence for m, _ in rows]),
            np.array([image.rect for _, image in rows], np.float64),
        )
        merged.append(merge_windows(windows, group.width, group.height, EDGE))
    if not merged:
        return []
    objects, plane_numbers = merge_planes(merged)
    sources = [number for number, image in enumerate(group.images) if select(image)]
    by_hand = all(
        marked.confidence is None for number in sources for marked in select(group.images[number])
    )
    marked_objects = []
    for box, label, confidence, partial, plane_number in zip(
        objects.xyxy.tolist(),
        objects.label,
        objects.confidence.tolist(),
        objects.partial,
        plane_numbers.tolist(),
        strict=True,
    ):
        plane = planes[plane_number]
        on_plane = [number for number in sources if group.images[number].plane == plane]
        marked_objects.append(
            MarkedObject(
                str(label),
                tuple(box),
                None if by_hand else confidence,
                plane,
                bool(partial),
                _find_nearest(box, on_plane, group),
            )
        )
    return marked_objects


def _find_nearest(box: Sequence[float], numbers: Sequence[int], group: ImageGroup) -> int:
    """The number of the image whose middle is nearest to that of the box."""

    def measure(number: int) -> float:
        left, top, right, bottom = group.images[number].rect
        return abs(box[0] + box[2] - left - right) + abs(box[1] + box[3] - top - bottom)

    return min(numbers, key=measure)


def _select_unreviewed(objects: Sequence[MarkedObject], group: ImageGroup) -> list[MarkedObject]:
    """Those whose middle lies on no image that a person reviewed."""
    reviewed = [image.rect for image in group.images if image.state == "reviewed"]
    if not reviewed or not objects:
        return list(objects)
    boxes = np.array([marked.box for marked in objects])
    middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    rects = np.array(reviewed)[None]
    inside = ((middle >= rects[..., :2]) & (middle < rects[..., 2:])).all(axis=2).any(axis=1)
    return [marked for marked, known in zip(objects, inside, strict=True) if not known]


def count_objects(groups: Iterable[ImageGroup], classes: Sequence[str]) -> list[Count]:
    """Count the objects of each scan and class.

    Args:
        groups: In the order of the report.
        classes: In the order of the report.

    Returns:
        A count for each scan, in the order of the groups, and each class, also where it is 0.
    """
    scans: dict[str, list[ImageGroup]] = {}
    for group in groups:
        scans.setdefault(group.scan, []).append(group)
    rows = []
    for scan, members in scans.items():
        states = Counter(image.state for group in members for image in group.images)
        reviewed: Counter[str] = Counter()
        detected: Counter[str] = Counter()
        partial: Counter[str] = Counter()
        submitted: Counter[str] = Counter()
        for group in members:
            for marked in group.objects:
                compared = group.images[marked.image].pre_annotated is not None
                submitted[marked.label] += compared
                (reviewed if group.is_reviewed(marked) else detected)[marked.label] += 1
                partial[marked.label] += marked.partial
        pre_annotated = Counter(marked.label for group in members for marked in group.pre_annotated)
        rows += [
            Count(
                scan,
                label,
                states.total(),
                states["reviewed"],
                states["waiting"],
                reviewed[label],
                pre_annotated[label],
                submitted[label],
                detected[label],
                partial[label],
            )
            for label in classes
        ]
    return rows
