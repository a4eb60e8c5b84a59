"""The detections of a file or a folder of images, without Label Studio.

Files are opened ahead in threads, and the small ones decoded, while the detector works;
what was found is written as it comes, so memory does not grow with the folder. A file or a
plane that cannot be read is listed with its reason and harms no other.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from ml_backend.images import UnreadableImage
from ml_backend.learners.detector import Detector
from ml_backend.seams import Objects, over_planes
from tasks.exchange import Detected, Detection, writer
from tasks.planes import ScanPlane
from tasks.scans import open_scan

IMAGE_ENDINGS = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif", ".tif", ".tiff"}
)

_OPENERS = min(8, os.cpu_count() or 1)
_AHEAD = 2 * _OPENERS  # opened files that wait at most; one holds up to 48 MB


class Skipped(TypedDict):
    source: str
    reason: str


class Summary(TypedDict):
    """tiles: planes that were read; a plain image is one. seconds: from start to end.
    detections: how many objects."""

    tiles: int
    seconds: float
    tiles_per_second: float
    detections: int
    skipped: list[Skipped]
    model: str


@dataclass
class _Source:
    """A file whose planes are being answered: those that were read, with what they show."""

    name: str
    planes: int
    waiting: int
    answered: list[tuple[ScanPlane, Objects]] = field(default_factory=list)


def detect(
    source: Path,
    detector: Detector,
    out: Path,
    model: str,
    progress: Callable[[int, int], None],
) -> Summary:
    """Detect in an image or scan, or in every one of a folder and its folders, and write `out`.

    out: its ending chooses one of `exchange.FORMATS`. Sources come in natural order, named by
    their path within the folder, each with its detections by falling confidence, in px of the
    image as shown; plane is the page in the file, 0 for a plain image. An object over several
    windows, or planes of a stack, is one detection. The file appears when it is complete.
    model: the version's name, for the summary. progress: called with (done, all) files.

    Raises FileNotFoundError when there is no source, ValueError when `out` has another
    ending or the folder holds no image, OSError when `out` cannot be written.
    """
    started = time.perf_counter()
    writing = writer(out)
    skipped: list[Skipped] = []
    tiles = detections = 0
    with writing as add:
        for found in detected_in(source, detector, progress):
            if isinstance(found, Detected):
                add(found)
                tiles += found.planes
                detections += len(found.detections)
            else:
                skipped.append(found)
    seconds = time.perf_counter() - started
    return {
        "tiles": tiles,
        "seconds": round(seconds, 3),
        "tiles_per_second": round(tiles / seconds, 2),
        "detections": detections,
        "skipped": skipped,
        "model": model,
    }


def detected_in(
    source: Path, detector: Detector, progress: Callable[[int, int], None]
) -> Iterator[Detected | Skipped]:
    """What each image or scan of a source shows, in natural order, or what was left out and why.

    As of `detect`; of a stack some planes may be left out and the others answered.
    Raises FileNotFoundError and ValueError as `detect` does, at the first one asked for.
    """
    paths, links = image_files(source)
    if not paths and not links:
        raise ValueError(f"{source} holds no images ({', '.join(sorted(IMAGE_ENDINGS))})")
    yield from links
    handed: deque[tuple[_Source, ScanPlane]] = deque()  # to the detector, not answered yet
    unread: list[Skipped] = []
    done, total = len(links), len(paths) + len(links)

    def planes() -> Iterator[ScanPlane]:
        nonlocal done
        for path, opened in _opened_ahead(paths):
            name = _name(path, source)
            if isinstance(opened, str):
                unread.append({"source": name, "reason": opened})
                done += 1
                progress(done, total)
                continue
            scan = _Source(name, len(opened), len(opened))
            for plane in opened:
                handed.append((scan, plane))
                yield plane

    for objects in detector.objects(planes()):
        scan, plane = handed.popleft()
        scan.waiting -= 1
        if plane.failure is None:
            scan.answered.append((plane, objects))
        else:
            which = f"plane {plane.number}: " if scan.planes > 1 else ""
            unread.append({"source": scan.name, "reason": which + plane.failure})
        if not scan.waiting:
            if scan.answered:
                yield _detected(scan)
            done += 1
            progress(done, total)
        yield from unread
        unread.clear()
    yield from unread


def _detected(scan: _Source) -> Detected:
    """What was found in a source, each object of a stack once."""
    stacks: dict[int, list[tuple[ScanPlane, Objects]]] = {}
    for plane, objects in scan.answered:
        stacks.setdefault(plane.stack, []).append((plane, objects))
    found: list[Detection] = []
    for stack in stacks.values():
        objects, places = over_planes([shown for _, shown in stack])
        found += (
            Detection(
                round(x1, 2),
                round(y1, 2),
                round(x2, 2),
                round(y2, 2),
                str(label),
                round(float(confidence), 4),
                stack[place][0].number,
                bool(partial),
            )
            for (x1, y1, x2, y2), label, confidence, partial, place in zip(
                objects.xyxy.tolist(),
                objects.label,
                objects.confidence,
                objects.partial,
                places,
                strict=True,
            )
        )
    found.sort(key=lambda one: -one.confidence)
    first = scan.answered[0][0]
    return Detected(scan.name, first.width, first.height, found, len(scan.answered))


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


def _opened_ahead(paths: list[Path]) -> Iterator[tuple[Path, list[ScanPlane] | str]]:
    """Each path in order with its planes, or the reason why there are none."""
    ahead: deque[tuple[Path, Future[list[ScanPlane]]]] = deque()
    rest = iter(paths)
    with ThreadPoolExecutor(_OPENERS, thread_name_prefix="open") as pool:
        try:
            while True:
                while len(ahead) < _AHEAD and (path := next(rest, None)):
                    ahead.append((path, pool.submit(open_scan, path)))
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
