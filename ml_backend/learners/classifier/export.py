"""A classifier for OpenVINO, the form that CPUs serve.

The IR takes squares of `preprocess.to_square`, uint8 (B, S, S, 3) RGB with any B, and answers
float32 (B, C): the probability of each class, calibrated, the mean over quarter turns.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from openvino.preprocess import PrePostProcessor
from torch import Tensor, nn

from ml_backend.learners.base import ExportFailed
from ml_backend.learners.classifier.network import PooledClassifier
from ml_backend.learners.classifier.train_loop import average_views, to_floats
from ml_backend.learners.classifier.weights import load
from ml_backend.learners.export_command import run_export
from ml_backend.learners.openvino_runtime import IR_NAME, save_network

# What the two may differ by on noise, in probability.
TOLERANCE = 1e-3


class Answer(nn.Module):
    """Squares in 0..1 → probabilities."""

    def __init__(
        self, networks: Sequence[PooledClassifier], temperature: float, several: bool
    ) -> None:
        super().__init__()
        self.networks, self.temperature = nn.ModuleList(networks), temperature
        self.several = several

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, C)."""
        each = [average_views(network, images, self.several) for network in self.networks]
        scores = torch.stack(each).mean(0) / self.temperature
        return scores.sigmoid() if self.several else scores.softmax(1)


def export(
    networks: Sequence[PooledClassifier],
    size: int,
    temperature: float,
    several: bool,
    folder: Path,
) -> None:
    """Write model.xml and model.bin, compared with torch before they are moved into place.

    Args:
        networks: Trained ones, whose scores are averaged.
        size: Side of its input, in pixels.
        temperature: That the scores are divided by.
        several: More than one class may be chosen for an image.
        folder: Gets the files, model.xml last.

    Raises:
        ExportFailed: torch and the IR disagree.
    """
    answer = Answer(networks, temperature, several).eval()
    example = torch.zeros(2, 3, size, size)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch calls the tracing deprecated that OpenVINO uses
        traced = torch.jit.trace(answer, example, check_trace=False)
        model = ov.convert_model(traced, example_input=example, input=[-1, 3, size, size])
    steps = PrePostProcessor(model)
    image = steps.input()
    image.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    image.preprocess().convert_element_type(ov.Type.f32).scale(255.0)
    image.model().set_layout(ov.Layout("NCHW"))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as name:
        path = Path(name) / IR_NAME
        save_network(steps.build(), path)
        _check(answer, path, size)
        for file in (path.with_suffix(".bin"), path):
            file.replace(folder / file.name)


def _check(answer: Answer, path: Path, size: int) -> None:
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    with torch.inference_mode():
        expected = answer(to_floats(torch.from_numpy(images))).numpy()
    difference = float(np.abs(compiled(images)[0] - expected).max())
    if not difference <= TOLERANCE:
        raise ExportFailed(
            f"the exported model differs from its weights by {difference:.4f} of probability; the "
            "OpenVINO and torch installed here do not fit together"
        )


def export_file(weights: Path, folder: Path) -> None:
    """Make the IR of a file of weights; see `export`.

    Raises:
        ValueError: The file is not ours.
        KeyError: Its card lacks what a classifier keeps.
        ExportFailed: torch and the IR disagree.
    """
    networks, card = load(weights)
    options = card.options
    export(networks, options["size"], options["temperature"], options["several"], folder)


def main() -> None:
    """Export from the command line."""
    run_export("ml_backend.learners.classifier.export", export_file)


if __name__ == "__main__":
    main()
