"""How often `cytoloop detect` opens the files of a folder, and the time that it takes to read them.

    uv run python benchmarks/source_opens.py [--files 300] [--rounds 7] [--before CHECKOUT]

Folders of small TIFFs: RGB files that are scans of their own, the same as the tiles of a grid,
16-bit tiles of a grid, and stacks of three planes in one file. Opens are counted by Python's
audit hook, so what any reader opens counts, whichever function asked for it. The network finds
nothing and takes no time, so what is timed is reading. `--before` names another checkout (one
made by `git worktree add`), which is measured in turn with this one, round by round, each time
in a new process; what is printed is the median.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import tifffile

SIDES = (360, 480)  # height and width, px
COLUMNS = 20
ROOT = Path(__file__).parents[1]


class Blind:
    """A network that finds nothing."""

    batch = 1

    def infer(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for _ in batches:
            yield np.zeros((1, 5, 1), np.float32)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--files", type=int, default=300)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--before", type=Path)
    arguments.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.child:
        print(json.dumps(measure(asked.child)))
        return
    trees = {"now": ROOT} | ({"before": asked.before.resolve()} if asked.before else {})
    print(f"{asked.files} files a folder; medians of {asked.rounds} runs")
    print(f"{'':18}{'':8}{'opens a file':>13}{'most of one':>13}{'ms a file':>11}{'of a core':>11}")
    with tempfile.TemporaryDirectory() as name:
        for kind in ("RGB files", "RGB tiles", "16-bit tiles", "stacks"):
            folder = Path(name, kind)
            write(folder, kind, asked.files)
            results: dict[str, list[dict[str, float]]] = {tree: [] for tree in trees}
            for _ in range(asked.rounds):
                for tree, root in trees.items():
                    results[tree].append(run(root, folder))
            for tree, rounds in results.items():
                opens, most, seconds, core = (
                    median(figures[key] for figures in rounds)
                    for key in ("opens", "most", "seconds", "core")
                )
                print(
                    f"{kind:18}{tree:8}{opens / asked.files:13.2f}{most:13.0f}"
                    f"{1e3 * seconds / asked.files:11.2f}{1e3 * core / asked.files:11.2f}",
                    flush=True,
                )


def write(folder: Path, kind: str, number: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    height, width = SIDES
    for place in range(number):
        row, column = divmod(place, COLUMNS)
        name = f"image{place}.tif" if "tiles" not in kind else f"r{row}_c{column}.tif"
        if kind.startswith("RGB"):
            pixels = rng.integers(0, 200, (height, width, 3), np.uint8)
            tifffile.imwrite(folder / name, pixels, photometric="rgb", compression="zlib")
        elif kind == "16-bit tiles":
            pixels = rng.integers(0, 4000, (height, width)).astype(np.uint16)
            tifffile.imwrite(folder / name, pixels, photometric="minisblack", compression="zlib")
        else:
            pixels = rng.integers(0, 200, (3, height, width), np.uint8)
            tifffile.imwrite(folder / name, pixels, photometric="minisblack", compression="zlib")


def run(root: Path, folder: Path) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__)), "--child", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout)


def measure(folder: Path) -> dict[str, float]:
    """Opens of all files, the most of one, seconds, and seconds of a core."""
    from ml_backend.learners.detector.inference import Detector
    from ml_backend.learners.model_file import ModelCard
    from tasks.detection.detect_files import detect

    detector = Detector(ModelCard("yolov5n", ("Cell",), ("Cell",), 1.0, 0.3), Blind())
    opens: Counter[str] = Counter()

    def count(event: str, details: tuple) -> None:
        if event == "open" and isinstance(details[0], str | os.PathLike):
            opens[os.fspath(details[0])] += 1

    sys.addaudithook(count)
    started, busy = time.perf_counter(), time.process_time()
    summary = detect(folder, detector, folder.with_suffix(".csv"), "none", lambda *at: None)
    seconds, core = time.perf_counter() - started, time.process_time() - busy
    if summary["skipped"]:
        sys.exit(f"left out: {summary['skipped'][0]}")
    ours = {path: times for path, times in opens.items() if path.startswith(f"{folder}{os.sep}")}
    opened = sum(ours.values())
    return {"opens": opened, "most": max(ours.values()), "seconds": seconds, "core": core}


if __name__ == "__main__":
    main()
