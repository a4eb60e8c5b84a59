"""Does a tile cost the same in a large scan as in a small one?

    uv run python benchmarks/scan_planes.py [--fields 84 342 1404] [--z each] [--folder DIR]

A scan of 36 × 39 fields in 12 planes is 16,848 files of 960 × 720 px. Here its files are hard
links to 96 distinct PNG files, which spares the disk; each is opened and decoded by itself
every time. They are 24 tiles cut from the real images beside the project, at four degrees of
blur, so that a field is sharpest in its middle planes; towards its edges each fades into its
own background, because neighbours do not continue each other (what seams cost is measured by
scan_costs.py). Every size runs in a process of its own, from the folder to the pictures that
would be sent: printed are the cost of a file, and of putting together what was seen (merging
over seams and planes, choosing pictures), and the most memory over the loaded model. z: each
plane by itself, or all planes of a field as one, max or focus. With `--folder`, a run that was
stopped goes on where it was, as a scan does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import psutil
from scan_speed import REAL, cut
from starter import ready

from ml_backend.imaging.decode import decode
from ml_backend.learners.detector.inference import Detector
from tasks.detection.scan_detector import ScanDetector
from tasks.detection.window_detector import PlaneDetections
from tasks.review.checkpoint import Checkpoint
from tasks.review.scan_to_project import TILE
from tasks.review.selection import select_for_review
from tasks.review.task_metadata import make_picture_key
from tasks.sources.scan_source import Depth, SourceOptions

COLUMNS, PLANES = 39, 12
TILES, BLURS = 24, (0.0, 1.0, 2.0, 3.0)  # px of standard deviation
EVERY = 1000
FADE = 90  # px from the edge that a tile fades over; as much as most objects have


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--fields", type=int, nargs="+", default=[84, 342, 1404])
    options.add_argument("--z", choices=("each", "max", "focus"), default="each")
    options.add_argument("--folder", type=Path, help="keeps the files, and what was seen in them")
    options.add_argument("--one", type=Path, nargs=2, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.one:
        folder, model = asked.one
        measure(folder, model, asked.z)
        return
    if not REAL.is_dir():
        sys.exit(f"the real images are not at {REAL}")
    with tempfile.TemporaryDirectory() as name:
        scratch = asked.folder or Path(name)
        distinct = scratch / "distinct"
        tiles = made(distinct)
        model = ready(scratch)
        print(f"{PLANES} planes, --z {asked.z}, {os.cpu_count()} cores", flush=True)
        for number in asked.fields:
            folder = linked(scratch / f"scan{number}", tiles, number)
            subprocess.run(
                [sys.executable, __file__, "--z", asked.z, "--one", str(folder), str(model)],
                check=True,
            )


def made(folder: Path) -> list[list[Path]]:
    """The distinct files: of each tile, one for each degree of blur."""
    paths = []
    for tile in cut(folder / "tiles", TILES):
        pixels = decode(folder / "tiles" / tile.name).astype(np.float32)
        height, width = pixels.shape[:2]
        inner = np.zeros((height, width), np.float32)
        inner[FADE:-FADE, FADE:-FADE] = 1
        inner = cv2.GaussianBlur(inner, (0, 0), FADE / 4)[..., None]
        pixels = inner * pixels + (1 - inner) * np.median(pixels, axis=(0, 1))
        paths.append([folder / f"{blur:.0f} {tile.name}" for blur in BLURS])
        for path, blur in zip(paths[-1], BLURS, strict=True):
            if not path.exists():
                blurred = cv2.GaussianBlur(pixels, (0, 0), blur) if blur else pixels
                cv2.imwrite(str(path), blurred.round().astype(np.uint8)[..., ::-1])
    return paths


def linked(folder: Path, tiles: list[list[Path]], fields: int) -> Path:
    """A scan of so many fields; which tile a field shows differs from row to row."""
    if folder.exists():
        return folder
    folder.mkdir()
    for field, plane in product(range(fields), range(PLANES)):
        row, column = divmod(field, COLUMNS)
        shown = tiles[(7 * row + 11 * column) % len(tiles)]
        sharp = shown[min(abs(plane - PLANES // 2) // 2, len(BLURS) - 1)]
        os.link(sharp, folder / f"r{row:02}_c{column:02}_z{plane:02}.png")
    return folder


class Watching(Checkpoint):
    """A checkpoint that notes when each file, or part over a seam, was seen, and tells of every
    EVERY."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.known = self._database.execute("select count(*) from seen").fetchone()[0]
        self.new = 0
        self.most = self.before = resident()
        self.last = self.told = (time.perf_counter(), time.process_time())
        threading.Thread(target=self._watch, daemon=True).start()

    def keep(self, mark: str, seen: list[PlaneDetections]) -> None:
        super().keep(mark, seen)
        self.new += 1
        self.last = time.perf_counter(), time.process_time()
        if self.new % EVERY == 0:
            clock, cores = (
                1e3 * (b - a) / EVERY for a, b in zip(self.told, self.last, strict=True)
            )
            print(
                f"    to {self.known + self.new:6} {clock:6.2f} ms a file ({cores:5.1f} ms of a "
                f"core); {self.most - self.before:4.0f} MB",
                flush=True,
            )
            self.told = self.last

    def _watch(self) -> None:
        while True:
            self.most = max(self.most, resident())
            time.sleep(0.05)


def measure(folder: Path, model: Path, z: Depth) -> None:
    detector = Detector.load(model)
    card = detector.card
    checkpoint = Watching(folder.with_name(f"{folder.name}-{z}.sqlite"))
    started, busy = time.perf_counter(), time.process_time()
    finder = ScanDetector(
        folder, detector, SourceOptions(tile_overlap=0, depth=z), memory=checkpoint
    )
    objects = pictures = 0
    for sheet in finder.detect_scans():
        objects += len(sheet.objects)
        pictures += len(
            select_for_review(
                sheet,
                "review",
                most=TILE,
                headline=card.headline,
                threshold=card.threshold,
                key=make_picture_key,
            )
        )
    ended, busy = time.perf_counter(), time.process_time() - busy
    files = sum(1 for _ in folder.iterdir())
    whole = (
        f"{1e3 * (ended - started) / files:6.2f} ms a file ({1e3 * busy / files:5.1f} of a core)"
    )
    print(
        f"{files:7} files: {'gone on with' if checkpoint.known else whole}; putting together "
        f"{1e3 * (ended - checkpoint.last[0]) / files:5.2f} ms a file; "
        f"{checkpoint.most - checkpoint.before:4.0f} MB over the loaded model; "
        f"{objects} objects, {pictures} pictures",
        flush=True,
    )
    checkpoint.close()


def resident() -> float:
    """MB of memory that this process holds."""
    return psutil.Process().memory_info().rss / 1e6


if __name__ == "__main__":
    main()
