"""Snapshots: which annotation counts, and the same annotations under the same name."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.snapshot import (
    Fetched,
    Snapshot,
    choose,
    corrected_since,
    load,
    save,
    take,
    to_example,
)
from ml_backend.labels import Labels

LABELS = Labels.parse(
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Mitotic cell"/><Label value="Other"/></RectangleLabels></View>'
)


def region(label: str = "Mitotic cell", x: float = 10, rotation: float = 0) -> dict[str, Any]:
    return {
        "id": f"r{x}",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 200,
        "original_height": 100,
        "value": {
            "x": x,
            "y": 20,
            "width": 30,
            "height": 40,
            "rotation": rotation,
            "rectanglelabels": [label],
        },
    }


def annotation(number: int, when: str = "2026-01-01", **fields: Any) -> dict[str, Any]:
    return {"id": number, "updated_at": when, "result": [region()], **fields}


def task(number: int, *annotations: dict[str, Any], **data: Any) -> dict[str, Any]:
    return {
        "id": number,
        "data": {"image": f"/data/{number}.png", **data},
        "annotations": list(annotations),
    }


def fetch(chosen: Any) -> list[Fetched | Exception]:
    return [Fetched(f"{one.task}", f"hash{one.task}", (200, 100)) for one in chosen]


def snapshot(tasks: list[dict[str, Any]]) -> Snapshot:
    return take(1, tasks, LABELS, fetch, 0.2)


def test_only_submitted_annotations_count() -> None:
    tasks = [
        task(1),
        task(2, annotation(20, was_cancelled=True)),
        task(3, annotation(30, result=[])),
        task(4, annotation(40)),
    ]
    taken = snapshot(tasks)
    assert [item.task for item in taken.items] == [3, 4]
    assert taken.items[0].boxes == ()  # looked at, nothing there
    assert taken.items[1].boxes == ((20.0, 20.0, 80.0, 60.0, "Mitotic cell"),)
    assert taken.counts() == {"Mitotic cell": 1, "Other": 0}


def test_the_newest_counts_and_a_ground_truth_wins() -> None:
    (one,) = choose([task(1, annotation(1, "2026-01-01"), annotation(2, "2026-01-03"))])
    assert one.annotation == 2
    old = annotation(1, "2026-01-01", ground_truth=True)
    (one,) = choose([task(1, old, annotation(2, "2026-01-03"))])
    assert one.annotation == 1


@given(st.permutations(range(1, 9)))
def test_order_does_not_matter(order: list[int]) -> None:
    tasks = [task(i, annotation(10 * i), annotation(10 * i + 1)) for i in order]
    assert snapshot(tasks) == snapshot(sorted(tasks, key=lambda one: one["id"]))


def test_a_later_correction_gives_another_name() -> None:
    before = snapshot([task(1, annotation(1))])
    assert snapshot([task(1, annotation(1, "2026-02-02"))]).name != before.name
    assert snapshot([task(1, annotation(1, result=[region(x=11)]))]).name != before.name


def test_the_side_written_at_creation_stays() -> None:
    for side in ("train", "holdout"):
        (item,) = snapshot([task(1, annotation(1), split=side, sampling_p=0.3)]).items
        assert (item.split, item.sampling_p) == (side, 0.3)


def test_what_would_leak_is_set_apart_and_says_so() -> None:
    def tile(number: int, column: int, **data: Any) -> dict[str, Any]:
        return task(number, annotation(number), scan="s", row=0, column=column, **data)

    same = {"sample": "Os"}
    taken = snapshot(
        [
            task(1, annotation(1), split="train", **same),
            task(2, annotation(2), split="holdout", **same),
            tile(3, 6, split="train"),
            tile(4, 7, split="train"),
            tile(5, 8, split="holdout"),
        ]
    )
    sides = {item.task: item.split for item in taken.items}
    assert sides == {1: "buffer", 2: "holdout", 3: "train", 4: "buffer", 5: "holdout"}
    said = {item.task: " ".join(item.problems) for item in taken.items}
    assert "group" in said[1] and "beside a held-out tile" in said[4] and not said[3]


def test_tiles_without_a_side_get_one_by_their_block() -> None:
    tiles = [
        task(10 * r + c, annotation(10 * r + c), scan="s", row=8 * r, column=8 * c)
        for r in range(9)
        for c in range(9)
    ]
    assert {item.split for item in snapshot(tiles).items} == {"train", "holdout", "buffer"}


def test_what_cannot_be_used_is_listed() -> None:
    def failing(chosen: Any) -> list[Fetched | Exception]:
        return [ValueError("zero bytes"), *fetch(chosen[1:])]

    turned = annotation(2, result=[region(rotation=30), region("Nonsense", 50)])
    taken = take(1, [task(1, annotation(1)), task(2, turned)], LABELS, failing, 0.2)
    assert taken.left_out == ((1, "zero bytes"),)
    (item,) = taken.items
    assert len(item.boxes) == 1 and any("Nonsense" in problem for problem in item.problems)


def test_corrected_since_counts_what_is_new_or_changed() -> None:
    taken = snapshot([task(1, annotation(1)), task(2, annotation(2))])
    same = choose([task(1, annotation(1)), task(2, annotation(2))])
    assert corrected_since(same, taken) == 0
    assert corrected_since(same, None) == 2
    again = task(1, annotation(1, "2027"))
    changed = choose([again, task(2, annotation(2)), task(3, annotation(3))])
    assert corrected_since(changed, taken) == 2


def test_a_snapshot_reads_back(tmp_path: Path) -> None:
    taken = snapshot([task(1, annotation(1)), task(2, annotation(2, result=[]))])
    save(taken, tmp_path)
    assert load(taken.name, tmp_path) == taken
    assert load("nothing", tmp_path) is None
    example = to_example(taken.items[0], tmp_path)
    assert example.boxes is not None and len(example.boxes) == 1


@pytest.mark.parametrize("bad", [[{}], [{"type": "rectanglelabels"}], [{"value": None}]])
def test_a_broken_region_takes_nothing_down(bad: list[dict[str, Any]]) -> None:
    (item,) = snapshot([task(1, annotation(1, result=[*bad, region()]))]).items
    assert len(item.boxes) == 1 and item.problems
