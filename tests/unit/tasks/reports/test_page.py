"""The page of a report."""

from __future__ import annotations

from typing import Any

from ml_backend.evaluation.label_quality.annotator_agreement import evaluate_agreement
from tasks.reports.counts import ReportImage, count_objects, group_images
from tasks.reports.page import Pictures, Thumbnail, render_page
from tasks.reports.source import ReportSource


def render(title: str, name: str, pictures: Pictures, **fields: Any) -> str:
    image = ReportImage(name, 0, 0, 100, 80, "waiting")
    group = group_images(name, name, [image])
    source = ReportSource(title, [group], ("x",), ("x",), {"x": "#E69F00"}, **fields)
    result: dict[str, Any] = {
        "title": title,
        "images": 1,
        "reviewed_images": 0,
        "waiting_images": 1,
        "model": "",
        "classes": ["x"],
        "why_no_index": "nothing is marked",
        "corrections": [],
        "shares": [],
        "started_from_nothing": 0,
        "annotators": "",
        "several_annotators": 0,
        "agreement": None,
        "estimated": None,
        "skipped": [{"source": name, "reason": "<gone>"}],
    }
    return render_page(result, source, count_objects([group], ("x",)), [], pictures)


def test_names_of_people_are_text_and_no_code() -> None:
    html = render("<script>alert(1)</script>", "<b>1</b>.png", Pictures())
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "<b>1</b>" not in html and "&lt;gone&gt;" in html


def test_only_the_confidence_of_what_nobody_reviewed_is_shown() -> None:
    thumbnails = [
        Thumbnail(1, "a.png", False, 0.75, b"jpeg"),
        Thumbnail(2, "a.png", True, None, b"jpeg"),
    ]
    html = render("t", "a.png", Pictures(thumbnails={"x": thumbnails}, totals={"x": 5}))
    assert html.count("0.75*") == 1 and "The first 2 of 5" in html
    assert html.count("data:image/jpeg;base64,anBlZw==") == 2


def test_how_far_people_agree_on_names_is_said() -> None:
    ratings = [{"annotator 1": "x", "annotator 2": "y" if n == 0 else "x"} for n in range(9)]
    ratings.append({"annotator 1": "y", "annotator 2": "y"})
    agreement = evaluate_agreement(ratings)
    html = render("t", "a.png", Pictures(), name_agreement=agreement)
    assert "alpha" in html and "What 10 images" in html and "annotator 2" in html
    assert agreement is not None and f"{agreement.alpha.value:.2f}" in html
