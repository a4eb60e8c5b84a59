"""The detections of a file or a folder of images, without Label Studio.

Files are decoded ahead in threads while the detector works; what was found is written as
it comes, so memory does not grow with the folder. A file that cannot be read is listed
with its reason and harms no other.
"""

from __future__ import annotations

import csv
import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from ml_backend.files import replacing
from ml_backend.images import UnreadableImage, decode
from ml_backend.learners.detector import Detector

IMAGE_ENDINGS = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif", ".tif", ".tiff"}
)
COLUMNS = ("source", "x1", "y1", "x2", "y2", "label", "confidence", "plane")

_DECODERS = min(8, os.cpu_count() or 1)
_AHEAD = 2 * _DECODERS  # decoded images that wait at most; one may take up to 1.2 GB

Record = dict[str, str | float | int]


class Skipped(TypedDict):
    source: str
    reason: str


class Summary(TypedDict):
    """tiles: images decoded. seconds: from start to end. detections: how many boxes."""

    tiles: int
    seconds: float
    tiles_per_second: float
    detections: int
    skipped: list[Skipped]
    model: str


def detect(
    source: Path,
    detector: Detector,
    out: Path,
    model: str,
    progress: Callable[[int, int], None],
) -> Summary:
    """Detect in an image, or in every image of a folder and its folders, and write `out`.

    out: a .json file (a list of objects) or a .csv file of COLUMNS, in natural order of the
    sources and falling confidence; x and y in pixels of the image as shown, plane 0. It
    appears when it is complete. A source is named by its path within the folder.
    model: the version's name, for the summary. progress: called with (done, all) files.

    Raises FileNotFoundError when there is no source, ValueError when `out` has another
    ending or the folder holds no image, OSError when `out` cannot be written.
    """
    started = time.perf_counter()
    write = _writer(out)
    paths, skipped = image_files(source)
    if not paths and not skipped:
        raise ValueError(f"{source} holds no images ({', '.join(sorted(IMAGE_ENDINGS))})")
    names = {path: _name(path, source) for path in paths}
    decoded: deque[Path] = deque()  # handed to the detector and not answered yet
    tiles = detections = 0

    def images() -> Iterator[np.ndarray]:
        for path, image in _decoded_ahead(paths):
            if isinstance(image, str):
                skipped.append({"source": names[path], "reason": image})
                progress(tiles + len(skipped), total)
            else:
                decoded.append(path)
                yield image

    total = len(paths) + len(skipped)
    with write(out) as add:
        for boxes in detector.stream(images()):
            path = decoded.popleft()
            for x1, y1, x2, y2, label, confidence in boxes.rows():
                corners = [round(value, 2) for value in (x1, y1, x2, y2)]
                values = (names[path], *corners, label, round(confidence, 4), 0)
                add(dict(zip(COLUMNS, values, strict=True)))
                detections += 1
            tiles += 1
            progress(tiles + len(skipped), total)
    seconds = time.perf_counter() - started
    return {
        "tiles": tiles,
        "seconds": round(seconds, 3),
        "tiles_per_second": round(tiles / seconds, 2),
        "detections": detections,
        "skipped": skipped,
        "model": model,
    }


def image_files(source: Path) -> tuple[list[Path], list[Skipped]]:
    """The images of a folder by ending, in natural order, and the links that were not followed.

    A source that is a file is taken whatever its ending. Hidden files are no images; links
    to files elsewhere in the folder are kept, links out of it are not.
    Raises FileNotFoundError.
    """
    if source.is_file():
        return [source], []
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: there is no such file or folder")
    paths: list[Path] = []
    skipped: list[Skipped] = []
    inside = source.resolve()
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if name.startswith(".") or path.suffix.lower() not in IMAGE_ENDINGS:
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                reason = "a link that leads out of the folder is not followed"
                skipped.append({"source": _name(path, source), "reason": reason})
            else:
                paths.append(path)
    skipped.sort(key=lambda entry: natural_key(entry["source"]))
    return sorted(paths, key=lambda path: natural_key(_name(path, source))), skipped


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts tile2 before tile10, and upper and lower case together."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _name(path: Path, source: Path) -> str:
    return path.name if path == source else path.relative_to(source).as_posix()


def _decoded_ahead(paths: list[Path]) -> Iterator[tuple[Path, np.ndarray | str]]:
    """Each path in order with its pixels, or the reason why there are none."""
    ahead: deque[tuple[Path, Future[np.ndarray]]] = deque()
    rest = iter(paths)
    with ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode") as pool:
        try:
            while True:
                while len(ahead) < _AHEAD and (path := next(rest, None)):
                    ahead.append((path, pool.submit(decode, path)))
                if not ahead:
                    return
                path, future = ahead.popleft()
                try:
                    yield path, future.result()
                except UnreadableImage as error:
                    yield path, error.reason
        finally:
            for _, future in ahead:
                future.cancel()


Add = Callable[[Record], None]


def _writer(out: Path) -> Callable[[Path], Any]:
    """By the ending, before any work is done."""
    writers = {".json": _json, ".csv": _csv}
    try:
        return writers[out.suffix.lower()]
    except KeyError:
        raise ValueError(f"{out}: write detections to a .json or a .csv file") from None


@contextmanager
def _csv(out: Path) -> Iterator[Add]:
    with (
        replacing(out) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        yield writer.writerow


@contextmanager
def _json(out: Path) -> Iterator[Add]:
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8") as file:
        separator = "[\n"

        def add(record: Record) -> None:
            nonlocal separator
            file.write(separator + json.dumps(record, ensure_ascii=False))
            separator = ",\n"

        yield add
        file.write("[]\n" if separator == "[\n" else "\n]\n")
