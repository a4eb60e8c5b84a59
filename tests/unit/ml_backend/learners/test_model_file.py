"""A card survives its file; foreign files are refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from ml_backend.evaluation.calibration import PlattScaling
from ml_backend.learners.model_file import ModelCard, read_card, rewrite_card

names = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4, unique=True).map(tuple)
share = st.floats(0, 1)
cards = st.builds(
    ModelCard,
    architecture=st.from_regex(r"[a-z0-9_]{1,60}", fullmatch=True),
    classes=names,
    headline=names,
    scale=st.floats(1e-3, 1e3),
    threshold=share,
    nms_iou=share,
    input_um=st.none() | st.floats(0.01, 10),
    calibration=st.none()
    | st.builds(PlattScaling, slope=st.floats(0.05, 10), offset=st.floats(-10, 10)),
)


@given(cards, st.sampled_from(["detector", "classifier"]))
def test_a_card_reads_back(card: ModelCard, kind: str) -> None:
    card = ModelCard(**{**vars(card), "kind": kind, "options": {}})
    assert ModelCard.from_metadata(card.to_metadata(), Path("x")) == card


def test_a_detector_s_card_is_as_release_0_1_0_wrote_it() -> None:
    card = ModelCard("yolov5n", ("a",), ("a",), 0.5, 0.3)
    assert card.to_metadata() == {
        "cytoloop": '{"architecture": "yolov5n", "classes": ["a"], "headline": ["a"], '
        '"input_um": null, "nms_iou": 0.6, "scale": 0.5, "threshold": 0.3}'
    }


def test_another_card_leaves_the_tensors_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    tensors = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "n": np.array(7)}
    card = ModelCard("yolov5n", ("a",), ("a",), 0.5, 0.3)
    save_file(tensors, path, card.to_metadata())
    tuned = ModelCard("yolov5n", ("a",), ("a",), 0.5, 0.6, calibration=PlattScaling(1.5, -1))
    rewrite_card(path, tuned)
    assert read_card(path) == tuned
    kept = load_file(path)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(kept[name], tensor)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"other": "1"},
        {"cytoloop": "no json"},
        {"cytoloop": "{}"},
        ModelCard("../../etc/passwd", ("a",), ("a",), 0.5, 0.3).to_metadata(),
        ModelCard("yolov5n", ("a",), ("a",), 1e9, 0.3).to_metadata(),
        ModelCard(
            "yolov5n", ("a",), ("a",), 0.5, 0.3, calibration=PlattScaling(-1, 0)
        ).to_metadata(),
    ],
)
def test_a_foreign_file_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": np.zeros(1, np.float32)}, path, metadata)
    with pytest.raises(ValueError, match="is not a cytoloop model file"):
        read_card(path)
