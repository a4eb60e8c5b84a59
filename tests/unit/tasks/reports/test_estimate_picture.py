"""The estimates in a report: the page, the table and the picture say the same."""

from __future__ import annotations

import csv
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ml_backend.counting.estimates import ProjectCount, estimate_project
from ml_backend.counting.records import to_json
from ml_backend.counting.reviewed import ReviewedTiles
from ml_backend.estimation.prediction_powered import Refusal
from tasks.reports.estimate_picture import draw_estimates
from tasks.reports.report import write_report
from tasks.reports.source import ReportSource


def count(reviewed: int) -> ProjectCount:
    counts = np.random.default_rng(3).poisson([[0.4], [5]], (2, reviewed)).astype(float)
    tiles = ReviewedTiles(
        ("Metaphase", "Interphase"),
        ("Metaphase",),
        counts,
        1 / (500 - np.arange(reviewed)),
        np.zeros(reviewed),
        np.zeros(reviewed),
        500,
        np.zeros(2),
        0,
        naive=231.0,
    )
    return estimate_project(tiles, "drawn")


def make_source(count: ProjectCount | Refusal) -> ReportSource:
    return ReportSource("Plate 3", [], ("Metaphase",), ("Metaphase",), {}, count=count)


def test_the_page_the_table_and_the_picture(tmp_path: Path) -> None:
    found = count(120)
    source = replace(make_source(found), colours={"Metaphase": "#112233"})
    result = write_report(source, tmp_path, lambda done, total: None)
    assert result["estimated"] == to_json(found)
    first = result["estimated"]["estimates"][0]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    low, high = first["interval"]
    assert f"{low:.0f} to {high:.0f}" in page and result["estimated"]["advice"] in page
    assert "data:image/png;base64," in page
    with (tmp_path / "estimates.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["what"] for row in rows] == ["Metaphase", "Interphase", "mitotic index"]
    assert float(rows[0]["low"]) == low and float(rows[0]["naive"]) == 231
    assert (tmp_path / "pictures" / "estimate.png").exists()
    # A later report without an estimate leaves nothing of it behind.
    again = replace(source, count=Refusal("only 3 were reviewed at random"))
    write_report(again, tmp_path, lambda done, total: None)
    assert not (tmp_path / "estimates.csv").exists()
    assert not (tmp_path / "pictures" / "estimate.png").exists()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "is not estimated: only 3 were reviewed at random." in page


def test_no_share_among_tiles_that_were_drawn_unevenly(tmp_path: Path) -> None:
    source = replace(make_source(replace(count(60), is_even=False)), colours={"Metaphase": "#1"})
    result = write_report(source, tmp_path, lambda done, total: None)
    assert result["indices"] == []
    assert result["why_no_index"].startswith("tiles with many cells were more likely")


def test_the_picture_shows_what_has_an_interval() -> None:
    assert draw_estimates(count(20)) is None
    content = draw_estimates(count(60))
    assert content is not None
    with Image.open(BytesIO(content)) as picture:
        assert picture.format == "PNG" and picture.width > picture.height > 100
