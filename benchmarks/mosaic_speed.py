"""One mosaic of a confocal microscope: cytoloop beside SAHI, with the same model and runtime.

    uv run --group benchmarks python benchmarks/mosaic_speed.py [--rounds 3] [--layout stripped]

The mosaic, 7,601 × 9,415 px RGB, is put together from the real images beside the project and
written as confocal software does: in strips by LZW, or in tiles by deflate. SAHI's sliced
prediction runs our detector through our OpenVINO runtime, with the same windows, overlap and
threshold, and without its look at the whole image at once. Measured in this one run:

- from the file to the boxes within a process that has loaded the model and run it once:
  cytoloop, SAHI as it runs by default (one slice after the other), SAHI with batches of four
  that keep all of the runtime busy; then cytoloop and the latter with the INT8 form, which
  cytoloop uses by default once `cytoloop quantize` accepted it, as it does here on tiles that are
  cut from the same images;
- the whole commands, imports and loading and all;
- when cytoloop's first detection is there, counted from the call;
- memory: the most of it beyond what the process had when the model was loaded and had run
  once, on windows of the size that the mosaic is cut into;
- whether the boxes agree: the share of each side's that the other has at an IoU of 0.9, with
  the same class, and why the others differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyvips
from scan_speed import cut

from ml_backend.imaging.boxes import compute_iou
from ml_backend.imaging.decode import decode
from ml_backend.imaging.merge_detections import WindowDetections
from ml_backend.imaging.sliding_windows import plan_windows
from ml_backend.learners.detector.inference import Detector
from ml_backend.registry.resolve import INT8, resolve_model
from ml_backend.registry.versions import Registry
from tasks.detection.detect_files import detect
from tasks.detection.quantize import NotQuantized, quantize
from tasks.detection.scan_detector import ScanDetector
from tasks.detection.window_detector import NoMemory
from tasks.readers.planes import Rect
from tasks.sources.scan_source import SourceOptions

REAL = Path(__file__).parents[2] / "shared" / "data" / "plant_mitosis" / "images"
WIDTH, HEIGHT = 7601, 9415
LAYOUTS: dict[str, dict[str, Any]] = {
    "stripped": {"compression": "lzw", "predictor": "horizontal"},
    "tiled": {"compression": "deflate", "tile": True, "tile_width": 256, "tile_height": 256},
}
BATCHED = 4
TILES = 1200  # of which the INT8 form is fitted to some and compared on the others
SAME = 0.9
NEAR = 0.5

Boxes = list[dict[str, Any]]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--layout", choices=sorted(LAYOUTS), default="stripped")
    arguments.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.child:
        what, mosaic, data = asked.child
        print(json.dumps(CHILDREN[what](Path(mosaic), Path(data))))
        return
    if not REAL.is_dir():
        sys.exit(f"the real images are not at {REAL}")
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        mosaic = data / "mosaic.tif"
        write(mosaic, asked.layout)
        detector = loaded(data)
        make_int8(data)
        rows, columns = grid(detector)
        print(
            f"{WIDTH} × {HEIGHT} px, {asked.layout}, {mosaic.stat().st_size / 1e6:.0f} MB; "
            f"{len(rows)} × {len(columns)} windows of {columns[0][1]} × {rows[0][1]} px "
            f"that share {detector.overlap}; threshold {detector.card.threshold}\n"
        )
        in_process(mosaic, data, asked.rounds)
        commands(mosaic, data, asked.rounds)


def write(path: Path, layout: str) -> None:
    """The real images side by side, each cut to the size of the smallest, as one TIFF."""
    files = sorted(REAL.iterdir())
    high, wide = 1030, 1300
    across = -(-WIDTH // wide)
    pixels = np.zeros((-(-HEIGHT // high) * high, across * wide, 3), np.uint8)
    for number in range(across * (len(pixels) // high)):
        row, column = divmod(number, across)
        part = np.s_[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        pixels[part] = decode(files[number % len(files)])[:high, :wide]
    pixels = np.ascontiguousarray(pixels[:HEIGHT, :WIDTH])
    image = pyvips.Image.new_from_memory(pixels.data, WIDTH, HEIGHT, 3, "uchar")
    image.copy(interpretation="srgb").tiffsave(str(path), **LAYOUTS[layout])


def loaded(data: Path) -> Detector:
    return Detector.load(find_starter(data))


def find_starter(data: Path) -> Path:
    registry = Registry(data / "versions", data / "champions")
    return registry.get_folder(resolve_model("starter:mitosis", registry).name)


def make_int8(data: Path) -> None:
    cut(data / "tiles", TILES)
    try:
        report = quantize(data / "tiles", find_starter(data), lambda *_: None)
    except NotQuantized as error:
        sys.exit(str(error))
    if not report["accepted"]:
        sys.exit(f"the INT8 form was not accepted: {'; '.join(report['why'])}")


def grid(detector: Detector) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    return plan_windows(WIDTH, HEIGHT, detector.side, detector.overlap, 1 << detector.halvings)


def warm(detector: Detector) -> None:
    """The model has run: once on every part of the runtime, at the windows' size."""
    rows, columns = grid(detector)
    blank = np.zeros((rows[0][1], columns[0][1], 3), np.uint8)
    detector.detect([blank] * 4)


# cytoloop.


def ours(mosaic: Path, detector: Detector, out: Path) -> Boxes:
    detect(mosaic, detector, out, "starter", lambda done, total: None)
    return json.loads(out.read_text(encoding="utf-8"))


class First(NoMemory):
    """When the first box at the threshold or above came out of the network: where a scan
    into Label Studio writes it down. at: seconds from start."""

    def __init__(self, threshold: float) -> None:
        self.started, self.at, self.threshold = time.perf_counter(), 0.0, threshold

    def keep_window(self, mark: str, plane: int, view: Rect, found: WindowDetections) -> None:
        if not self.at and (found.confidence >= self.threshold).any():
            self.at = time.perf_counter() - self.started


def first_detection(mosaic: Path, detector: Detector) -> float:
    memory = First(detector.card.threshold)
    sheets = ScanDetector(mosaic, detector, SourceOptions(), memory=memory).detect_scans()
    for _ in sheets:
        pass
    return memory.at


# SAHI.


def sahi_model(detector: Detector) -> Any:
    """Our detector as SAHI wants it: windows go to the same runtime, boxes come out by the
    same decoding."""
    from sahi.models.base import DetectionModel
    from sahi.prediction import ObjectPrediction

    class Ours(DetectionModel):
        def load_model(self) -> None:
            self.set_model(detector)

        def set_model(self, model: Detector, **kwargs: Any) -> None:
            self.model = model
            names = enumerate(model.card.classes)
            self.category_mapping = {str(number): name for number, name in names}

        def perform_inference(self, image: np.ndarray) -> None:
            self.perform_batch_inference([image])

        def perform_batch_inference(self, images: list[np.ndarray]) -> None:
            self._original_predictions = detector.detect(images)

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Any = None, full_shape_list: Any = None
        ) -> None:
            numbers = {name: int(n) for n, name in (self.category_mapping or {}).items()}
            self._object_prediction_list_per_image = [
                [
                    ObjectPrediction(
                        bbox=box,
                        category_id=numbers[str(label)],
                        category_name=str(label),
                        score=float(confidence),
                        shift_amount=shift,
                        full_shape=full,
                    )
                    for box, label, confidence in zip(
                        boxes.xyxy.tolist(), boxes.label, boxes.confidence, strict=True
                    )
                ]
                for boxes, shift, full in zip(
                    self._original_predictions, shift_amount_list, full_shape_list, strict=True
                )
            ]

    return Ours(device="cpu", confidence_threshold=detector.card.threshold)


def sahi(mosaic: Path, detector: Detector, batch: int) -> Boxes:
    from PIL import Image
    from sahi.predict import get_sliced_prediction

    Image.MAX_IMAGE_PIXELS = None
    rows, columns = grid(detector)
    height, width = rows[0][1], columns[0][1]
    result = get_sliced_prediction(
        str(mosaic),
        sahi_model(detector),
        slice_height=height,
        slice_width=width,
        overlap_height_ratio=(height - rows[1][0]) / height,
        overlap_width_ratio=(width - columns[1][0]) / width,
        perform_standard_pred=False,
        batch_size=batch,
        verbose=0,
    )
    found = []
    for prediction in result.object_prediction_list:
        x1, y1, x2, y2 = prediction.bbox.to_xyxy()
        label, score = prediction.category.name, prediction.score.value
        found.append({"x1": x1, "y1": y1, "x2": x2, "y2": y2, "label": label, "confidence": score})
    return found


# In one process.


def in_process(mosaic: Path, data: Path, rounds: int) -> None:
    detector, fast = loaded(data), Detector.load(find_starter(data) / INT8)
    warm(detector)
    warm(fast)
    runs: dict[str, Callable[[], Boxes]] = {
        "cytoloop": lambda: ours(mosaic, detector, data / "found.json"),
        "SAHI, slice by slice": lambda: sahi(mosaic, detector, 1),
        f"SAHI, batches of {BATCHED}": lambda: sahi(mosaic, detector, BATCHED),
        "cytoloop, INT8": lambda: ours(mosaic, fast, data / "found.json"),
        f"SAHI, batches of {BATCHED}, INT8": lambda: sahi(mosaic, fast, BATCHED),
    }
    sahi(mosaic, detector, 1)  # what it imports at its first use
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    boxes: dict[str, Boxes] = {}
    first = []
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            boxes[name] = run()
            seconds[name].append(time.perf_counter() - started)
        first.append(first_detection(mosaic, detector))
    print("from the file to the boxes, model loaded (s; median of all rounds)")
    table(seconds)
    print(f"  cytoloop's first detection after {statistics.median(first):.2f} s ({shown(first)})\n")
    agreement(boxes["cytoloop"], boxes["SAHI, slice by slice"], detector)
    agreement(boxes["cytoloop"], boxes["cytoloop, INT8"], detector, "cytoloop, INT8")
    print("memory beyond the model's (MB), at its highest")
    for what in ("memory-ours", "memory-sahi"):
        memory = child(what, mosaic, data)
        print(
            f"  {memory['name']:28}{memory['over']:7.0f}   "
            f"the model, once run: {memory['model']:.0f}"
        )
    print()


def commands(mosaic: Path, data: Path, rounds: int) -> None:
    out = str(data / "command.json")
    command = [sys.executable, "-m", "ml_backend", "--data-dir", str(data), "detect"]
    this = [sys.executable, __file__, "--child"]
    detects = [*command, str(mosaic), "--out", out]
    runs = {
        "cytoloop detect": [*detects, "--full-precision"],
        "cytoloop detect, INT8": detects,
        "SAHI, slice by slice": [*this, "sahi", str(mosaic), str(data)],
        f"SAHI, batches of {BATCHED}": [*this, "sahi-batched", str(mosaic), str(data)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            subprocess.run(run, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    print("the whole command (s; median of all rounds)")
    table(seconds)


def table(seconds: dict[str, list[float]]) -> None:
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    fastest = next(iter(middle.values()))
    for name, values in seconds.items():
        times = "" if name == next(iter(middle)) else f"{middle[name] / fastest:.2f} times as long"
        print(f"  {name:28}{middle[name]:6.2f}   ({shown(values)})   {times}", flush=True)
    print()


def shown(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


# Whether they agree.


def agreement(first: Boxes, second: Boxes, detector: Detector, other: str = "SAHI") -> None:
    print(f"boxes that the other has too (same class, IoU from {SAME}); others, and why")
    for name, mine, theirs in (("cytoloop", first, second), (other, second, first)):
        own, others = as_array(mine), as_array(theirs)
        same_class = np.array([[a["label"] == b["label"] for b in theirs] for a in mine], bool)
        overlap = compute_iou(own, others)
        best = np.where(same_class, overlap, 0).max(axis=1)
        rest = np.flatnonzero(best < SAME)
        why: dict[str, int] = {}
        for number in rest:
            reason = difference(own[number], best[number], overlap[number], others, detector)
            why[reason] = why.get(reason, 0) + 1
        reasons = "; ".join(f"{count} {reason}" for reason, count in sorted(why.items()))
        share = 1 - len(rest) / max(1, len(mine))
        print(f"  {name:16}{len(mine):5} boxes, {100 * share:5.1f} % matched   {reasons}")
    print()


def difference(
    box: np.ndarray, best: float, overlap: np.ndarray, others: np.ndarray, detector: Detector
) -> str:
    """Why a box has no equal on the other side."""
    rows, columns = grid(detector)
    if best >= NEAR:
        return "of the same object, framed otherwise"
    if overlap.max(initial=0) >= NEAR:
        return "of the same object, of another class"
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    area = (box[2:] - box[:2]).prod()
    sizes = (others[:, 2:] - others[:, :2]).prod(axis=1)
    if (shared > 0.5 * np.minimum(area, sizes)).any():
        return "that the other joins with a neighbour, or has as a part"
    edges_x = np.array(columns).ravel()
    edges_y = np.array(rows).ravel()
    near = np.abs(edges_x[:, None] - box[[0, 2]]).min() < 3 / detector.card.scale
    near |= np.abs(edges_y[:, None] - box[[1, 3]]).min() < 3 / detector.card.scale
    return "cut by a window's edge" if near else "elsewhere"


def as_array(boxes: Boxes) -> np.ndarray:
    corners = [[box[key] for key in ("x1", "y1", "x2", "y2")] for box in boxes]
    return np.array(corners, np.float64).reshape(-1, 4)


# In processes of their own.


def child(what: str, mosaic: Path, data: Path) -> Any:
    command = [sys.executable, __file__, "--child", what, str(mosaic), str(data)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def memory_of(name: str, run: Callable[[Path, Detector, Path], object]) -> Any:
    def measured(mosaic: Path, data: Path) -> dict[str, Any]:
        detector = loaded(data)
        if "SAHI" in name:
            import sahi.predict  # noqa: F401  (its libraries are not its memory over the model)
        warm(detector)
        process = psutil.Process()
        before = most = process.memory_info().rss
        done = threading.Event()

        def watch() -> None:
            nonlocal most
            while not done.wait(0.002):
                most = max(most, process.memory_info().rss)

        thread = threading.Thread(target=watch)
        thread.start()
        run(mosaic, detector, data)
        done.set()
        thread.join()
        return {"name": name, "model": before / 1e6, "over": (most - before) / 1e6}

    return measured


def whole(batch: int) -> Callable[[Path, Path], int]:
    return lambda mosaic, data: len(sahi(mosaic, loaded(data), batch))


CHILDREN: dict[str, Callable[[Path, Path], Any]] = {
    "sahi": whole(1),
    "sahi-batched": whole(BATCHED),
    "memory-ours": memory_of("cytoloop", lambda m, d, data: ours(m, d, data / "m.json")),
    "memory-sahi": memory_of("SAHI, slice by slice", lambda m, d, data: sahi(m, d, 1)),
}


if __name__ == "__main__":
    main()
