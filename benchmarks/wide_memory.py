"""The memory that very wide images take to be looked at, beyond the model's.

    uv run python benchmarks/wide_memory.py [--height 4000]

TIFFs of 8-bit RGB, made of one real image (a generated one where there are none) side by
side, 60,000 px wide and as wide as a square one of 20 gigapixels would be; in strips by LZW
and in tiles of 512 px by deflate. What is kept of an image does not grow with its height, so
a low one shows what a high one takes. Each is looked through in a process of its own from
end to end, at the scale of the shipped starter and at the scale 1 (where nothing can be
halved), by a network that finds nothing and takes no memory. The peak counts from what the
process had when it had looked at a small image.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyvips

from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import ModelCard
from tasks.detection.scan_detector import ScanDetector
from tasks.sources.scan_source import SourceOptions

REAL = Path(__file__).parents[2] / "shared" / "data" / "plant_mitosis" / "images"
WIDTHS = (60_000, 141_000)
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips, LZW": {"compression": "lzw"},
    "tiles, deflate": {
        **{"compression": "deflate", "tile": True, "tile_width": 512, "tile_height": 512},
        "level": 1,
    },
}
SCALES = (512 / 1300, 1.0)
LIMIT = 300  # MB


class Blind:
    """A network that finds nothing."""

    batch = 1

    def infer(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for _ in batches:
            yield np.zeros((1, 5, 1), np.float32)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--height", type=int, default=4000)
    arguments.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.child:
        print(json.dumps(looked_through(Path(asked.child[0]), float(asked.child[1]))))
        return
    print(f"{'':32}{'scale':>6}{'MB over the model':>20}{'seconds':>9}   (limit {LIMIT} MB)")
    with tempfile.TemporaryDirectory() as folder:
        for width in WIDTHS:
            for layout, options in LAYOUTS.items():
                path = Path(folder, "wide.tif")
                write(path, width, asked.height, options)
                for scale in SCALES:
                    command = [sys.executable, __file__, "--child", str(path), str(scale)]
                    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                    over, seconds = json.loads(done.stdout)
                    name = f"{width:,} px wide, {layout}"
                    print(f"{name:32}{scale:6.2f}{over:20.0f}{seconds:9.1f}", flush=True)


def write(path: Path, width: int, height: int, options: dict[str, Any]) -> None:
    if REAL.is_dir():
        image = pyvips.Image.new_from_file(str(sorted(REAL.iterdir())[0])).colourspace("srgb")[:3]
    else:
        image = pyvips.Image.gaussnoise(1300, 1030, mean=40, sigma=9).cast("uchar").bandjoin([0, 0])
    across, down = -(-width // image.width), -(-height // image.height)
    wide = image.copy_memory().replicate(across, down).crop(0, 0, width, height)
    wide.copy(interpretation="srgb").tiffsave(str(path), bigtiff=True, **options)


def looked_through(path: Path, scale: float) -> tuple[float, float]:
    """MB at the highest, and seconds."""
    detector = Detector(ModelCard("yolov5n", ("Cell",), ("Cell",), scale, 0.3), Blind())
    small = path.with_name("small.tif")
    write(small, 1000, 1000, {})
    list(ScanDetector(small, detector, SourceOptions()).detect_scans())
    small.unlink()
    process = psutil.Process()
    before = most = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    started = time.perf_counter()
    finder = ScanDetector(path, detector, SourceOptions())
    list(finder.detect_scans())
    seconds = time.perf_counter() - started
    done.set()
    thread.join()
    if finder.skipped:
        sys.exit(f"{path} was left out: {finder.skipped[0]['reason']}")
    return (most - before) / 1e6, seconds


if __name__ == "__main__":
    main()
