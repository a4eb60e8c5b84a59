"""How fast images are decoded and searched on this machine's CPU.

    uv run python benchmarks/detector.py [FOLDER]

FOLDER holds images; without it the real ones beside the project are taken, else generated
ones. Each line is a rate measured in this one run: decoding alone, the starter's network
in OpenVINO with several batches and streams and in plain torch, and all of it together as
`cytoloop detect` does it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import openvino as ov

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.decode import decode
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.detector.preprocess import prepare_input
from ml_backend.learners.model_file import FILE_NAME, read_card
from ml_backend.learners.openvino_runtime import IR_NAME, OpenVinoRuntime
from ml_backend.registry.starters import find_starter_weights
from tasks.detection.detect_files import detect
from tasks.sources.discover import list_image_files

REAL = Path(__file__).parents[2] / "shared" / "data" / "plant_mitosis" / "images"
SECONDS = 5.0


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        paths = list_image_files(Path(sys.argv[1]) if sys.argv[1:] else images(scratch / "images"))[
            0
        ]
        version = scratch / "version"
        command = [sys.executable, "-m", "ml_backend.learners.detector.export"]
        subprocess.run(
            [*command, str(find_starter_weights("starter:mitosis")), str(version)], check=True
        )
        print(f"{len(paths)} images, {os.cpu_count()} cores, images/s")
        measure_decoding(paths)
        measure_networks([decode(path) for path in paths[:16]], version)
        measure_detect(paths, version, scratch)


def images(folder: Path) -> Path:
    """The real images' folder, else `folder` with generated ones."""
    if REAL.is_dir():
        return REAL
    folder.mkdir()
    for number in range(24):
        pixels, _ = generate_field(np.random.default_rng(number))
        cv2.imwrite(str(folder / f"{number}.png"), pixels[..., ::-1])
    return folder


def rate(step: Callable[[], int]) -> float:
    """Images a second of a step that says how many it has done, after one to warm up."""
    step()
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS:
        done += step()
    return done / elapsed


def line(what: str, value: float) -> None:
    print(f"  {what:58}{value:8.1f}", flush=True)


def measure_decoding(paths: list[Path]) -> None:
    print("decoding")
    size = decode(paths[0]).shape
    for threads in (1, os.cpu_count() or 1):
        with ThreadPoolExecutor(threads) as pool:

            def step(pool: ThreadPoolExecutor = pool) -> int:
                return len(list(pool.map(decode, paths)))

            line(f"{size[1]} x {size[0]} {paths[0].suffix}, {threads} thread(s)", rate(step))


def measure_networks(pixels: list[np.ndarray], version: Path) -> None:
    card = read_card(version / FILE_NAME)
    inputs = [prepare_input(image, card.scale) for image in pixels]
    shape = inputs[0].shape
    same = [pixels for pixels in inputs if pixels.shape == shape]
    print(f"{card.architecture} at {shape[0]} x {shape[1]}")
    core = ov.Core()
    for precision in ("f32", "bf16"):
        for streams in sorted({1, os.cpu_count() or 1}):
            for batch in (1, 4, 8):
                options = {"NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": precision}
                compiled = core.compile_model(version / IR_NAME, "CPU", options)
                queue = ov.AsyncInferQueue(compiled, streams)
                data = np.stack(list(islice(cycle(same), batch)))

                def step(
                    queue: ov.AsyncInferQueue = queue,
                    data: np.ndarray = data,
                    rounds: int = 2 * streams,
                ) -> int:
                    for _ in range(rounds):
                        queue.start_async([data])
                    queue.wait_all()
                    return rounds * len(data)

                line(f"OpenVINO, {precision}, {streams} stream(s), batches of {batch}", rate(step))
    from ml_backend.learners.detector.torch_runtime import TorchRuntime

    torch_runtime = TorchRuntime(version / FILE_NAME, "cpu")
    for batch in (1, 8):
        data = np.stack(list(islice(cycle(same), batch)))
        line(
            f"torch, f32, batches of {batch}",
            rate(lambda data=data: len(list(torch_runtime.infer([data]))[0])),  # type: ignore[misc]
        )


def measure_detect(paths: list[Path], version: Path, scratch: Path) -> None:
    detector = Detector(read_card(version / FILE_NAME), OpenVinoRuntime(version / IR_NAME))
    pixels = [decode(path) for path in islice(cycle(paths), 8)]
    print("all together")

    def stream() -> Iterator[np.ndarray]:
        return islice(cycle(pixels), 64)

    line("resample, infer, suppress", rate(lambda: len(list(detector.stream(stream())))))
    folder = paths[0].parent

    def files() -> int:
        return detect(folder, detector, scratch / "out.csv", "starter", lambda *_: None)["tiles"]

    line("decode, resample, infer, suppress, write", rate(files))


if __name__ == "__main__":
    main()
