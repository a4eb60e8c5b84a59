"""What an export checks before any work, and how it writes what a person drew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.exchange.export_project import check_target
from tests.labelled import FILES, Row, write


def test_a_person_has_no_confidence(tmp_path: Path, media: Path) -> None:
    truth: dict[str, list[Row]] = {"Os/1.png": [(1, 2, 9, 9, "Mitotic cell")]}
    for form in FILES:
        write(tmp_path, form, truth, media)
    text = "".join((tmp_path / f"out{form}").read_text() for form in FILES)
    assert "confidence" not in text and "score" not in text and "partial" not in text
    (feature,) = json.loads((tmp_path / "out.geojson").read_text())["features"]
    assert feature["properties"]["objectType"] == "annotation"


def test_what_to_write_is_checked_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="yolo, voc, geojson"):
        check_target(tmp_path / "out", "coco")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        check_target(tmp_path, "voc")
    with pytest.raises(ValueError, match="geojson"):
        check_target(tmp_path / "out", None)
    check_target(tmp_path / "out", "voc")
    check_target(tmp_path / "out.geojson", None)
