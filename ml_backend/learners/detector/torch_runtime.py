"""A detector's network in torch, for machines with a CUDA device."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ml_backend.learners.detector.weights import load_network


def is_cuda_usable() -> bool:
    """Tell whether the installed torch can use the device (it may be a CPU build)."""
    return torch.cuda.is_available()


class TorchRuntime:
    """Runs a detector's network in torch.

    The next batch is read, decoded and on its way while the device works on the last one.

    Args:
        weights: Of the version, .safetensors.
        device: Of torch.
        half: Calculate in 16 bits up to the head, which answers px of the input: 16 bits would
            round those to whole ones beyond 1024.
    """

    batch = 16

    def __init__(self, weights: Path, device: str, *, half: bool = False) -> None:
        network: Any = load_network(weights)[0]
        head = network.model[-1]
        head.export, head.dynamic = True, True  # the decoded boxes alone, for any input size
        self._network = network.fuse(verbose=False).to(device)
        self._device = torch.device(device)
        self._kind = torch.float16 if half else torch.float32
        if half:
            self._network.half()
            head.float()
            head.register_forward_pre_hook(
                lambda _, given: ([level.float() for level in given[0]],)
            )
        self._lock = threading.Lock()  # the head keeps the anchors of the last size

    def infer(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """See `openvino_runtime.Runtime.infer`."""
        waiting = None
        for batch in batches:
            started = self._start(batch)
            if waiting is not None:
                yield self._finish(*waiting)
            waiting = started
        if waiting is not None:
            yield self._finish(*waiting)

    def _start(self, batch: np.ndarray) -> tuple[torch.Tensor, torch.cuda.Event | None]:
        """Start a batch; give the answer, which is complete once the event has happened."""
        cuda = self._device.type == "cuda"
        given = torch.from_numpy(batch)
        with self._lock, torch.inference_mode():
            # From pinned memory a copy goes on while this thread does; so does the way back.
            pixels = (given.pin_memory() if cuda else given).to(self._device, non_blocking=True)
            planes = pixels.permute(0, 3, 1, 2).to(self._kind) / 255
            answer = self._network(planes)
            if not cuda:
                return answer, None
            there = torch.empty(answer.shape, dtype=answer.dtype, pin_memory=True)
            there.copy_(answer, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            return there, event

    @staticmethod
    def _finish(answer: torch.Tensor, event: torch.cuda.Event | None) -> np.ndarray:
        if event is not None:
            event.synchronize()
        return answer.numpy()
