"""The tree stays small enough to be read: few rooms at the top, few files in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES_AT_MOST = 18


@pytest.mark.parametrize(("package", "rooms_at_most"), [("ml_backend", 20), ("tasks", 10)])
def test_few_rooms_at_the_top(package: str, rooms_at_most: int) -> None:
    modules = {path.stem for path in (ROOT / package).glob("*.py")}
    packages = {path.parent.name for path in (ROOT / package).glob("*/*.py")}
    rooms = modules - {"__init__", "__main__"} | packages
    assert 1 < len(rooms) <= rooms_at_most, sorted(rooms)


@pytest.mark.parametrize("package", ["ml_backend", "tasks"])
def test_few_files_in_a_folder(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    counts = {str(f.relative_to(ROOT)): len(list(f.glob("*.py"))) for f in folders}
    assert package in counts
    assert not {folder: count for folder, count in counts.items() if count > FILES_AT_MOST}
