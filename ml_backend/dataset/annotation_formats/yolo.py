"""YOLO: a text file an image, a line a box in shares of the image, and a `data.yaml` for all.

The format: https://docs.ultralytics.com/datasets/detect. Polygons
(https://docs.ultralytics.com/datasets/segment) are read as the boxes around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import globox
import yaml  # type: ignore[import-untyped]
from globox import BoundingBox

from ml_backend.dataset.annotation_formats.records import (
    Annotation,
    Detected,
    ImageAnnotations,
    PlacedImage,
)


def read_classes(data: Any) -> dict[int, str]:
    """The classes of a parsed `data.yaml` by number.

    Raises:
        KeyError, TypeError, ValueError: It has no list or table of names.
    """
    names = data["names"]
    return dict(enumerate(names)) if isinstance(names, list) else dict(names)


def read(
    lines: Iterable[str], classes: Mapping[int, str], size: tuple[int, int]
) -> ImageAnnotations:
    """Read the lines of one label file.

    Args:
        lines: Empty ones are passed over.
        classes: The names of the classes by number.
        size: Width and height of the image, px, without which a line is no box.
    """
    entries = [line for line in lines if line.strip()]
    return ImageAnnotations(None, entries, partial(_read_box, classes=classes, size=size))


def _read_box(line: str, classes: Mapping[int, str], size: tuple[int, int]) -> Annotation:
    is_polygon = len(line.split()) > 6
    parse = BoundingBox.from_yolo_seg if is_polygon else BoundingBox.from_yolo_v5
    box = parse(line, image_size=size)
    box.label = classes[int(box.label)]
    return Annotation(box)


def find_label_file(image: Path) -> Path:
    """Where YOLO looks for the labels of an image: the last folder `images` becomes `labels`."""
    parts = list(image.with_suffix(".txt").parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def write(detected: Detected, numbers: Mapping[str, int]) -> str:
    """The label file of an image.

    Args:
        detected: Its boxes and its size.
        numbers: The number of each class.

    Raises:
        KeyError: A box has a label that is none of the classes.
    """
    boxes = [detection.to_box() for detection in detected.detections]
    image = globox.Annotation(detected.source, (detected.width, detected.height), boxes)
    return image.to_yolo_v5(label_to_id=numbers)


class YoloFolder:
    """data.yaml, images/train, images/val, and the label files beside in labels/."""

    def __init__(self, classes: Sequence[str]) -> None:
        """Number the classes in their order."""
        self._classes = classes
        self._numbers = {name: number for number, name in enumerate(classes)}
        self._parts: set[str] = set()

    def place(self, name: str, part: str, detected: Detected) -> PlacedImage:
        """Place an image in the folder of its part."""
        self._parts.add(part)
        return PlacedImage(
            f"images/{part}/{name}",
            f"labels/{part}/{PurePosixPath(name).stem}.txt",
            write(detected, self._numbers),
        )

    def list_files(self) -> dict[str, str]:
        """The `data.yaml`, which names the parts and the classes."""
        first = "images/train" if "train" in self._parts else "images/val"
        data = {
            "train": first,
            # ultralytics wants a `val`, also where nothing was held out.
            "val": "images/val" if "val" in self._parts else first,
            "names": dict(enumerate(self._classes)),
        }
        return {"data.yaml": yaml.safe_dump(data, sort_keys=False, allow_unicode=True)}
