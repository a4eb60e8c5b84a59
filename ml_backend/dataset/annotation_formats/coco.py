"""COCO: one JSON file with lists of images, categories and boxes.

The format: https://cocodataset.org/#format-data. Our files add `score`, `plane` and `partial`
to each box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

from globox import BoundingBox, BoxFormat

from ml_backend.dataset.annotation_formats.json_array import dump, write_array
from ml_backend.dataset.annotation_formats.records import (
    Add,
    Annotation,
    Detected,
    Detection,
    FileFormat,
    ImageAnnotations,
    read_number,
)


def recognizes(content: Any) -> bool:
    """Whether parsed JSON is COCO."""
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content)


def read(content: Any, report: Callable[[str], None]) -> list[ImageAnnotations]:
    """Read parsed COCO, image by image.

    Args:
        content: A parsed file.
        report: Called with how many boxes are of images that the file does not list, and
            with each image that has no name.

    Returns:
        Every image that the file names, in its order; of several with one id the last.

    Raises:
        KeyError, TypeError, AttributeError: The lists are not those of COCO.
    """
    labels = {category["id"]: str(category["name"]) for category in content["categories"]}
    entries = {entry["id"]: entry for entry in content["images"]}
    boxes: dict[Any, list[Any]] = {number: [] for number in entries}
    strays = 0
    for annotation in content["annotations"]:
        try:
            boxes[annotation["image_id"]].append(annotation)
        except (KeyError, TypeError):
            strays += 1
    if strays:
        report(f"{strays} boxes are of images that it does not list")
    read_box = partial(_read_box, labels=labels)
    images = []
    for number, entry in entries.items():
        if "file_name" not in entry:
            report(f"the image with the id {number} has no file_name")
            continue
        size = (entry.get("width"), entry.get("height"))
        name, stated = str(entry["file_name"]), size if all(size) else None
        images.append(ImageAnnotations(name, boxes[number], read_box, stated))
    return images


def _read_box(annotation: Any, labels: Mapping[Any, str]) -> Annotation:
    box = BoundingBox.create(
        label=labels[annotation["category_id"]],
        coords=tuple(map(read_number, annotation["bbox"])),
        box_format=BoxFormat.LTWH,
    )
    return Annotation(
        box,
        ignored=bool(annotation.get("iscrowd") or annotation.get("ignore")),
        confidence=annotation.get("score"),
        plane=annotation.get("plane"),
        partial=annotation.get("partial"),
    )


@contextmanager
def write(file: IO[str]) -> Iterator[Add]:
    """Write COCO to an open file as detections come; yields what adds an image."""
    images: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    count = 0
    file.write('{"annotations": ')
    with write_array(file) as add:

        def add_image(detected: Detected) -> None:
            nonlocal count
            number = len(images) + 1
            images.append(
                {
                    "id": number,
                    "file_name": detected.source,
                    "width": detected.width,
                    "height": detected.height,
                }
            )
            for detection in detected.detections:
                count += 1
                category = categories.setdefault(detection.label, len(categories) + 1)
                ids = {"id": count, "image_id": number, "category_id": category}
                add(ids | _format_box(detection, by_hand=detected.by_hand))

        yield add_image
    named = [{"id": number, "name": name} for name, number in categories.items()]
    file.write(f',\n"images": {dump(images)},\n"categories": {dump(named)}}}\n')


def _format_box(detection: Detection, *, by_hand: bool) -> dict[str, Any]:
    box = {
        "bbox": [detection.x1, detection.y1, detection.width, detection.height],
        "area": round(detection.width * detection.height, 2),
        "iscrowd": 0,
        "plane": detection.plane,
    }
    if not by_hand:
        box |= {"score": detection.confidence, "partial": detection.partial}
    return box


COCO = FileFormat("COCO", ".coco.json", recognizes, read, write, annotation_suffix=".json")
