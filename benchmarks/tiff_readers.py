"""Our readers of TIFF beside tifffile's own Zarr store: time and memory of reading windows.

    uv run --extra zarr python benchmarks/tiff_readers.py [--rounds 5]

Three layouts, uncompressed and by deflate: tiled (12,000 x 12,000 px RGB, tiles of 512 px),
stripped and wide (60,000 x 2,000 px RGB, strips of 128 rows), and 24 pages of 2,048 x 2,048 px in
16 bits. Each file is read from end to end in the windows that the shipped starter looks through
(1,536 px that share 256 px, halved once), by `tasks.readers`, by `TiffFile.aszarr`, and by the
same with Zarr's cache of 64 MB before it, all behind the same `Reader`, so that what is timed is
the store and not what is done with its pixels. Every window of the store is asked for as windows
lie, or, where that is less work, downwards in strips as our readers do.

Each run is a process of its own, the readers taking turns. Printed: the median of the seconds,
that of the highest memory above what the process had before it opened the file, and both as
shares of ours. The pixels must be the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import tifffile

from ml_backend.imaging.decode import convert_to_rgb, stretch_contrast
from tasks.readers.open import open_scan
from tasks.readers.planes import PlaneReader, Rendering, ScanPlane

SIDE, OVERLAP, HALVED = 1536, 256, 1
CACHE = 64_000_000
LIMITS = (700.0, 1100.0)  # black and white of the 16-bit pages, which no reader looks for here
READERS = ("ours", "zarr", "zarr, cached")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.child:
        print(json.dumps(measure(Path(asked.child[1]), asked.child[0])))
        return
    print(f"{'':26}{'reader':14}{'seconds':>9}{'MB':>7}{'time':>10}{'memory':>9}   (of ours)")
    with tempfile.TemporaryDirectory() as folder:
        for layout in ("tiled", "stripped, wide", "24 pages"):
            for compression in (None, "zlib"):
                path = Path(folder, "scan.tif")
                write(path, layout, compression)
                compare(path, f"{layout}, {compression or 'raw'}", asked.rounds)


def compare(path: Path, name: str, rounds: int) -> None:
    runs: dict[str, list[dict[str, Any]]] = {reader: [] for reader in READERS}
    for _ in range(rounds):
        for reader in READERS:
            command = [sys.executable, __file__, "--child", reader, str(path)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            runs[reader].append(json.loads(done.stdout))
    if len({figures["pixels"] for rounds in runs.values() for figures in rounds}) > 1:
        sys.exit(f"{name}: the readers do not show the same pixels")
    ours = [median(figures[key] for figures in runs["ours"]) for key in ("seconds", "memory")]
    for reader, those in runs.items():
        seconds, memory = (
            median(figures[key] for figures in those) for key in ("seconds", "memory")
        )
        print(
            f"{name:26}{reader:14}{seconds:9.2f}{memory:7.0f}"
            f"{seconds / ours[0]:10.2f}{memory / ours[1]:9.2f}",
            flush=True,
        )


def write(path: Path, layout: str, compression: str | None) -> None:
    """A smooth field with grain, which compresses as micrographs do: to about two thirds."""
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {"compression": compression, "predictor": bool(compression)}
    if layout == "24 pages":
        pages = (rng.normal(900, 60, (2048, 2048)).astype(np.uint16) + at for at in range(24))
        tifffile.imwrite(
            path, pages, shape=(24, 2048, 2048), dtype=np.uint16, photometric="minisblack",
            rowsperstrip=128, **options,
        )  # fmt: skip
        return
    height, width = (12_000, 12_000) if layout == "tiled" else (2_000, 60_000)
    block = rng.normal(90, 4, (500, 500, 3)).astype(np.uint8)
    pixels = np.tile(block, (height // 500, width // 500, 1))
    options |= {"tile": (512, 512)} if layout == "tiled" else {"rowsperstrip": 128}
    tifffile.imwrite(path, pixels, photometric="rgb", **options)


@dataclass(frozen=True)
class Chunked:
    """A plane of an array of Zarr. index: of the plane; chunk: px of a chunk, (rows, columns)."""

    array: Any
    index: tuple[int, ...]
    width: int
    height: int
    chunk: tuple[int, int]
    limits: tuple[float, float] | None

    def reader(self) -> PlaneReader:
        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            part = self.array[(*self.index, slice(top, bottom), slice(left, right))]
            part = part.reshape(bottom - top, right - left, -1)
            return (
                stretch_contrast(part, self.limits) if self.limits else convert_to_rgb(part, "srgb")
            )

        wide = self.chunk[1] >= self.width > SIDE
        return PlaneReader(
            self.width, self.height, rows, anywhere=not wide, strip=self.height, decoded=not wide
        )


def opened_as_zarr(path: Path, cached: bool) -> list[ScanPlane]:
    import zarr
    from zarr.experimental.cache_store import CacheStore
    from zarr.storage import MemoryStore

    store: Any = tifffile.TiffFile(path).aszarr(series=0, level=0)
    if cached:
        store = CacheStore(store, cache_store=MemoryStore(), max_size=CACHE)
    array: Any = zarr.open_array(store, mode="r")
    pages = array.shape[0] if array.ndim == 3 and array.shape[-1] > 4 else None
    height, width = array.shape[1:3] if pages else array.shape[:2]
    chunk = array.chunks[1:3] if pages else array.chunks[:2]
    limits = LIMITS if array.dtype != np.uint8 else None
    return [
        ScanPlane(
            number,
            0,
            Chunked(array, (number,) if pages else (), width, height, chunk, limits),
        )
        for number in range(pages or 1)
    ]


def measure(path: Path, reader: str) -> dict[str, Any]:
    """Seconds, MB at the highest above the start, and a digest of what the windows show."""
    import zarr  # the library is no part of what a file takes
    import zarr.experimental.cache_store  # noqa: F401

    process = psutil.Process()
    before = most = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    digest = hashlib.sha256()
    started = time.perf_counter()
    showing = Rendering(limits=(("uint16", *LIMITS),))
    ours = reader == "ours"
    planes = open_scan(path, showing) if ours else opened_as_zarr(path, reader != "zarr")
    for plane in planes:
        for window in plane.read_windows(SIDE, OVERLAP, HALVED):
            few = window.pixels[::64, ::64].tobytes()  # enough to tell two readers apart
            digest.update(f"{plane.number} {window.left} {window.top}".encode() + few)
        if plane.failure:
            sys.exit(plane.failure)
    seconds = time.perf_counter() - started
    done.set()
    thread.join()
    return {
        "seconds": seconds,
        "memory": (most - before) / 1e6,
        "pixels": digest.hexdigest(),
    }


if __name__ == "__main__":
    main()
