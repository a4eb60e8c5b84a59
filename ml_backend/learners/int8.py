"""The form of a detector in 8-bit integers: made, and loaded beside the full one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ml_backend.learners.base import ObjectDetector
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.detector.preprocess import prepare_input
from ml_backend.learners.model_file import DETECTOR, FILE_NAME, read_card
from ml_backend.learners.openvino_runtime import IR_NAME, OpenVinoRuntime
from ml_backend.system.child_module import ChildFailed, run_module


class NotQuantized(RuntimeError):
    """The form cannot be made; one line that says what is in the way."""


def load_form(version: Path, form: Path) -> ObjectDetector:
    """Load a form of a detector on the CPU.

    Args:
        version: The folder of the version, with its card.
        form: The folder of the form's IR; the version's own for full precision.

    Raises:
        NotQuantized: The version is no detector, or not a detector alone.
    """
    card = read_card(version / FILE_NAME)
    if card.kind != DETECTOR:
        raise NotQuantized(f"only a detector has an INT8 form, and this version is a {card.kind}")
    return Detector(card, OpenVinoRuntime(form / IR_NAME))


def make_int8(
    version: Path, tiles: Iterable[np.ndarray], pixel_size: float | None, folder: Path
) -> int:
    """Fit a detector's form in 8-bit integers to some tiles, and write its IR.

    Args:
        version: The folder of the version.
        tiles: (H, W, 3) uint8 RGB, of any sizes.
        pixel_size: µm that a pixel of them shows, where it is known.
        folder: Gets the IR.

    Returns:
        How many tiles it was fitted to; 0 where there were none, and then nothing is made.

    Raises:
        NotQuantized: It cannot be made here.
    """
    scale = load_form(version, version).adapt_to(pixel_size).scale
    # Resampled one by one: the tiles themselves may be many and large.
    inputs = [prepare_input(pixels, scale) for pixels in tiles]
    if not inputs:
        return 0
    kept = folder / "inputs.npz"
    np.savez(kept, *inputs)
    # A process of its own: NNCF imports torch and talks on stdout.
    try:
        run_module("ml_backend.learners.detector.quantization", version, kept, folder)
    except ChildFailed as error:
        raise NotQuantized(str(error)) from error
    finally:
        kept.unlink()
    return len(inputs)
