"""`cytoloop sort` and `detect` of many small crops, against bare inference of the same network.

    uv run python benchmarks/sort_speed.py [--crops 10000] [--model FOLDER]

FOLDER is a version of a classifier; without it, one of 96 px whose head is untrained, which is as
fast. The crops are real ones of single HeLa cells (64 × 64 px), each
as a file, repeated under other names until there are enough. Bare inference takes the same crops,
decoded and fitted before the clock starts, through OpenVINO's own AsyncInferQueue in its throughput
mode, one by one and in batches, of which the faster counts. All runs take turns in this process;
beside the time on the clock stands that of the processor, which other programs change less.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov

from ml_backend.imaging.decode import decode
from ml_backend.learners.classifier.export import export
from ml_backend.learners.classifier.inference import Classifier
from ml_backend.learners.classifier.network import ARCHITECTURE, build
from ml_backend.learners.classifier.preprocess import to_square
from ml_backend.learners.classifier.weights import save
from ml_backend.learners.kinds import load_model
from ml_backend.learners.model_file import CLASSIFIER, FILE_NAME, ModelCard
from tasks.detection.classify_files import classify
from tasks.detection.sort_images import ChoiceSorter, sort

DATA = Path(__file__).parents[2] / "shared" / "data" / "mitocheck_cells"
BATCHES = (1, 16)
SIDE = 96  # px of the input that the recipe chooses for crops of 64 px


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", type=Path, help="a version's folder")
    options.add_argument("--crops", type=int, default=10_000)
    options.add_argument("--turns", type=int, default=2)
    asked = options.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the real images are not at {DATA}")
    with tempfile.TemporaryDirectory() as scratch:
        place = asked.model or make_version(Path(scratch, "version"))
        model = load_model(place)
        assert isinstance(model, Classifier)
        folder = Path(scratch, "crops")
        write_crops(folder, asked.crops)
        squares = np.stack([to_square(decode(p), model.size) for p in sorted(folder.iterdir())])

        def run_sort() -> None:
            out = Path(scratch, "sorted")
            shutil.rmtree(out, ignore_errors=True)
            sort(folder, ChoiceSorter(model), out, "v", link=True, progress=lambda *at: None)

        def run_detect() -> None:
            classify(folder, model, Path(scratch, "found.csv"), "v", lambda *at: None)

        runs: dict[str, Callable[[], None]] = {
            **{f"bare, {n} at a time": bare(place, squares, n) for n in BATCHES},
            "sort": run_sort,
            "detect": run_detect,
        }
        clock, busy = (dict.fromkeys(runs, float("inf")) for _ in range(2))
        for _ in range(asked.turns):
            for name, run in runs.items():
                started, before = time.perf_counter(), time.process_time()
                run()
                clock[name] = min(clock[name], time.perf_counter() - started)
                busy[name] = min(busy[name], time.process_time() - before)
    print(f"{asked.crops} crops at {model.size} px, {len(model.card.classes)} classes; × bare")
    bare_names = [f"bare, {n} at a time" for n in BATCHES]
    for name in runs:
        shown = [f"{name:20}"]
        for times, what in ((clock, "s"), (busy, "s of a core")):
            base = min(times[other] for other in bare_names)
            shown.append(f"{times[name]:7.1f} {what} ({times[name] / base:.2f} ×)")
        print("  ".join(shown))


def make_version(folder: Path) -> Path:
    """A classifier of 16 classes with the shipped trunk and an untrained head."""
    classes = tuple(f"class {number}" for number in range(16))
    options = {"size": SIDE, "several": False, "temperature": 1.0, "networks": 1}
    card = ModelCard(ARCHITECTURE, classes, classes, 1.0, 0.5, kind=CLASSIFIER, options=options)
    save([build(len(classes))], card, folder / FILE_NAME)
    export([build(len(classes))], SIDE, 1.0, False, folder)
    return folder


def write_crops(folder: Path, number: int) -> None:
    folder.mkdir()
    originals = sorted(p for p in DATA.rglob("*") if p.suffix.lower() in (".png", ".tif", ".jpg"))
    for place in range(number):
        source = originals[place % len(originals)]
        (folder / f"{place:05}{source.suffix}").write_bytes(source.read_bytes())


def bare(folder: Path, squares: np.ndarray, batch: int) -> Callable[[], None]:
    """Inference alone."""
    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(folder / "model.xml", "CPU", hints)

    def run() -> None:
        queue = ov.AsyncInferQueue(compiled)
        queue.set_callback(lambda request, _: request.get_output_tensor().data.copy())
        for start in range(0, len(squares), batch):
            queue.start_async(squares[start : start + batch])
        queue.wait_all()

    return run


if __name__ == "__main__":
    main()
