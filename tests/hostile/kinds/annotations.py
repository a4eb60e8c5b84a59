"""Files of labels and detections in every format: JSON, tables and lines that say nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.decode import encode_png
from tasks.exchange.choice_files import read_choices
from tasks.exchange.detection_files import read_detections
from tests.hostile.hostile import Hostile, write
from tests.hostile.kinds.markup import label_beside

COCO = {
    "images": [{"id": 1, "file_name": "good.png", "width": 8, "height": 8}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}],
    "categories": [{"id": 1, "name": "cell"}],
}
GEOJSON = {
    "type": "FeatureCollection",
    "features": [
        {
            "geometry": {"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [5, 6]]]},
            "properties": {"source": "a.png", "classification": {"name": "cell"}},
        }
    ],
}
ROW = {
    **{"source": "a.png", "x1": 1, "y1": 2, "x2": 3, "y2": 4, "label": "cell"},
    **{"confidence": 0.5, "plane": 0},
}
TEXTS = {
    "nothing": b"",
    "bytes": b"\xff\xfe\x00",
    "text": b"hello",
    "half": b'{"images": [',
    "depth": b"[" * 50_000,
    "depth of objects": b'{"a":' * 50_000,
    "null": b"null",
    "a number of 10,000 digits": b"9" * 10_000,
    "a list of itself": b"[[[[]]]]",
    "a word": b'"x"',
    "true": b"true",
}
WRONG: tuple[Any, ...] = (None, "x", [], {}, True, float("nan"), 10**400, -5)


def change(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Copy JSON, with another value at one place; DELETED takes the place out."""
    changed = copy.deepcopy(content)
    *way, last = path
    inside = changed
    for key in way:
        inside = inside[key]
    inside[last] = value
    return changed


def list_annotations() -> Iterator[Hostile]:
    """List files of labels, in a labelled folder and as detections."""
    refused = "is not a file that cytoloop detect wrote"
    for ending in ("json", "geojson", "coco.json", "csv", "createml.json"):
        for what, content in TEXTS.items():
            if ending == "csv" and what == "nothing":
                continue  # no detections at all
            build = write(f"a.{ending}", content)
            name = f"detections .{ending}: {what}"
            yield Hostile(name, build, read_detections, refused)
    for what, content in TEXTS.items():
        build = write("a.json", content)
        yield Hostile(f"choices: {what}", build, read_choices, refused)

        def build_label(folder: Path, content: bytes = content) -> Path:
            return write("a.json", content)(folder).parent

        refusal = "good.png.*(not a|neither|cannot be read)"
        yield Hostile(f"labels: {what}", build_label, label_beside, refusal)
    yield from _list_changed("coco.json", COCO, read_detections, refused)
    yield from _list_changed("geojson", GEOJSON, read_detections, refused)
    yield from _list_rows(refused)
    yield from _list_label_lines()


def _list_changed(
    ending: str, sound: Any, read: Callable[[Path], Any], refused: str
) -> Iterator[Hostile]:
    """Files of which one value is wrong."""
    places: list[tuple[Any, ...]] = (
        [
            ("images",), ("annotations",), ("categories",), ("images", 0), ("annotations", 0),
            ("categories", 0), ("annotations", 0, "bbox"), ("annotations", 0, "bbox", 0),
            ("annotations", 0, "bbox", 2), ("annotations", 0, "category_id"),
        ]
        if "images" in sound
        else [
            ("features",), ("features", 0), ("features", 0, "geometry"),
            ("features", 0, "geometry", "coordinates"),
            ("features", 0, "geometry", "coordinates", 0),
            ("features", 0, "geometry", "coordinates", 0, 0),
            ("features", 0, "geometry", "coordinates", 0, 0, 0),
            ("features", 0, "properties"),
        ]
    )  # fmt: skip
    for path in places:
        for value in WRONG:
            if path[-1] in ("images", "annotations", "features") and value in ([], {}):
                continue  # an empty file is sound
            content = json.dumps(change(sound, path, value)).encode()
            shown = str(value)[:12]
            # Some of these still mean a box, or none: then it lies in bounds.
            name = f"{ending}, {'.'.join(map(str, path))} = {shown or type(value).__name__}"
            read_bounded = lambda file: show_bounded(read, file)  # noqa: E731
            yield Hostile(name, write(f"a.{ending}", content), read_bounded, f"{refused}|bounded")


def show_bounded(read: Callable[[Path], Any], file: Path) -> str:
    """Read detections, and say whether each number in them is a finite one."""
    found = [box for image in read(file) for box in image.detections]
    sides = [side for box in found for side in (box.x1, box.y1, box.x2, box.y2)]
    bounded = all(isinstance(side, float | int) and abs(side) < 1e13 for side in sides)
    return "bounded" if bounded else f"UNBOUNDED {found}"


def _list_rows(refused: str) -> Iterator[Hostile]:
    """Detections of which one field is wrong, as JSON and as a table."""
    for field in ("x1", "y1", "x2", "y2", "confidence", "plane"):
        for value in ("x", "nan", "inf", "9" * 400, "", "[]", "1e400", "0x1", "--1"):
            if not value and field in ("confidence", "plane"):
                continue  # a person has no confidence, and a single plane no number
            row = ROW | {field: value}
            header = ",".join(row)
            text = f"{header}\n{','.join(str(cell) for cell in row.values())}\n"
            build = write("a.csv", text.encode())
            name = f"csv, {field} = {value[:8] or 'nothing'}"
            yield Hostile(name, build, read_detections, refused)
        for value in (None, [], {}, True, 10**400, float("nan")):
            build = write("a.json", json.dumps([ROW | {field: value}]).encode())
            name = f"json, {field} = {str(value)[:8]}"
            read_bounded = lambda file: show_bounded(read_detections, file)  # noqa: E731
            yield Hostile(name, build, read_bounded, f"{refused}|bounded")
    for field in ROW:
        row = {name: value for name, value in ROW.items() if name != field}
        text = f"{','.join(row)}\n{','.join(str(cell) for cell in row.values())}\n"
        if field not in ("plane", "confidence"):
            build = write("a.csv", text.encode())
            yield Hostile(f"csv without {field}", build, read_detections, refused)
    for what, text in {
        "a nul": "source,x1\n\0,1\n",
        "a field of 200,000": f"source\n{'x' * 200_000}\n",
        "quotes that are open": 'source,x1\n"a,1\n',
        "5,000 columns": ",".join(f"c{n}" for n in range(5_000)),
    }.items():
        build = write("a.csv", text.encode())
        yield Hostile(f"csv with {what}", build, read_detections, refused)


def _list_label_lines() -> Iterator[Hostile]:
    """Lines of YOLO's label files that are no boxes."""
    lines = (
        *("x", "0", "0 1", "0 1 1 1", "x 0.5 0.5 0.1 0.1", "9 0.5 0.5 0.1 0.1", "-1 .5 .5 .1 .1"),
        *("0 nan 0.5 0.1 0.1", "0 inf 0.5 0.1 0.1", "0 0.5 0.5 -0.1 0.1", "0 5 5 0.1 0.1"),
        *("0 1e400 0.5 0.1 0.1", f"0 {'9' * 400} 0.5 0.1 0.1", "0 0.5 0.5 0 0", "\0", "0,0.5,0.5"),
        *("0.5 0.5 0.5 0.1 0.1", "1e9 0.5 0.5 0.1 0.1", "0 .5 .5 .1 .1 x", "٠ x y z w"),
    )
    for line in lines:

        def build(folder: Path, line: str = line) -> Path:
            (folder / "labels").mkdir()
            (folder / "labels" / "good.txt").write_text(line + "\n", encoding="utf-8")
            (folder / "images").mkdir()
            described = {"names": ["a"], "train": "."}
            (folder / "data.yaml").write_text(json.dumps(described))
            return folder

        yield Hostile(f"yolo line {line[:24]!r}", build, label_lines, "good.png.*good.txt")


def label_lines(folder: Path) -> str:
    """Read a folder of YOLO's layout."""
    (folder / "images" / "good.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    found = read_folder(folder)
    return f"{[example.image.name for example in found.examples]} {found.skipped}"
