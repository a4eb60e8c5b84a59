"""Quantization of a detector to 8-bit integers (INT8), on CPUs more than twice as fast.

NNCF rounds the weights, and the activations by the ranges that they have on some of the
user's own images. The last convolutions of the head and what makes boxes of their output
stay floating point: there, a step of 256 is most of a pixel.

NNCF imports torch and prints to stdout, so others run this as a child process:

    python -m ml_backend.learners.detector.quantization VERSION INPUTS.npz FOLDER
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ml_backend.learners.openvino_runtime import IR_NAME, save_network
from ml_backend.system.atomic_files import replace_file

# By the names that the conversion gives ({} is the head's number): the operations of the head
# itself, the distances to the edges out of their distributions, each branch's last convolution.
_FLOATING = (
    r"__module\.model\.{}/.*",
    r"__module\.model\.{}\.dfl.*",
    r"__module\.model\.{}\.cv[23]\.\d+\.2/.*",
)


def quantize(version: Path, inputs: Sequence[np.ndarray], folder: Path) -> None:
    """Write the INT8 form of a version's IR, model.xml last.

    Args:
        version: Its folder.
        inputs: What `preprocess.prepare_input` gives of some images, (H, W, 3) uint8, any sizes.
        folder: Where to write.

    Raises:
        ImportError: NNCF is not installed.
    """
    import nncf
    import openvino as ov
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    model = ov.Core().read_model(version / IR_NAME)
    names = [operation.get_friendly_name() for operation in model.get_ordered_ops()]
    layers = [name.split(".")[2] for name in names if name.startswith("__module.model.")]
    head = max(int(layer.split("/")[0]) for layer in layers)
    made = nncf.quantize(
        model,
        nncf.Dataset([image[None] for image in inputs]),
        subset_size=len(inputs),
        # Behind SiLU the range of an activation is not symmetric about zero.
        preset=nncf.QuantizationPreset.MIXED,
        # No bright chromosome is clipped, and each layer's mean error is taken out after those
        # of the layers before it. With NNCF's own choice, means of the ranges and all layers
        # for themselves, confidences and boxes moved twice as far.
        fast_bias_correction=False,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        ),
        ignored_scope=nncf.IgnoredScope(
            patterns=[pattern.format(head) for pattern in _FLOATING], validate=False
        ),
    )
    with replace_file(folder / IR_NAME) as temporary:
        save_network(made, temporary)
        temporary.with_suffix(".bin").replace((folder / IR_NAME).with_suffix(".bin"))


def main() -> None:
    """Quantize from the command line; errors are one line."""
    if len(sys.argv) != 4:
        sys.exit(
            "usage: python -m ml_backend.learners.detector.quantization VERSION INPUTS.npz FOLDER"
        )
    version, inputs, folder = map(Path, sys.argv[1:])
    try:
        with np.load(inputs) as kept:
            quantize(version, list(kept.values()), folder)
    except ImportError:
        sys.exit("INT8 needs the extra int8: uv sync --extra int8")
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
