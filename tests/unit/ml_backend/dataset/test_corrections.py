"""What annotators changed: every region counted once, whatever was done to it."""

from __future__ import annotations

import copy
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.corrections import (
    EDIT_KINDS,
    Correction,
    Edit,
    ShownRegions,
    compare_regions,
    find_deleted_regions,
    find_shown_regions,
    measure_usefulness,
    read_corrections,
)
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.state.projects import Projects

LABELS = LabelingConfig.parse(
    (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")
)
MITOTIC, OTHER = "Mitotic cell", "Other"
WIDTH, HEIGHT = 1300, 1030


def region(name: str, x: float, y: float, label: str = MITOTIC, **more: Any) -> dict[str, Any]:
    """A region of 8 × 8 % as the editor writes it."""
    return {
        "id": name,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "value": {
            "x": x, "y": y, "width": 8, "height": 8, "rotation": 0, "rectanglelabels": [label],
        },
        **more,
    }  # fmt: skip


def changes(shown: list[dict[str, Any]], submitted: list[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(edit.change for edit in compare_regions(shown, submitted, LABELS)))


# Cells of a 9 × 9 grid, so that no two regions lie at the same place.
places = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 8), st.sampled_from([MITOTIC, OTHER])),
    unique_by=lambda cell: cell[:2],
    max_size=12,
)
deeds = st.lists(st.sampled_from(EDIT_KINDS), min_size=12, max_size=12)


def drawn(cells: list[tuple[int, int, str]]) -> list[dict[str, Any]]:
    return [
        region(f"r{number}", 11.0 * x, 11.0 * y, label)
        for number, (x, y, label) in enumerate(cells)
    ]


@settings(deadline=None)
@given(places)
def test_what_nobody_changed_is_kept(cells: list[tuple[int, int, str]]) -> None:
    shown = drawn(cells)
    edits = compare_regions(shown, copy.deepcopy(shown), LABELS)
    assert Counter((edit.change, edit.label) for edit in edits) == Counter(
        ("kept", label) for *_, label in cells
    )


@settings(deadline=None)
@given(places, deeds, st.randoms(use_true_random=False), st.booleans())
def test_each_deed_is_counted_once_in_any_order(cells, deeds, random, lose_ids) -> None:
    shown, submitted, expected = [], [], Counter()
    for before, deed in zip(drawn(cells), deeds, strict=False):
        label = before["value"]["rectanglelabels"][0]
        expected[deed, label] += 1
        after = copy.deepcopy(before)
        if deed == "moved":
            after["value"]["x"] += 1.0
        if deed == "relabelled":
            after["value"]["rectanglelabels"] = [OTHER if label == MITOTIC else MITOTIC]
        if deed == "added":
            after["origin"] = "manual"
        elif lose_ids:
            after["id"] = f"lost-{after['id']}"
        if deed != "added":
            shown.append(before)
        if deed != "deleted":
            submitted.append(after)
    edits = compare_regions(shown, submitted, LABELS)
    assert Counter((edit.change, edit.label) for edit in edits) == expected
    random.shuffle(shown)
    random.shuffle(submitted)
    assert compare_regions(shown, submitted, LABELS) == edits


@settings(deadline=None)
@given(places, deeds)
def test_the_deleted_ones_are_those_that_are_gone(cells, deeds) -> None:
    """With their place in pixels, their label and their id, however the rest was edited."""
    shown = drawn(cells)
    kept = [result for result, deed in zip(shown, deeds, strict=False) if deed != "deleted"]
    kept += [region("new", 90.0, 90.0, origin="manual")]
    found = find_deleted_regions(shown, kept, LABELS, (WIDTH, HEIGHT))
    expected = {
        result["id"]: result["value"]
        for result, deed in zip(shown, deeds, strict=False)
        if deed == "deleted"
    }
    assert {removed.region for removed in found} == expected.keys()
    for removed in found:
        value = expected[removed.region]
        assert [removed.label] == value["rectanglelabels"]
        corners = [value["x"] * WIDTH, value["y"] * HEIGHT]
        corners += [corners[0] + 8 * WIDTH, corners[1] + 8 * HEIGHT]
        assert np.allclose(removed[:4], np.array(corners) / 100, atol=0.01)


def test_a_move_says_how_far() -> None:
    (edit,) = compare_regions([region("a", 10, 10)], [region("a", 14, 10)], LABELS)
    assert edit == Edit("moved", MITOTIC, pytest.approx(1 / 3))


def test_rounding_is_no_move_and_a_pixel_is() -> None:
    pixel = 100 / WIDTH
    assert changes([region("a", 10, 10)], [region("a", 10 + 0.4 * pixel, 10)]) == {"kept": 1}
    assert changes([region("a", 10, 10)], [region("a", 10 + pixel, 10)]) == {"moved": 1}


def test_a_region_moved_and_relabelled_is_one_edit() -> None:
    (edit,) = compare_regions([region("a", 10, 10)], [region("a", 14, 10, OTHER)], LABELS)
    assert (edit.change, edit.label) == ("relabelled", MITOTIC)


def test_an_id_counts_more_than_a_place() -> None:
    shown = [region("a", 10, 10), region("b", 50, 50)]
    assert changes(shown, [region("a", 50, 50), region("b", 10, 10)]) == {"moved": 2}


def test_what_was_drawn_anew_in_place_of_a_deleted_one_is_two_edits() -> None:
    anew = region("new", 10, 10, origin="manual")
    assert changes([region("a", 10, 10)], [anew]) == {"deleted": 1, "added": 1}
    assert changes([region("a", 10, 10)], [region("new", 10, 10)]) == {"kept": 1}


def test_the_same_label_is_known_again_first() -> None:
    shown = [region("a", 10, 10), region("b", 11, 10, OTHER)]
    submitted = [region("c", 10, 10, OTHER), region("d", 11, 10)]
    assert changes(shown, submitted) == {"moved": 2}


def test_a_project_with_rectangle_and_labels_apart() -> None:
    labels = LabelingConfig.parse(
        '<View><Image name="image" value="$image"/><Rectangle name="box" toName="image"/>'
        '<Labels name="label" toName="image"><Label value="Cell"/></Labels></View>'
    )
    shape = {"x": 10, "y": 10, "width": 5, "height": 5}
    both = [
        {"id": "a", "type": "rectangle", "from_name": "box", "value": shape},
        {"id": "a", "type": "labels", "from_name": "label", "value": {**shape, "labels": ["Cell"]}},
    ]
    assert compare_regions(both, both, labels) == [Edit("kept", "Cell", 1.0)]
    assert compare_regions(both, [], labels) == [Edit("deleted", "Cell")]


def test_another_choice_for_a_region_is_a_correction_of_it() -> None:
    labels = LabelingConfig.parse(
        (files("ml_backend.label_studio.configs") / "mitosis-stages.xml").read_text("utf-8")
    )

    def choose(of: dict[str, Any], name: str) -> dict[str, Any]:
        value = {**of["value"], "choices": [name]}
        return {**of, "type": "choices", "from_name": "stage", "value": value}

    cell, other = region("a", 10, 10), region("b", 50, 50)
    shown = [cell, choose(cell, "Anaphase"), other, choose(other, "Prophase")]
    corrected = [cell, choose(cell, "Telophase"), other, choose(other, "Prophase")]
    assert compare_regions(shown, corrected, labels) == [
        Edit("kept", "Mitotic cell (Prophase)", 1.0),
        Edit("relabelled", "Mitotic cell (Anaphase)", 1.0),
    ]
    # What was removed is known by its label alone: it trains the detector.
    assert find_deleted_regions(shown, shown[2:], labels, (WIDTH, HEIGHT))[0].label == MITOTIC


def a_task() -> dict[str, Any]:
    """As Label Studio's editor submitted it: one region dragged, one relabelled, one
    deleted, one drawn, one left alone (the values are shortened)."""
    return {
        "id": 7,
        "predictions": [
            {
                "id": 1,
                "model_version": "v1",
                "result": [
                    region("drag", 10, 15, score=0.87),
                    region("gone", 55, 50, score=0.42),
                    region("name", 70, 10, score=0.6),
                    region("left", 30, 60, score=0.7),
                ],
            },
            {"id": 2, "model_version": "v2", "result": []},
        ],
        "annotations": [
            {
                "id": 5,
                "parent_prediction": 1,
                "was_cancelled": False,
                "lead_time": 9.67,
                "result": [
                    region("drag", 12.99194476, 17.90480074, origin="prediction-changed"),
                    region("name", 70, 10, OTHER, origin="prediction-changed"),
                    region("left", 30, 60, origin="prediction"),
                    region("B-g3zI6DQ5", 79.976985, 80.027260, origin="manual"),
                ],
            },
            {"id": 6, "parent_prediction": None, "was_cancelled": False, "result": []},
            {"id": 8, "parent_prediction": 2, "was_cancelled": True, "result": []},
        ],
    }


def test_a_task_as_the_editor_submits_it() -> None:
    task = a_task()
    (correction,), from_nothing = read_corrections(task, find_shown_regions(task), LABELS)
    assert (correction.task, correction.annotation, correction.version, correction.seconds) == (
        7,
        5,
        "v1",
        9.67,
    )
    assert [edit.change for edit in correction.edits] == list(EDIT_KINDS)
    assert from_nothing == 1


def test_what_was_shown_outlives_its_deletion(tmp_path: Path) -> None:
    task = a_task()
    projects = Projects(tmp_path / "projects.sqlite")
    projects.keep_shown_regions(3, find_shown_regions(task))
    before = read_corrections(task, projects.get_shown_regions(3), LABELS)

    # The server nulls the link when the pre-annotation is deleted.
    task["predictions"] = []
    task["annotations"][0]["parent_prediction"] = None
    projects.keep_shown_regions(3, find_shown_regions(task))
    assert read_corrections(task, projects.get_shown_regions(3), LABELS) == before
    assert projects.get_shown_regions(4) == {}
    projects.keep_shown_regions(3, {5: ShownRegions("other", [])})
    assert projects.get_shown_regions(3)[5].version == "v1"


def test_usefulness_by_version() -> None:
    kept, moved = Edit("kept", MITOTIC, 1.0), Edit("moved", MITOTIC, 0.6)
    added, deleted = Edit("added", OTHER), Edit("deleted", MITOTIC)
    first, second = measure_usefulness(
        [
            Correction(3, 30, "v2", None, (added,)),
            Correction(1, 10, "v1", 4.0, (kept, kept)),
            Correction(2, 20, "v1", 10.0, (kept, moved, added, deleted)),
            Correction(2, 21, "v1", 100.0, ()),
        ]
    )
    assert (first.version, first.tasks, first.accepted) == ("v1", 2, 2)
    assert (first.edits_per_image, first.seconds_per_image, first.moved_iou) == (1.0, 10.0, 0.6)
    nothing = dict.fromkeys(EDIT_KINDS, 0)
    assert first.classes == {
        MITOTIC: {**nothing, "kept": 3, "moved": 1, "deleted": 1},
        OTHER: {**nothing, "added": 1},
    }
    assert (second.version, second.seconds_per_image, second.moved_iou) == ("v2", None, None)
    assert measure_usefulness([]) == []
