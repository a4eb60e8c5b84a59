"""What annotation files say as regions of a project, and what of it cannot be said there."""

from __future__ import annotations

from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.annotation_formats.ground_truth import GroundTruth
from ml_backend.label_studio.labeling_config import LabelingConfig
from tasks.exchange.import_project import describe_problems, is_same, to_regions
from tests.labelled import LABELS, SIZES, Row, rows

SIZE = SIZES["Ta/1.png"]
boxes = st.lists(rows(SIZE), max_size=3)


@settings(max_examples=40, deadline=None)
@given(boxes)
def test_regions_are_the_boxes_as_a_person_draws_them(rows: list[Row]) -> None:
    regions = to_regions(GroundTruth(SIZE, rows), LABELS)
    assert [region["value"]["rectanglelabels"] for region in regions] == [[row[4]] for row in rows]
    assert all("score" not in region for region in regions)
    for region, row in zip(regions, rows, strict=True):
        value = region["value"]
        left, top = value["x"] * SIZE[0] / 100, value["y"] * SIZE[1] / 100
        right = left + value["width"] * SIZE[0] / 100
        bottom = top + value["height"] * SIZE[1] / 100
        assert (left, top, right, bottom) == pytest.approx(row[:4], abs=0.01)


@settings(max_examples=40, deadline=None)
@given(boxes)
def test_an_annotation_is_the_same_as_itself_alone(rows: list[Row]) -> None:
    regions = to_regions(GroundTruth(SIZE, rows), LABELS)
    assert is_same(regions, regions, LABELS)
    assert is_same(regions, [], LABELS) == is_same([], regions, LABELS) == (not rows)
    assert describe_problems(GroundTruth(SIZE, rows), LABELS) == []


def test_what_is_called_by_a_choice_gets_its_label_and_the_choice() -> None:
    spreads = LabelingConfig.parse(
        (files("ml_backend.label_studio.configs") / "spreads.xml").read_text(encoding="utf-8")
    )
    named = ["A", "Other", "Single chromosome", "C"]
    truth = GroundTruth(SIZE, [(20 * n, 10, 20 * n + 15, 30, name) for n, name in enumerate(named)])
    assert describe_problems(truth, spreads) == []
    regions, problems = spreads.read_regions(to_regions(truth, spreads), *SIZE)
    assert not problems and [(region.labels[0], region.choices) for region in regions] == [
        ("Single chromosome", ("A",)),
        ("Other", ()),
        ("Single chromosome", ()),
        ("Single chromosome", ("C",)),
    ]


def test_what_cannot_be_taken_over_is_said() -> None:
    known: Row = (1, 2, 9, 9, "Mitotic cell")
    truth = GroundTruth(
        SIZE, [known, (2, 2, 9, 9, "Tumour")], ignored=[(1, 1, 4, 4)], faults=["it has no label"]
    )
    assert describe_problems(truth, LABELS) == [
        "1 of 4 boxes, the first because it has no label",
        "1 box, marked as difficult or crowd, which trainings ignore",
        "1 box called Tumour: the project has no such label",
    ]
    assert len(to_regions(truth, LABELS)) == 1
