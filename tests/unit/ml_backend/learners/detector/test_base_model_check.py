"""A base that finds already what is to be learned keeps most of what it knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ml_backend.dataset.example import Example
from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.detector import weights
from ml_backend.learners.detector.base_model_check import measure_base_f1
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.detector.torch_runtime import TorchRuntime
from ml_backend.learners.detector.training import train
from ml_backend.learners.detector.training_data.augmentation import TrainingImage
from ml_backend.learners.model_file import FILE_NAME, read_card
from ml_backend.learners.training_job import TrainingJob

STARTER = Path(__file__).parents[5] / "ml_backend" / "registry" / "starters" / "mitosis.safetensors"
CLASSES = ("Mitotic cell", "Other")
HEAD = "model.24."


@pytest.fixture(scope="module")
def seen() -> tuple[np.ndarray, Boxes]:
    """A field at the starter's scale, and what the starter finds in it."""
    pixels = cv2.resize(generate_field(3, dividing=4)[0], (512, 384), interpolation=cv2.INTER_AREA)
    detector = Detector(replace(read_card(STARTER), scale=1.0), TorchRuntime(STARTER, "cpu"))
    [found] = detector.detect([pixels])
    assert (found.label == CLASSES[0]).any()
    return pixels, found


def view(pixels: np.ndarray, boxes: Boxes) -> TrainingImage:
    numbers = np.array([CLASSES.index(str(name)) for name in boxes.label], int)
    return TrainingImage(pixels, boxes.xyxy, numbers, np.zeros((0, 4), np.float32))


def test_share_of_what_is_marked(seen: tuple[np.ndarray, Boxes]) -> None:
    pixels, found = seen
    cells = found.select(found.label == CLASSES[0])

    def share(boxes: Boxes) -> float:
        return measure_base_f1(STARTER, [view(pixels, boxes)], CLASSES, CLASSES[:1], "cpu")

    assert share(found) == 1
    # As many again that it does not find: every mark is right, half of the truth is missed.
    away = Boxes(cells.xyxy + 2000, cells.label, cells.confidence)
    both = Boxes(*(np.concatenate(pair) for pair in zip(_parts(cells), _parts(away), strict=True)))
    assert share(both) == pytest.approx(2 / 3)
    assert share(away) == 0
    assert share(found.select(found.label == CLASSES[1])) == 0


def _parts(boxes: Boxes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return boxes.xyxy, boxes.label, boxes.confidence


@pytest.mark.parametrize("known", [True, False])
def test_only_the_head_learns_from_few_images_of_known_cells(
    seen: tuple[np.ndarray, Boxes], tmp_path: Path, known: bool
) -> None:
    pixels, found = seen
    cv2.imwrite(str(tmp_path / "field.png"), pixels[..., ::-1])
    if not known:  # the only cell is said to be where none is found
        found = Boxes.from_rows([(472, 344, 504, 376, CLASSES[0])])
    example = Example(
        tmp_path / "field.png", "one", Boxes.from_rows(r[:5] for r in found.to_rows())
    )
    out = tmp_path / "out"
    train(TrainingJob([example], CLASSES, CLASSES[:1], STARTER, out, epochs=2), lambda line: None)
    before, after = (weights.read_tensors(p) for p in (STARTER, out / FILE_NAME))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(HEAD) for name in changed) == known
