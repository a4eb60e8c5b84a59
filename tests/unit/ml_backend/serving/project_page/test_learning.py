"""The matrix of changes, and which champion a rollback brings back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ml_backend.learners.model_file import FILE_NAME, ModelCard
from ml_backend.registry.champions import ChampionChange
from ml_backend.registry.versions import Registry, UnknownVersion, Version
from ml_backend.serving.project_page.learning import find_earlier_champion, make_matrix

names = st.sampled_from(["", "A", "B"])


@given(st.dictionaries(st.tuples(names, names), st.integers(1, 50)))
def test_the_matrix_holds_every_count_once(counts: dict[tuple[str, str], int]) -> None:
    labels, rows = make_matrix(counts)
    found = {(c.shown, c.label): c.count for row in rows for c in row if c.count}
    assert found == counts
    assert all([c.label for c in row] == [*labels, ""] for row in rows)


def test_a_rollback_brings_back_what_the_page_says(tmp_path: Path) -> None:
    """The registry itself is the oracle."""
    registry = Registry(tmp_path / "versions", tmp_path / "champions")
    weights = tmp_path / FILE_NAME
    card = ModelCard("yolov5n", ("Cell",), ("Cell",), 1.0, 0.5)
    save_file({"a": np.zeros(1, np.float32)}, weights, metadata=card.to_metadata())
    for number in range(3):
        version = registry.add(Version(f"1-v{number + 1}-aaaa", "1", float(number)), [weights])
        registry.promote("1", version.name, by="x", reason="y")
    for _ in range(2):
        told = find_earlier_champion(registry.list_changes("1"))
        assert registry.roll_back("1", by="x", reason="y").version == told
    assert find_earlier_champion(registry.list_changes("1")) == ""
    with pytest.raises(UnknownVersion):
        registry.roll_back("1", by="x", reason="y")
    assert find_earlier_champion([]) == ""
    assert find_earlier_champion([ChampionChange("a", "", "promotion", 0, "x", "y")]) == ""
