"""Export of weights to OpenVINO's intermediate representation (IR), which CPUs serve.

The IR takes what `preprocess.prepare_input` gives, pixels as they are: uint8, (B, H, W, 3) RGB
with any B and any H and W that are multiples of 32; dividing by 255 and transposing happen
inside, where they cost nothing. It answers float32 (B, 4 + classes, anchors): centre
x, centre y, width, height in input pixels, and a probability for each class.

Torch is imported here, so a server runs this as a child process:

    python -m ml_backend.learners.detector.export WEIGHTS.safetensors FOLDER
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino.preprocess import PrePostProcessor

from ml_backend.learners.base import ExportFailed
from ml_backend.learners.detector.weights import load_network
from ml_backend.learners.export_command import run_export
from ml_backend.learners.model_file import FILE_NAME
from ml_backend.learners.openvino_runtime import IR_NAME, save_network

# What the two may differ by on noise: pixels of the input, and confidence. The weights stay
# 32 bits wide: fusing the norms into them makes other numbers of the file's 16-bit ones, and
# rounding those again moved boxes by up to 0.66 px, where they agree to 0.0002 px without.
BOX_TOLERANCE = 0.5
CONFIDENCE_TOLERANCE = 0.01


def export(weights: Path, folder: Path) -> None:
    """Make `folder` a version that can serve: the weights, model.xml and model.bin.

    The files are written beside it and compared with torch on random images before they
    are moved into place, model.xml last: where that exists, the version is complete.

    Raises:
        ValueError: `weights` is not a cytoloop model file.
        ExportFailed: Torch and the IR disagree.
    """
    network: Any = load_network(weights)[0]
    head = network.model[-1]
    # Answer the decoded boxes alone, and lay the anchors anew for every input size.
    head.export, head.dynamic = True, True
    network = network.fuse(verbose=False)
    model = _convert(network)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as name:
        temporary = Path(name)
        save_network(model, temporary / IR_NAME)
        _check(network, temporary / IR_NAME)
        files = [Path(IR_NAME).with_suffix(".bin").name, IR_NAME]
        if not (folder / FILE_NAME).exists():
            shutil.copyfile(weights, temporary / FILE_NAME)
            files.insert(0, FILE_NAME)
        for file in files:
            (temporary / file).replace(folder / file)


def _convert(network: torch.nn.Module) -> ov.Model:
    example = torch.zeros(2, 3, 64, 96)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch calls the tracing deprecated that OpenVINO uses
        # Traced here because OpenVINO's own tracing runs torch's check of it, three times as
        # long; what counts, that the IR computes the same, is checked below.
        traced = torch.jit.trace(network, example, check_trace=False, strict=False)
        model = ov.convert_model(traced, example_input=example, input=[-1, 3, -1, -1])
    steps = PrePostProcessor(model)
    image = steps.input()
    image.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    image.preprocess().convert_element_type(ov.Type.f32).scale(255.0)
    image.model().set_layout(ov.Layout("NCHW"))
    return steps.build()


def _check(network: torch.nn.Module, path: Path) -> None:
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    random = np.random.default_rng(0)
    for shape in ((1, 96, 160, 3), (2, 64, 64, 3)):
        images = random.integers(0, 256, shape, np.uint8)
        with torch.inference_mode():
            planes = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
            expected = network(planes).numpy()
        difference = np.abs(compiled(images)[0] - expected)
        boxes, confidence = difference[:, :4].max(), difference[:, 4:].max()
        if not (boxes <= BOX_TOLERANCE and confidence <= CONFIDENCE_TOLERANCE):
            raise ExportFailed(
                f"the exported model differs from its weights by {boxes:.2f} px and "
                f"{confidence:.3f} of confidence; the OpenVINO and torch installed here do not "
                "fit together"
            )


def main() -> None:
    """Export from the command line."""
    run_export("ml_backend.learners.detector.export", export)


if __name__ == "__main__":
    main()
