"""The narrowed head: what it leaves out is what nobody listens to."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ml_backend.learners.detector import head, weights

CLASSES = ("Mitotic cell", "Other")


@pytest.fixture(scope="module")
def whole() -> Any:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return weights.build_network("yolov5n", CLASSES).eval()


def answer(model: Any) -> torch.Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        return model(torch.rand(1, 3, 64, 96))[0]


def rebuilt(tensors: dict[str, torch.Tensor], width: int) -> Any:
    model = weights.build_network("yolov5n", CLASSES, width)
    model.load_state_dict(tensors, strict=True)
    return model.eval()


def test_nothing_is_left_out_where_all_fits(whole: Any) -> None:
    tensors = whole.state_dict()
    assert head.find_hidden_width(tensors) == 64
    same = head.narrow_weights(tensors, 64)
    assert same.keys() == tensors.keys()
    assert all(torch.equal(same[name], tensors[name]) for name in tensors)


def test_channels_without_a_say_are_the_ones_that_go(whole: Any) -> None:
    tensors = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    silent = torch.randperm(64, generator=torch.Generator().manual_seed(2))[:40]
    for name, tensor in tensors.items():
        if name.startswith("model.24.") and name.endswith(("bn.weight", "bn.bias")):
            tensor[silent] = 0  # SiLU of nothing is nothing
    expected = answer(rebuilt(tensors, 64))
    narrow = head.narrow_weights(tensors, 24)
    assert head.find_hidden_width(narrow) == 24
    assert torch.allclose(answer(rebuilt(narrow, 24)), expected, atol=1e-4)


def test_a_narrow_model_starts_from_a_wide_base(tmp_path: Any, whole: Any) -> None:
    from ml_backend.learners.model_file import ModelCard

    path = tmp_path / "base.safetensors"
    weights.save_weights(
        whole.state_dict(), ModelCard("yolov5n", CLASSES, CLASSES[:1], 0.5, 0.3), path
    )
    model = weights.build_network("yolov5n", CLASSES, 32)
    assert weights.load_base(model, path, CLASSES)
    kept = head.narrow_weights(weights.read_tensors(path), 32)
    assert all(torch.equal(model.state_dict()[name], kept[name]) for name in kept)
    loaded, _ = weights.load_network(path)
    assert head.find_hidden_width(loaded.state_dict()) == 64
