"""Writing a network for OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as operations

from ml_backend.learners.openvino_runtime import save_network
from tests.conftest import disk


def make_network() -> ov.Model:
    image = operations.parameter([1, 1000], np.float32)
    weights = operations.constant(np.ones((1000, 1000), np.float32))
    return ov.Model([operations.matmul(image, weights, False, False)], [image])


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    save_network(make_network(), tmp_path / "model.xml")
    compiled = ov.Core().compile_model(tmp_path / "model.xml", "CPU")
    assert np.allclose(compiled(np.ones((1, 1000), np.float32))[0], 1000)


def test_a_full_disk_is_an_error_of_the_system(tmp_path: Path) -> None:
    with disk(tmp_path, "1m") as small, pytest.raises(OSError, match="is the disk full"):
        save_network(make_network(), small / "model.xml")
