"""Networks start from a base by what its tensors and classes mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ml_backend.learners.detector import weights
from ml_backend.learners.model_file import ModelCard


def test_outputs_follow_the_classes_by_what_they_mean(tmp_path: Path) -> None:
    def outputs(model: torch.nn.Module) -> torch.Tensor:
        return model.state_dict()["model.24.cv3.0.2.bias"]

    base = weights.build_network("yolov5n", ("Mitotic cell", "Other"))
    with torch.no_grad():
        base.model[-1].cv3[0][2].bias.copy_(torch.tensor([1.0, 2.0]))
    path = tmp_path / "base.safetensors"
    card = ModelCard("yolov5n", ("Mitotic cell", "Other"), ("Mitotic cell",), 0.5, 0.3)
    weights.save_weights(base.state_dict(), card, path)

    same = weights.build_network("yolov5n", ("others", "Chromosomes"))
    assert weights.load_base(same, path, ("others", "Chromosomes"))
    assert outputs(same).tolist() == [2.0, 1.0]
    more = weights.build_network("yolov5n", ("Tetrad", "Mitotic cell", "Other"))
    before = outputs(more)[0].item()
    assert not weights.load_base(more, path, ("Tetrad", "Mitotic cell", "Other"))
    assert outputs(more).tolist() == [before, 1.0, 2.0]
    with pytest.raises(ValueError, match="no such file"):
        weights.load_base(more, tmp_path / "none.npz", ("a",))
    (tmp_path / "text.npz").write_text("junk")
    with pytest.raises(ValueError, match="it is no .npz file"):
        weights.load_base(more, tmp_path / "text.npz", ("a",))


def test_interpolated_weights_lie_between() -> None:
    before = {"w": torch.tensor([0.0, 4.0]), "n": torch.tensor(3)}
    after = {"w": torch.tensor([1.0, 8.0]), "n": torch.tensor(5)}
    middle = weights.interpolate_weights(before, after, 0.25)
    assert middle["w"].tolist() == [0.75, 7.0]
    assert middle["n"] == 5
