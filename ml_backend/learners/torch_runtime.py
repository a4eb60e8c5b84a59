"""A detector's network in torch, for machines with a CUDA device."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ml_backend.learners.weights import load


def cuda_works() -> bool:
    """Whether the torch that is installed can use the device (it may be a CPU build)."""
    return torch.cuda.is_available()


class TorchRuntime:
    """Keeps 32-bit floats: half precision rounds box edges beyond 1024 px to whole pixels,
    and a device as fast as these waits for decoded images either way."""

    batch = 16

    def __init__(self, weights: Path, device: str) -> None:
        network: Any = load(weights)[0]
        head = network.model[-1]
        head.export, head.dynamic = True, True  # the decoded boxes alone, for any input size
        self._network = network.fuse(verbose=False).to(device)
        self._device = device
        self._lock = threading.Lock()  # the head keeps the anchors of the last size

    def infer(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for batch in batches:
            with self._lock, torch.inference_mode():
                pixels = torch.from_numpy(batch).to(self._device)
                planes = pixels.permute(0, 3, 1, 2).float() / 255
                answer = self._network(planes).float().cpu().numpy()
            yield answer
