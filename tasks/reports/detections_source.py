"""A file of detections, as `exchange` writes it, as the source of a report."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ml_backend.dataset.folder import shown_size
from ml_backend.imaging.decode import UnreadableImage
from ml_backend.label_studio.class_names import headline
from tasks.exchange.detection_files import COLUMNS, Detected, Detection
from tasks.mosaic import mosaic
from tasks.mosaic.layout import How, Places
from tasks.mosaic.mosaic import open_planes
from tasks.readers.open import pixel_size
from tasks.reports import counts
from tasks.reports.colours import colours, in_usual_order
from tasks.reports.counts import Field, Look, Thing
from tasks.reports.source import Piece, Source
from tasks.sources import filename_patterns
from tasks.sources.discover import Group, Skipped, look_through

WINDOW = 4096  # px a side that a large image is read by
MOVED = 2  # px that a scan may be larger or smaller than where it was detected in


def of_file(path: Path, images: Path | None, how: How = How()) -> Source:
    """What a file of detections says; images: what was detected in, and how it was read.

    Boxes without a confidence count as a person's. Sources of one folder are counted
    together, under it. Raises FileNotFoundError; ValueError when it is not such a file.
    """
    if images is not None and not images.exists():
        raise FileNotFoundError(f"{images}: there is no such file or folder")
    skipped: list[Skipped] = []
    pictures = _Opened(images, how) if images else None
    fields = []
    for one in read(path):
        width, height = one.width, one.height
        if pictures and not width:
            try:
                width, height = pictures.size(one.source)
            except (OSError, ValueError) as error:
                skipped.append({"source": one.source, "reason": str(error)})
        microns = pictures.pixel_size(one.source) if pictures else how.pixel_size
        fields.append(_field(one, width, height, microns))
    labels = dict.fromkeys(thing.label for field in fields for thing in field.things)
    classes = in_usual_order(list(labels))
    return Source(
        title=f"Detections in {path.name}",
        fields=fields,
        classes=classes,
        headline=headline(classes),
        colours=colours(classes),
        pixels=pictures,
        skipped=skipped,
    )


def _field(one: Detected, width: int, height: int, microns: float | None) -> Field:
    things = tuple(
        Thing(
            d.label,
            (d.x1, d.y1, d.x2, d.y2),
            None if one.by_hand else d.confidence,
            d.plane,
            d.partial,
        )
        for d in one.detections
    )
    if not width:  # the file does not say, and there is no image to ask
        width = int(max((thing.box[2] for thing in things), default=0) + counts.EDGE + 1)
        height = int(max((thing.box[3] for thing in things), default=0) + counts.EDGE + 1)
    look = Look(
        one.source, 0.0, 0.0, width, height, "reviewed" if one.by_hand else "detected", things
    )
    folder = PurePosixPath(one.source).parent.as_posix()
    return counts.field(one.source, one.source if folder == "." else folder, [look], microns)


def read(path: Path) -> list[Detected]:
    """The detections in a file that `exchange.writer` wrote, by source in their order.

    Of sources without a detection only COCO and Create ML know; width and height are 0 where
    the format does not say them. Raises FileNotFoundError, ValueError.
    """
    name = path.name.lower()
    try:
        if name.endswith(".csv"):
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = csv.DictReader(file)
                if missing := set(COLUMNS) - set(rows.fieldnames or ()):
                    raise ValueError(f"it has no column {min(missing)}")
                return _grouped(rows)
        content = json.loads(path.read_text("utf-8-sig"))
        if isinstance(content, dict) and content.get("type") == "FeatureCollection":
            return _grouped(map(_of_feature, content["features"]))
        if isinstance(content, dict) and "images" in content:
            return _of_coco(content)
        if not isinstance(content, list):
            raise ValueError("it holds no list of detections")
        if content and all("annotations" in one for one in content):
            return [_of_create_ml(one) for one in content]
        return _grouped(content)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, csv.Error) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is not a file that cytoloop detect wrote: {what}") from error


def _grouped(records: Iterable[dict[str, Any]]) -> list[Detected]:
    """From records with the columns of `exchange`, and `partial` where it is known."""
    by_source: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_source.setdefault(record["source"], []).append(record)
    return [
        Detected(
            source,
            0,
            0,
            [
                Detection(
                    float(one["x1"]),
                    float(one["y1"]),
                    float(one["x2"]),
                    float(one["y2"]),
                    str(one["label"]),
                    1.0 if one["confidence"] in (None, "") else float(one["confidence"]),
                    int(one["plane"] or 0),
                    bool(one.get("partial")),
                )
                for one in ones
            ],
            by_hand=all(one["confidence"] in (None, "") for one in ones),
        )
        for source, ones in by_source.items()
    ]


def _of_feature(feature: dict[str, Any]) -> dict[str, Any]:
    (ring,) = feature["geometry"]["coordinates"]
    xs, ys = zip(*ring, strict=True)
    properties = feature["properties"]
    return {
        "source": properties["source"],
        **{"x1": min(xs), "y1": min(ys), "x2": max(xs), "y2": max(ys)},
        "label": properties["classification"]["name"],
        "confidence": properties.get("measurements", {}).get("confidence"),
        "plane": feature["geometry"].get("plane", {}).get("z", 0),
        "partial": properties.get("partial", False),
    }


def _of_coco(content: dict[str, Any]) -> list[Detected]:
    names = {one["id"]: one["name"] for one in content["categories"]}
    boxes: dict[Any, list[dict[str, Any]]] = {one["id"]: [] for one in content["images"]}
    for one in content["annotations"]:
        boxes[one["image_id"]].append(one)
    return [
        Detected(
            one["file_name"],
            int(one["width"]),
            int(one["height"]),
            [
                Detection(
                    *_corners(*map(float, box["bbox"])),
                    names[box["category_id"]],
                    float(box.get("score", 1.0)),
                    int(box.get("plane", 0)),
                    bool(box.get("partial")),
                )
                for box in boxes[one["id"]]
            ],
            by_hand=bool(boxes[one["id"]]) and all("score" not in b for b in boxes[one["id"]]),
        )
        for one in content["images"]
    ]


def _of_create_ml(entry: dict[str, Any]) -> Detected:
    detections = []
    for one in entry["annotations"]:
        at = one["coordinates"]
        width, height = float(at["width"]), float(at["height"])
        left, top = float(at["x"]) - width / 2, float(at["y"]) - height / 2
        corners = _corners(left, top, width, height)
        detections.append(
            Detection(*corners, one["label"], float(one.get("confidence", 1.0)), 0, False)
        )
    by_hand = bool(detections) and all("confidence" not in one for one in entry["annotations"])
    return Detected(entry["image"], 0, 0, detections, by_hand=by_hand)


def _corners(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return round(x, 2), round(y, 2), round(x + width, 2), round(y + height, 2)


class _Opened:
    """The images that were detected in, by the names that `detect` has for scans and files."""

    def __init__(self, images: Path, how: How) -> None:
        given = filename_patterns.pattern(how.pattern) if how.pattern else None
        source = look_through(images, given, how.channel, apart=how.apart)
        self._depth, self._size = how.depth, how.pixel_size
        self._places = Places(source, how)
        self._groups = {group.name: group for group in source.groups}
        self._fields: dict[str, list[mosaic.Field]] = {}

    def size(self, source: str) -> tuple[int, int]:
        """Width and height of a file, px. Raises ValueError for what is none."""
        group = self._groups.get(source)
        if group is None:
            raise ValueError("there is no such image")
        if not group.placed:
            return shown_size(group.spots[0].files[0].path)
        rects = [one.rect for one in self._placed(group)]
        return max(rect[2] for rect in rects), max(rect[3] for rect in rects)

    def pixel_size(self, source: str) -> float | None:
        """µm that a pixel shows, where it is known."""
        group = self._groups.get(source)
        if self._size or group is None:
            return self._size
        return pixel_size(group.spots[0].files[0].path)

    def _placed(self, group: Group) -> list[mosaic.Field]:
        if group.name not in self._fields:
            self._fields[group.name] = self._places.fields(group)
        return self._fields[group.name]

    def pieces(self, one: Field, looks: Collection[int], skipped: list[Skipped]) -> Iterator[Piece]:
        group = self._groups.get(one.name)
        if group is None:
            entry: Skipped = {"source": one.name, "reason": "there is no such image"}
            if entry not in skipped:  # told already where its size was asked for
                skipped.append(entry)
            return
        try:
            places = [(f.x, f.y) for f in self._placed(group)] if group.placed else [(0, 0)]
            size = self.size(one.name)
        except ValueError as error:
            skipped.append({"source": one.name, "reason": str(error)})
            return
        if max(abs(size[0] - one.width), abs(size[1] - one.height)) > MOVED:
            reason = (
                f"{size[0]} × {size[1]} px here, and {one.width} × {one.height} px where it was "
                "detected in"
            )
            skipped.append({"source": one.name, "reason": reason})
            return
        showing = self._places.showing(group)
        wanted = {thing.plane for thing in one.things}
        for (left, top), spot in zip(places, group.spots, strict=True):
            try:
                planes = open_planes(spot.files, showing, self._depth)
            except UnreadableImage as error:
                skipped.append({"source": spot.name, "reason": error.reason})
                continue
            # The planes that objects are on; the first where there are none.
            for plane in [each for each in planes if each.number in wanted] or planes[:1]:
                for window in plane.windows(WINDOW, 0):
                    at = left + window.left, top + window.top
                    yield Piece(0, plane.number, *at, window.pixels)
                if plane.failure:
                    skipped.append({"source": spot.name, "reason": plane.failure})
