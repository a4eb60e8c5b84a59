"""Pascal VOC: an XML file an image.

The format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from xml.etree import ElementTree

import globox
from globox import BoundingBox

from ml_backend.dataset.annotation_formats.records import (
    Annotation,
    Detected,
    ImageAnnotations,
    PlacedImage,
    read_number,
)

# Where people keep these files; checked ones come first.
FOLDERS = ("voc_checked", "voc", "Annotations")


def read(root: ElementTree.Element) -> ImageAnnotations:
    """Read a parsed file.

    Raises:
        ValueError: It is about something else, or its size is no number.
    """
    if root.tag != "annotation":
        raise ValueError(f"its root is <{root.tag}>")
    width, height = (
        int(read_number(root.findtext(f"size/{side}") or 0)) for side in ("width", "height")
    )
    return ImageAnnotations(
        (root.findtext("filename") or "").strip() or None,
        list(root.iter("object")),
        _read_box,
        (width, height) if width and height else None,
    )


def _read_box(node: ElementTree.Element) -> Annotation:
    difficult = (node.findtext("difficult") or "0").strip().lower() in ("1", "true")
    return Annotation(BoundingBox.from_xml(node), ignored=difficult)


def write(name: str, detected: Detected) -> str:
    """The file of an image.

    Args:
        name: What the file calls the image.
        detected: Its boxes and its size.
    """
    boxes = [detection.to_box() for detection in detected.detections]
    root = globox.Annotation(name, (detected.width, detected.height), boxes).to_xml()
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


class VocFolder:
    """JPEGImages/ and Annotations/, with train.txt and val.txt in ImageSets/Main."""

    def __init__(self) -> None:
        """Begin with no image."""
        self._stems: dict[str, list[str]] = {"train": [], "val": []}

    def place(self, name: str, part: str, detected: Detected) -> PlacedImage:
        """Place an image; the buffer's are in neither list."""
        stem = PurePosixPath(name).stem
        if part in self._stems:
            self._stems[part].append(stem)
        return PlacedImage(f"JPEGImages/{name}", f"Annotations/{stem}.xml", write(name, detected))

    def list_files(self) -> dict[str, str]:
        """The stems of the images for training and for judging."""
        return {
            f"ImageSets/Main/{part}.txt": "".join(f"{stem}\n" for stem in stems)
            for part, stems in self._stems.items()
        }
