"""Files of detections that other programs read.

Each is written as detections come, so memory does not grow with them; a file appears when
it is complete.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ml_backend.system.atomic_files import replacing

COLUMNS = ("source", "x1", "y1", "x2", "y2", "label", "confidence", "plane")


@dataclass(frozen=True)
class Detection:
    """x1, y1, x2, y2: px of the scan. partial: it may be larger than its box."""

    x1: float
    y1: float
    x2: float
    y2: float
    label: str
    confidence: float
    plane: int
    partial: bool

    @property
    def width(self) -> float:
        return round(self.x2 - self.x1, 2)

    @property
    def height(self) -> float:
        return round(self.y2 - self.y1, 2)


@dataclass(frozen=True)
class Detected:
    """What was found in one source; width, height: of its (first) plane, px.

    planes: how many were looked at. by_hand: a person drew them, so that neither their
    confidence nor whether they are partial is known, and no file says it.
    """

    source: str
    width: int
    height: int
    detections: list[Detection]
    planes: int = 1
    by_hand: bool = False


Add = Callable[[Detected], None]
Format = Callable[[Path], AbstractContextManager[Add]]


def writer(out: Path) -> AbstractContextManager[Add]:
    """What writes `out`, by its ending. Raises ValueError for an ending of no format."""
    for ending, form in FORMATS.items():
        if out.name.lower().endswith(ending):
            return form(out)
    *others, last = (f"a {ending}" for ending in FORMATS)
    raise ValueError(f"{out}: give {', '.join(others)} or {last} file")


@contextmanager
def _csv(out: Path) -> Iterator[Add]:
    with (
        replacing(out) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        yield lambda detected: rows.writerows(_records(detected))


@contextmanager
def _json(out: Path) -> Iterator[Add]:
    with _written(out) as file, _array(file) as add:

        def each(detected: Detected) -> None:
            for record in _records(detected):
                add(record)

        yield each


@contextmanager
def _geojson(out: Path) -> Iterator[Add]:
    """As QuPath reads objects: a rectangle each, in px of the image."""
    with _written(out) as file:
        file.write('{"type": "FeatureCollection", "features": ')
        with _array(file) as add:

            def each(detected: Detected) -> None:
                for found in detected.detections:
                    add(_feature(detected, found))

            yield each
        file.write("}\n")


def _feature(detected: Detected, found: Detection) -> dict[str, Any]:
    left, top, right, bottom = found.x1, found.y1, found.x2, found.y2
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    # The same class has the same colour in every file.
    colour = zlib.crc32(found.label.encode())
    return {
        "type": "Feature",
        "geometry": {
            "type": "Polygon",
            "coordinates": [ring],
            "plane": {"c": -1, "z": found.plane, "t": 0},
        },
        "properties": {
            "objectType": "annotation" if detected.by_hand else "detection",
            "classification": {
                "name": found.label,
                "color": [64 + (colour >> shift & 127) for shift in (0, 8, 16)],
            },
            "source": detected.source,
            **(
                {}
                if detected.by_hand
                else {
                    "measurements": {"confidence": found.confidence},
                    "partial": found.partial,
                }
            ),
        },
    }


@contextmanager
def _coco(out: Path) -> Iterator[Add]:
    """COCO; score, plane and partial are added to each annotation."""
    images: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    with _written(out) as file:
        file.write('{"annotations": ')
        with _array(file) as add:
            count = 0

            def each(detected: Detected) -> None:
                nonlocal count
                image = {
                    "id": len(images) + 1,
                    "file_name": detected.source,
                    "width": detected.width,
                    "height": detected.height,
                }
                images.append(image)
                for found in detected.detections:
                    count += 1
                    add(
                        {
                            "id": count,
                            "image_id": image["id"],
                            "category_id": categories.setdefault(found.label, len(categories) + 1),
                            "bbox": [found.x1, found.y1, found.width, found.height],
                            "area": round(found.width * found.height, 2),
                            "iscrowd": 0,
                            "plane": found.plane,
                            **(
                                {}
                                if detected.by_hand
                                else {"score": found.confidence, "partial": found.partial}
                            ),
                        }
                    )

            yield each
        named = [{"id": number, "name": name} for name, number in categories.items()]
        file.write(f',\n"images": {_dumps(images)},\n"categories": {_dumps(named)}}}\n')


@contextmanager
def _createml(out: Path) -> Iterator[Add]:
    """Create ML: boxes by their centre; images without a box are listed too."""
    with _written(out) as file, _array(file) as add:

        def each(detected: Detected) -> None:
            annotations = [
                {
                    "label": found.label,
                    "coordinates": {
                        "x": round((found.x1 + found.x2) / 2, 3),
                        "y": round((found.y1 + found.y2) / 2, 3),
                        "width": found.width,
                        "height": found.height,
                    },
                    **({} if detected.by_hand else {"confidence": found.confidence}),
                }
                for found in detected.detections
            ]
            add({"image": detected.source, "annotations": annotations})

        yield each


# By ending; one that ends like another comes first.
FORMATS: dict[str, Format] = {
    ".coco.json": _coco,
    ".createml.json": _createml,
    ".geojson": _geojson,
    ".json": _json,
    ".csv": _csv,
}


def _records(detected: Detected) -> Iterator[dict[str, str | float | int | None]]:
    for found in detected.detections:
        corners = (found.x1, found.y1, found.x2, found.y2)
        confidence = None if detected.by_hand else found.confidence
        values = (detected.source, *corners, found.label, confidence, found.plane)
        yield dict(zip(COLUMNS, values, strict=True))


@contextmanager
def _written(out: Path) -> Iterator[IO[str]]:
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file


@contextmanager
def _array(file: IO[str]) -> Iterator[Callable[[Any], None]]:
    """A JSON array, one value a line, as they come."""
    separator = "[\n"

    def add(value: Any) -> None:
        nonlocal separator
        file.write(separator + _dumps(value))
        separator = ",\n"

    yield add
    file.write("[]\n" if separator == "[\n" else "\n]\n")


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
