"""How fast a folder of tiles is searched, beside what its parts cost alone.

    uv run python benchmarks/scan_speed.py [--tiles 2458] [--folder DIR]

The tiles, 960 × 720 PNG, are cut from the real images beside the project, mirrored and
turned so that no two are the same file; `--folder` keeps them for the next run. Measured in
this one run: decoding alone, the network alone on inputs that are ready, and `cytoloop
detect` from the folder to its file of detections, in full precision and with the INT8 form
that `cytoloop quantize` makes of the same tiles (the extra int8). With them stands what the
speed costs: the F1 of mitotic cells on those tiles, also for the samples with small
chromosomes. Last, a scan of which nine tiles in ten show background alone, with and without
`--skip-empty`.

Nagaki et al. (2021) report 20.5 tiles/s on a laptop with an external GPU and 46.8 on a
workstation with one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from starter import ready
from tiles import background, shown

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.evaluation.metrics import evaluate
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.detector.preprocess import prepare_input
from ml_backend.learners.openvino_runtime import IR_NAME, OpenVinoRuntime
from ml_backend.registry.resolve import INT8
from tasks.detection.detect_files import DetectionSummary, detect, iterate_detections
from tasks.detection.quantize import NotQuantized, describe_result, quantize

REAL = Path(__file__).parents[2] / "shared" / "data" / "plant_mitosis"
WIDTH, HEIGHT = 960, 720
SMALL = frozenset({"At", "AtCell", "Os", "OsCell"})
NETWORK_ALONE = 300  # inputs
PAPER = "the paper 20.5 and 46.8, each with a GPU"


@dataclass(frozen=True)
class Tile:
    name: str
    example: Example  # in px of the tile


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tiles", type=int, default=2458)
    arguments.add_argument("--folder", type=Path)
    asked = arguments.parse_args()
    if not REAL.is_dir():
        sys.exit(f"the real images are not at {REAL}")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = asked.folder or scratch / "tiles"
        tiles = cut(folder, asked.tiles)
        measure(tiles, folder, ready(scratch), scratch)


def cut(folder: Path, number: int) -> list[Tile]:
    """The tiles with what they show; their files are written where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    examples = [e for e in read_folder(REAL).examples if e.boxes is not None]
    each = -(-number // len(examples))

    def pieces(example: Example) -> list[Tile]:
        pixels = decode(example.image)
        height, width = pixels.shape[:2]
        rng = np.random.default_rng(0)
        made = []
        for index in range(each):
            left, top = (int(rng.integers(side + 1)) for side in (width - WIDTH, height - HEIGHT))
            turned = bool(rng.integers(2))
            path = folder / f"{example.image.stem}_{index:02}.png"
            if not path.exists():
                piece = pixels[top : top + HEIGHT, left : left + WIDTH, ::-1]
                cv2.imwrite(str(path), piece[::-1, ::-1] if turned else piece)
            seen = shown(example, path, (left, top), (WIDTH, HEIGHT), turned=turned)
            made.append(Tile(path.name, seen))
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [tile for tiles in pool.map(pieces, examples) for tile in tiles]
    for tile in found[number:]:
        (folder / tile.name).unlink()
    return found[:number]


def measure(tiles: list[Tile], folder: Path, model: Path, scratch: Path) -> None:
    paths = [folder / tile.name for tile in tiles]
    cores = os.cpu_count() or 1
    print(f"{len(tiles)} tiles of {WIDTH} x {HEIGHT} px, {cores} cores", flush=True)

    def decoding() -> int:
        with ThreadPoolExecutor(cores) as pool:
            return sum(1 for _ in pool.map(decode, paths))

    decoding()  # all files are in the memory of the system then, for everything that follows
    decode_alone = rate(decoding)
    line("decoding alone", decode_alone)
    print("full precision")
    compared(tiles, folder, model, decode_alone, scratch)
    print("INT8")
    try:
        report = quantize(folder, model, lambda *_: None)
    except NotQuantized as error:
        sys.exit(str(error))
    print("  " + "\n  ".join(describe_result("the starter", report)), flush=True)
    if report["accepted"]:
        compared(tiles, folder, model / INT8, decode_alone, scratch)
    mostly_empty(tiles, folder, Detector.load(model), scratch)


def compared(
    tiles: list[Tile], folder: Path, model: Path, decode_alone: float, scratch: Path
) -> None:
    """A form of the detector: alone, and from the folder to the file; and what it finds."""
    detector = Detector.load(model)
    step = -(-len(tiles) // NETWORK_ALONE)
    inputs = [prepare_input(decode(folder / tile.name), detector.scale) for tile in tiles[::step]]
    runtime = OpenVinoRuntime(model / IR_NAME)
    list(runtime.infer(pixels[None] for pixels in inputs[:8]))
    network_alone = statistics.median(
        rate(lambda: sum(1 for _ in runtime.infer(pixels[None] for pixels in inputs)))
        for _ in range(3)
    )
    size = inputs[0].shape
    line(f"the network alone, {size[1]} x {size[0]} inputs", network_alone)
    parts = 1 / decode_alone + 1 / network_alone
    line("decoding and the network, one after the other", 1 / parts)
    whole = rate(lambda: searched(folder, detector, scratch)["tiles"])
    line("from the folder to the file", whole, PAPER)
    print(f"  the whole takes {1 / whole / parts:.2f} times its two parts", flush=True)
    quality(tiles, folder, detector)


def mostly_empty(tiles: list[Tile], folder: Path, detector: Detector, scratch: Path) -> None:
    """A scan of which one tile in ten is one of the real ones."""
    sparse = scratch / "sparse"
    sparse_scan(tiles, folder, sparse)
    print("nine tiles in ten show background alone")
    for what, skip in (("looked at", False), ("skipped where empty", True)):
        found = searched(sparse, detector, scratch, skip_empty=skip)
        line(what, found["tiles_per_second"])
        print(f"  detections {found['detections']}, of empty tiles {found['emptied']}", flush=True)


def sparse_scan(tiles: list[Tile], folder: Path, sparse: Path, each: int = 10) -> None:
    """Make a folder of as many tiles, of which one in `each` is linked to the real one and the
    others are the background of the image that the real one was cut from."""
    sparse.mkdir()
    empty: dict[str, bytes] = {}
    for example in read_folder(REAL).examples:
        if example.boxes is not None:
            made = background(decode(example.image), example, (WIDTH, HEIGHT))
            if made is not None:
                empty[example.image.stem] = cv2.imencode(".png", made[..., ::-1])[1].tobytes()
    for number, tile in enumerate(tiles):
        content = empty.get(tile.name.rsplit("_", 1)[0])
        if number % each == 0 or content is None:
            (sparse / tile.name).write_bytes((folder / tile.name).read_bytes())
        else:
            (sparse / tile.name).write_bytes(content)


def searched(folder: Path, detector: Detector, scratch: Path, **how: bool) -> DetectionSummary:
    return detect(folder, detector, scratch / "out.csv", "starter", lambda *_: None, **how)


def quality(tiles: list[Tile], folder: Path, detector: Detector) -> None:
    """F1 of the headline class on the tiles, at the detector's threshold."""
    truth = {tile.name: tile.example for tile in tiles}
    examples, found = [], []
    for entry in iterate_detections(folder, detector, lambda *_: None):
        if isinstance(entry, dict):
            sys.exit(f"{entry['source']} was left out: {entry['reason']}")
        examples.append(truth[entry.source])
        found.append(Boxes.from_rows((d.x1, d.y1, d.x2, d.y2, d.label) for d in entry.detections))
    for name, wanted in (("all samples", None), ("small chromosomes", SMALL)):
        chosen = [i for i, e in enumerate(examples) if wanted is None or e.group in wanted]
        figures = evaluate(
            [examples[i] for i in chosen],
            [found[i] for i in chosen],
            threshold=detector.card.threshold,
            headline=detector.card.headline,
        )
        print(f"  F1 of mitotic cells, {name}: {figures.f1.value:.3f} ({len(chosen)} tiles)")


def rate(step: Callable[[], int]) -> float:
    started = time.perf_counter()
    return step() / (time.perf_counter() - started)


def line(what: str, value: float, beside: str = "") -> None:
    print(f"  {what:45}{value:7.1f} tiles/s   {beside}", flush=True)


if __name__ == "__main__":
    main()
