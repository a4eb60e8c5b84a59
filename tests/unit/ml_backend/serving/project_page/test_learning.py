"""The matrix of changes, and which champion a rollback brings back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.registry.champions import ChampionChange
from ml_backend.registry.versions import Registry, UnknownVersion
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
    registry.get = lambda name: name  # type: ignore[method-assign, assignment, return-value]
    for name in ("a", "b", "c"):
        registry.promote("1", name, by="x", reason="y")
    for _ in range(2):
        told = find_earlier_champion(registry.list_changes("1"))
        assert registry.roll_back("1", by="x", reason="y").version == told
    assert find_earlier_champion(registry.list_changes("1")) == ""
    with pytest.raises(UnknownVersion):
        registry.roll_back("1", by="x", reason="y")
    assert find_earlier_champion([]) == ""
    assert find_earlier_champion([ChampionChange("a", "", "promotion", 0, "x", "y")]) == ""
