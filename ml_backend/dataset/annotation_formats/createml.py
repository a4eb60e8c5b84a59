"""Create ML: one JSON file, a list of images with boxes by their centre.

The format: https://developer.apple.com/documentation/createml/building-an-object-detector-data-source.
Images without a box are listed too. Our files add `confidence` to a detector's boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from globox import BoundingBox, BoxFormat

from ml_backend.dataset.annotation_formats.json_array import write_array
from ml_backend.dataset.annotation_formats.records import (
    Add,
    Annotation,
    Detected,
    FileFormat,
    ImageAnnotations,
    read_number,
)


def recognizes(content: Any) -> bool:
    """Whether parsed JSON is Create ML."""
    return isinstance(content, list) and bool(content) and all(map(_is_image, content))


def _is_image(entry: Any) -> bool:
    # `imagefilename` and `annotation` are the older spelling of the same.
    return isinstance(entry, dict) and (
        {"image", "annotations"} <= set(entry) or {"imagefilename", "annotation"} <= set(entry)
    )


def read(content: Any, report: Callable[[str], None]) -> Iterator[ImageAnnotations]:
    """Read parsed Create ML, image by image.

    Args:
        content: A parsed file.
        report: Called with each image whose annotations are no list.

    Yields:
        Every other image that the file lists, in its order.
    """
    for entry in content:
        name = entry.get("image", entry.get("imagefilename"))
        boxes = entry.get("annotations", entry.get("annotation"))
        if isinstance(boxes, list):
            yield ImageAnnotations(str(name), boxes, _read_box)
        else:
            report(f"{name}: its annotations are no list")


def _read_box(annotation: Any) -> Annotation:
    box = BoundingBox.create(
        label=str(annotation["label"]),
        # x and y are the middle of the box.
        coords=tuple(
            read_number(annotation["coordinates"][key]) for key in ("x", "y", "width", "height")
        ),
        box_format=BoxFormat.XYWH,
    )
    return Annotation(box, confidence=annotation.get("confidence"))


@contextmanager
def write(file: IO[str]) -> Iterator[Add]:
    """Write Create ML to an open file as detections come; yields what adds an image."""
    with write_array(file) as add:
        yield lambda detected: add(_format_image(detected))


def _format_image(detected: Detected) -> dict[str, Any]:
    annotations = [
        {
            "label": detection.label,
            "coordinates": {
                "x": round((detection.x1 + detection.x2) / 2, 3),
                "y": round((detection.y1 + detection.y2) / 2, 3),
                "width": detection.width,
                "height": detection.height,
            },
            **({} if detected.by_hand else {"confidence": detection.confidence}),
        }
        for detection in detected.detections
    ]
    return {"image": detected.source, "annotations": annotations}


CREATE_ML = FileFormat(
    "Create ML", ".createml.json", recognizes, read, write, annotation_suffix=".json"
)
