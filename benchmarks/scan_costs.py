"""What a tile and a task cost, and what 1, 10 and 100 machines do with many of them.

    uv run python benchmarks/scan_costs.py [--tiles 480] [--tasks 0 4000 16000] [--folder DIR]

Measured on this machine, as milliseconds of one core, so that it does not matter what else the
machine does: for a tile, decoding, the network, all of `cytoloop detect`, and looking once more
at the seams, where tiles abut (these do not continue each other, so every seam cuts on both
sides: about twice what a real scan needs); gathering, which one machine does for all (what was
seen is put together over seams and planes, and pictures are chosen); for a task, writing its
PNG, and Label Studio's import of it with a pre-annotation, in requests of the size that a scan
sends, into projects that hold so many tasks already.

From that a table is calculated: the hours that machines with as many cores as this one would
take, if one more machine is worth as much as the first, tiles overlap (so that no seam is
looked at again), a share of SENT tiles becomes tasks, and a person needs A_TASK seconds for one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from scan_speed import REAL, cut
from starter import ready
from studio import running

from ml_backend.imaging.decode import decode, encode_png
from ml_backend.label_studio.client import Studio
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.detector.preprocess import prepare_input
from ml_backend.learners.openvino_runtime import IR_NAME, OpenVinoRuntime
from tasks.detection.detect_files import detect
from tasks.detection.scan_detector import ScanDetector
from tasks.review.checkpoint import Checkpoint
from tasks.review.scan_to_project import TILE
from tasks.review.selection import select_for_review
from tasks.review.task_metadata import make_picture_key
from tasks.review.upload import CHUNK
from tasks.sources.scan_source import SourceOptions

ROOT = Path(__file__).parents[1]
CONFIG = (ROOT / "ml_backend" / "label_studio" / "configs" / "mitosis.xml").read_text(
    encoding="utf-8"
)
PORT = 8098
COLUMNS = 20
ROUNDS = 8  # requests that are timed at each size of the project
SENT = 0.05
A_TASK = 20.0
CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Costs:
    """ms of a core, for a tile and for a task's picture; studio: ms of Label Studio's time for
    a task, by how many tasks the project held."""

    tile: float
    gather: float
    picture: float
    studio: dict[int, float]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tiles", type=int, default=480)
    options.add_argument("--tasks", type=int, nargs="+", default=[0, 4000, 16000])
    options.add_argument("--folder", type=Path, help="keeps the tiles for the next run")
    asked = options.parse_args()
    if not REAL.is_dir():
        sys.exit(f"the real images are not at {REAL}")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        tile, gather, picture = tiles(asked.folder or scratch / "tiles", asked.tiles, scratch)
        costs = Costs(tile, gather, picture, tasks(asked.tasks, scratch))
    table(costs)


def tiles(folder: Path, number: int, scratch: Path) -> tuple[float, float, float]:
    """ms of a core for a tile, for gathering it, and for a task's picture."""
    paths = [folder / tile.name for tile in cut(folder, number)]
    scan = scratch / "scan"
    scan.mkdir()
    for place, path in enumerate(paths):
        os.link(path, scan / f"r{place // COLUMNS:03}_c{place % COLUMNS:03}.png")
    model = ready(scratch)
    detector = Detector.load(model)
    print(f"{number} tiles of 960 x 720 px, {CORES} cores; ms of a core for a tile:", flush=True)

    some = paths[:: max(1, number // 100)]
    images = [decode(path) for path in some]
    line("decoding", used(lambda: [decode(path) for path in some]) / len(some))
    inputs = [prepare_input(image, detector.card.scale)[None] for image in images]
    runtime = OpenVinoRuntime(model / IR_NAME)
    list(runtime.infer(inputs[:4]))
    line("the network", used(lambda: list(runtime.infer(inputs))) / len(some))
    out = scratch / "out.csv"
    tile = used(lambda: detect(folder, detector, out, "starter", lambda *at: None)) / number
    line("all of cytoloop detect", tile)

    checkpoint = Checkpoint(scratch / "checkpoint.sqlite")
    how = SourceOptions(tile_overlap=0)
    first = (
        used(lambda: list(ScanDetector(scan, detector, how, memory=checkpoint).detect_scans()))
        / number
    )
    line("looking at abutting seams", first - tile)

    def gathering() -> None:
        for sheet in ScanDetector(scan, detector, how, memory=checkpoint).detect_scans():
            card = detector.card
            select_for_review(
                sheet,
                "review",
                most=TILE,
                headline=card.headline,
                threshold=card.threshold,
                key=make_picture_key,
            )

    gather = used(gathering) / number
    checkpoint.close()
    line("gathering", gather, "by one machine for all")
    picture = used(lambda: [encode_png(image) for image in images]) / len(some)
    line("the PNG of a task", picture)
    return tile, gather, picture


def tasks(sizes: list[int], scratch: Path) -> dict[int, float]:
    """ms that Label Studio takes for a task, by the tasks that the project holds already."""
    found = {}
    with label_studio(scratch) as (studio, process, database):
        project = studio.create_project("Costs", CONFIG).id
        print(f"ms for a task in Label Studio, requests of {CHUNK} tasks:", flush=True)
        held = last = 0
        for size in sizes:
            made = [task(number) for number in range(held, size)]
            studio.import_tasks(project, made)
            held = max(size, held)
            began = time.perf_counter()
            last = max((entry["id"] for entry in studio.list_tasks(project, full=False)), default=0)
            asked = 1e3 * (time.perf_counter() - began) / max(held, 1)
            began, busy = time.perf_counter(), cpu(process)
            for _ in range(ROUNDS):
                # As a scan sends: it asks what has come, then sends what has not.
                for entry in studio.list_tasks(project, after=last, full=False):
                    last = max(last, entry["id"])
                made = [task(held + number) for number in range(CHUNK)]
                studio.import_tasks(project, made, chunk=CHUNK)
                held += CHUNK
            sent = ROUNDS * CHUNK
            found[size] = 1e3 * (time.perf_counter() - began) / sent
            print(
                f"  the project holds {size:6}: {found[size]:6.2f}, of these "
                f"{1e3 * (cpu(process) - busy) / sent:6.2f} of its own CPU time"
                + (f"; {asked:.2f} to be asked for its key at the start" if size else ""),
                flush=True,
            )
        print(f"  {database.stat().st_size / held / 1e3:.1f} kB of its database a task")
    return found


@contextmanager
def label_studio(scratch: Path) -> Iterator[tuple[Studio, psutil.Process, Path]]:
    """A new one: its interface, its process and its database."""
    folder = scratch / "label-studio"
    with running(folder, scratch / "media", PORT) as (environment, process):
        (database,) = (folder / "data").glob("*.sqlite3")
        studio = Studio(environment.url, environment.prepare_account().token)
        yield studio, psutil.Process(process.popen.pid), database


def task(number: int) -> dict[str, Any]:
    """A task as a scan sends it, with two boxes."""
    return {
        "data": {
            "image": f"/data/local-files/?d=1/scans/{number:020}.png",
            "scan": "slide",
            "source": "slide",
            "row": number // 100,
            "column": number % 100,
            "plane": 0,
            "x": 960 * (number % 100),
            "y": 720 * (number // 100),
            "stitched": False,
            "split": "train",
            "blind": False,
            "sampling_p": 1.0,
            "sampling_reason": "found",
            "certainty": 0.5,
            "key": f"{number:020}",
        },
        "predictions": [
            {
                "model_version": "starter",
                "score": 0.5,
                "result": [region(f"{number}-{place}", 30.0 * place) for place in (1, 2)],
            }
        ],
    }


def region(name: str, left: float) -> dict[str, Any]:
    value = {"x": left, "y": 20.0, "width": 5.0, "height": 6.0, "rotation": 0, "score": 0.7}
    return {
        "id": name,
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": 960,
        "original_height": 720,
        "image_rotation": 0,
        "value": {**value, "rectanglelabels": ["Mitotic cell"]},
    }


def table(costs: Costs) -> None:
    studio = costs.studio[max(costs.studio)]
    detecting, picture = costs.tile / CORES, SENT * costs.picture / CORES
    print(
        f"\nhours, if {SENT:.0%} of the tiles become tasks and a person needs {A_TASK:.0f} s a task"
    )
    print(f"  {'tiles':>14}{'machines':>10}{'detecting':>12}{'gathering':>12}")
    for number in (10**6, 10**9):
        for machines in (1, 10, 100):
            hours = number / 3.6e6
            print(
                f"  {number:14,}{machines:10}{detecting * hours / machines:12,.2f}"
                f"{(costs.gather + picture) * hours:12,.2f}"
            )
        print(
            f"  {number * SENT:14,.0f} tasks: Label Studio {studio * SENT * number / 3.6e6:,.2f}, "
            f"one person {A_TASK * SENT * number / 3600:,.0f}"
        )
    print(
        f"one machine gathers for {detecting / (costs.gather + picture):.0f} that detect; Label "
        f"Studio keeps up with {detecting / (SENT * studio):.0f}"
    )


def used(act: Callable[[], object]) -> float:
    """ms of a core that something takes, in all threads of this process."""
    began = time.process_time()
    act()
    return 1e3 * (time.process_time() - began)


def cpu(process: psutil.Process) -> float:
    family = [process, *process.children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in family)


def line(what: str, value: float, note: str = "") -> None:
    print(f"  {what:26}{value:7.2f}   {note}", flush=True)


if __name__ == "__main__":
    main()
