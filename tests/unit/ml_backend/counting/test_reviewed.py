"""Which reviewed tiles count, and what is on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ml_backend.counting.reviewed import (
    ReviewedTiles,
    count_classes,
    list_classes,
    select_reviewed,
)
from ml_backend.counting.sample import DrawnTile
from ml_backend.label_studio.labeling_config import parse_labels

BOXES = parse_labels(
    '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i">'
    '<Label value="Metaphase"/><Label value="Interphase"/></RectangleLabels></View>'
)
NAMES = parse_labels(
    '<View><Image name="i" value="$image"/><Choices name="c" toName="i">'
    '<Choice value="dividing"/><Choice value="resting"/></Choices></View>'
)


def region(label: str, x: float) -> dict[str, Any]:
    return {
        "id": f"{label}{x}",
        "type": "rectanglelabels",
        "from_name": "l",
        "to_name": "i",
        "original_width": 100,
        "original_height": 100,
        "value": {"x": x, "y": 0, "width": 9, "height": 9, "rectanglelabels": [label]},
    }


def annotated(task: int, *results: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    annotations = [
        {"id": n, "completed_by": n, "updated_at": f"2026-01-0{n}", "result": result, **more}
        for n, result in enumerate(results, start=1)
    ]
    return {"id": task, "data": {}, "annotations": annotations}


def test_boxes_are_counted_by_class() -> None:
    tasks = [
        annotated(1, [region("Metaphase", 0), region("Interphase", 20), region("Metaphase", 40)]),
        annotated(2, []),
        annotated(3, [region("Metaphase", 0)], was_cancelled=True),
        {"id": 4, "data": {}, "annotations": []},
    ]
    found = count_classes(tasks, BOXES, "newest")
    assert {task: counts.tolist() for task, counts in found.items()} == {1: [2, 1], 2: [0, 0]}


def test_of_several_people_the_policy_decides() -> None:
    both, lone = [region("Metaphase", 0), region("Metaphase", 50)], [region("Metaphase", 0)]
    task = annotated(1, both, lone)
    assert count_classes([task], BOXES, "newest")[1].tolist() == [1, 0]
    task = annotated(1, lone, both, both)
    assert count_classes([task], BOXES, "majority")[1].tolist() == [2, 0]


def test_an_image_with_a_name_is_an_object() -> None:
    choice = {"type": "choices", "from_name": "c", "to_name": "i", "id": "x"}
    tasks = [annotated(1, [{**choice, "value": {"choices": ["resting"]}}])]
    assert list_classes(NAMES) == ("dividing", "resting")
    assert count_classes(tasks, NAMES, "newest")[1].tolist() == [0, 1]


def drawn(*tasks: int, left: int = 10, version: str = "v1") -> list[DrawnTile]:
    return [DrawnTile(task, 0.5, left - n, 0, 0.25, 2, version) for n, task in enumerate(tasks)]


def select(tiles: list[DrawnTile], counts: dict[int, int], present=range(1, 11)) -> ReviewedTiles:
    numbers = {task: np.array([count], float) for task, count in counts.items()}
    return select_reviewed(tiles, numbers, ("Metaphase",), ("Metaphase",), present=present)


def test_only_the_unbroken_beginning_counts() -> None:
    found = select(drawn(3, 1, 2, 4), {3: 1, 1: 0, 4: 5, 9: 7})
    assert found.counts.tolist() == [[1, 0]]
    assert (found.tiles, found.waiting, found.missing) == (10, 2, 2)
    assert found.known.tolist() == [0] and found.uncounted == 0


def test_a_tile_that_was_deleted_holds_nobody_up() -> None:
    found = select(drawn(3, 1, 2), {3: 1, 2: 4}, present=[2, 3, 4, 5, 6, 7, 8, 9, 10])
    assert found.counts.tolist() == [[1, 0, 4]]
    assert found.missing is None


def test_tiles_reviewed_before_stand_for_themselves() -> None:
    tiles = drawn(7, 8, left=2, version="") + drawn(1, 2, 3, left=8)
    before = select(tiles, {7: 5, 8: 1})
    assert (before.known.tolist(), before.known_tiles, before.tiles) == ([6], 2, 8)
    assert before.counts.shape == (1, 0)
    after = select(tiles, {7: 5, 8: 1, 1: 2})
    assert (after.known.tolist(), after.tiles, after.counts.tolist()) == ([6], 8, [[2]])


def test_new_tiles_let_it_begin_anew() -> None:
    tiles = drawn(1, 2, 3, left=5) + drawn(11, 4, left=12)
    there = [*range(1, 6), *range(11, 21)]
    counts = {1: 1, 2: 1, 3: 1}
    old = select(tiles, counts, there)
    assert (old.tiles, old.known_tiles, old.uncounted) == (5, 0, 10)
    new = select(tiles, counts | {11: 4}, there)
    assert (new.known.tolist(), new.counts.tolist(), new.tiles) == ([3], [[4]], 12)
    assert new.uncounted == 0


@pytest.mark.parametrize("counts", [{}, {5: 1}])
def test_nothing_drawn_or_reviewed(counts) -> None:
    found = select([], counts)
    assert found.counts.shape == (1, 0) and found.tiles == 0
    assert (found.waiting, found.missing) == (len(counts), None)


def test_whether_every_tile_was_as_likely() -> None:
    assert not select(drawn(1, 2, 3), {1: 0, 2: 1}).is_even
    even = [replace(tile, probability=1 / tile.tiles_left) for tile in drawn(1, 2, 3)]
    assert select(even, {1: 0, 2: 1}).is_even
    known = drawn(7, 8, left=2, version="") + even
    assert not select(known, {7: 0, 8: 0, 1: 0}).is_even
    assert select(drawn(1, 2, 3, left=3), {1: 0, 2: 1, 3: 0}).is_even


def test_tiles_know_their_scan() -> None:
    tiles = drawn(7, 8, left=2, version="") + drawn(1, 2, left=8)
    samples = {task: "a" if task < 8 else "b" for task in range(1, 11)}
    counts = {task: np.array([2.0]) for task in (7, 8, 1, 2)}
    classes = ("Metaphase",)
    found = select_reviewed(tiles, counts, classes, classes, present=range(1, 11), samples=samples)
    assert found.samples == ("a", "a") and found.sizes == {"a": 7, "b": 3}
    assert {name: known.tolist() for name, known in found.known_in.items()} == {"a": [2], "b": [2]}
