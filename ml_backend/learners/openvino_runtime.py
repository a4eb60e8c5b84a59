"""What runs a network on CPUs: OpenVINO, on a learner's exported files.

Whether there is a CUDA device is asked here too, of its driver, so that a process on a CPU never
loads torch.
"""

from __future__ import annotations

import ctypes
import queue
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ml_backend.learners.model_file import FILE_NAME

IR_NAME = "model.xml"


class Runtime(Protocol):
    """Runs a network.

    Attributes:
        batch: How many images of one size are worth putting together.
    """

    batch: int

    def infer(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the answer to each batch, in order; the next ones are prepared meanwhile."""
        ...


def count_cuda_devices() -> int:
    """Count the CUDA devices that the driver offers to this process; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int()
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return 0
        return count.value
    except (OSError, AttributeError):
        return 0


def save_network(model: Any, path: Path) -> None:
    """Write a network's IR, with its weights as they are.

    Args:
        model: An `openvino.Model`.
        path: The .xml; its weights are written beside it, as .bin.

    Raises:
        OSError: It could not be written; OpenVINO does not tell why.
    """
    import openvino as ov

    try:
        ov.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(f"{path} could not be written ({error}); is the disk full?") from error


class OpenVinoRuntime:
    """A few images at a time, each on a few threads (OpenVINO's throughput mode).

    Batches gain nothing on CPUs (two cores, YOLOv5n at 384 × 512: 53 images/s one by one,
    51 in fours, 49 in eights), so images go one by one and sizes need not match.
    Calculating in bfloat16, OpenVINO's own choice where the CPU can, is 1.8 times as fast
    and moves confidences, so that a version would behave differently from machine to
    machine; so it calculates in 32 bits.

    Args:
        model: The IR, model.xml.
        threads: All that the machine has, where not given.

    Raises:
        FileNotFoundError: The IR is missing.
    """

    batch = 1

    def __init__(self, model: Path, threads: int | None = None) -> None:
        import openvino as ov

        if not model.exists():
            weights = model.with_name(FILE_NAME)
            raise FileNotFoundError(
                f"{model} is missing; use the weights alone, as --model {weights}, and it is made"
            )
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "f32",
            **({"INFERENCE_NUM_THREADS": threads} if threads else {}),
        }
        compiled = ov.Core().compile_model(model, "CPU", options)
        # Shared by all threads; one holds none while it waits for one, so none waits for ever.
        self._idle: queue.Queue[ov.InferRequest] = queue.Queue()
        # One more than run at a time: an answer is taken in order, and who is done need not wait
        # for that with nothing to do.
        for _ in range(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1):
            self._idle.put(compiled.create_infer_request())

    def infer(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """See `Runtime.infer`."""
        running: deque[tuple[Any, np.ndarray]] = deque()  # oldest first, with its input
        try:
            for batch in batches:
                answer = None
                try:
                    request = self._idle.get(block=not running)
                except queue.Empty:
                    request, answer = self._finish(running)
                running.append((request, batch))
                request.start_async(batch, share_inputs=True)
                if answer is not None:
                    yield answer
            while running:
                request, answer = self._finish(running)
                self._idle.put(request)
                yield answer
        finally:
            for request, _ in running:
                request.wait()
                self._idle.put(request)

    @staticmethod
    def _finish(running: deque[tuple[Any, np.ndarray]]) -> tuple[Any, np.ndarray]:
        request, _ = running[0]
        request.wait()
        answer = request.get_output_tensor().data.copy()
        running.popleft()
        return request, answer
