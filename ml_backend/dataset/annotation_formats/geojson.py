"""GeoJSON as QuPath reads and writes objects: a feature each, in px of the image.

The format: RFC 7946; QuPath's properties: https://qupath.readthedocs.io. QuPath writes a file
an image and does not name it; our files name it in each feature's `source`.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Any

from globox import BoundingBox

from ml_backend.dataset.annotation_formats.json_array import write_array
from ml_backend.dataset.annotation_formats.records import (
    Add,
    Annotation,
    Detected,
    Detection,
    FileFormat,
    ImageAnnotations,
    PlacedImage,
    read_number,
)


def recognizes(content: Any) -> bool:
    """Whether parsed JSON is a collection of GeoJSON features."""
    return isinstance(content, dict) and content.get("type") == "FeatureCollection"


def read(content: Any, report: Callable[[str], None]) -> list[ImageAnnotations]:
    """Read parsed GeoJSON: the box around each outline, with its class.

    Args:
        content: A collection of features, a list of them, or a single feature.
        report: Called with how many features are none.

    Returns:
        The images in the order in which the features name them; those that name none are of
        one image without a name. A file without a feature is about such an image, too.

    Raises:
        TypeError: The features are no list.
    """
    features = content.get("features", [content]) if isinstance(content, dict) else content
    by_source: dict[str, list[Any]] = {} if features else {"": []}
    strays = 0
    for feature in features:
        try:
            source = str((feature.get("properties") or {}).get("source") or "")
        except AttributeError:
            strays += 1
        else:
            by_source.setdefault(source, []).append(feature)
    if strays:
        report(f"{strays} features are no GeoJSON objects")
    return [
        ImageAnnotations(source or None, boxes, _read_box) for source, boxes in by_source.items()
    ]


def _read_box(feature: Any) -> Annotation:
    geometry, properties = feature["geometry"], feature.get("properties") or {}
    xs, ys = zip(*_find_points(geometry["coordinates"]), strict=True)
    named = properties.get("classification") or ""
    label = named.get("name") or "" if isinstance(named, dict) else str(named)
    plane, measurements = geometry.get("plane"), properties.get("measurements")
    return Annotation(
        BoundingBox(label=label, xmin=min(xs), ymin=min(ys), xmax=max(xs), ymax=max(ys)),
        # Measurements of another shape stay as they are: nobody may take their box for one
        # that a person drew.
        confidence=measurements.get("confidence")
        if isinstance(measurements, dict)
        else measurements or None,
        plane=plane.get("z") if isinstance(plane, dict) else None,
        partial=properties.get("partial"),
    )


def _find_points(part: Any) -> Iterator[tuple[float, float]]:
    """The points of an outline, however deep its lists are.

    Raises:
        TypeError, IndexError: There is something else in the lists.
    """
    if part and isinstance(part, str):  # each letter of which is a string again
        raise TypeError(f"{part!r} is not a point")
    if part and isinstance(part[0], int | float):
        yield read_number(part[0]), read_number(part[1])
    else:
        for inner in part:
            yield from _find_points(inner)


@contextmanager
def write(file: IO[str]) -> Iterator[Add]:
    """Write a rectangle a detection to an open file as they come; yields what adds an image."""
    file.write('{"type": "FeatureCollection", "features": ')
    with write_array(file) as add:

        def add_image(detected: Detected) -> None:
            for detection in detected.detections:
                add(_format_feature(detected, detection))

        yield add_image
    file.write("}\n")


def _format_feature(detected: Detected, detection: Detection) -> dict[str, Any]:
    left, top, right, bottom = detection.x1, detection.y1, detection.x2, detection.y2
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    # The same class has the same colour in every file.
    colour = zlib.crc32(detection.label.encode())
    properties: dict[str, Any] = {
        "objectType": "annotation" if detected.by_hand else "detection",
        "classification": {
            "name": detection.label,
            "color": [64 + (colour >> shift & 127) for shift in (0, 8, 16)],
        },
        "source": detected.source,
    }
    if not detected.by_hand:
        properties |= {
            "measurements": {"confidence": detection.confidence},
            "partial": detection.partial,
        }
    return {
        "type": "Feature",
        "geometry": {
            "type": "Polygon",
            "coordinates": [ring],
            "plane": {"c": -1, "z": detection.plane, "t": 0},
        },
        "properties": properties,
    }


class GeoJsonFolder:
    """Beside each image a file of its own, as QuPath reads one image at a time."""

    def place(self, name: str, part: str, detected: Detected) -> PlacedImage:
        """Place an image at the top of the folder, whatever it is for."""
        text = io.StringIO()
        with write(text) as add:
            add(detected)
        return PlacedImage(name, f"{PurePosixPath(name).stem}.geojson", text.getvalue())

    def list_files(self) -> dict[str, str]:
        """No file: the format has none that lists others."""
        return {}


GEOJSON = FileFormat(
    "GeoJSON",
    ".geojson",
    recognizes,
    read,
    write,
    annotation_suffix=".geojson",
    joins_names=True,
)
