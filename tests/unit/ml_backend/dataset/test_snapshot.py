"""Snapshots: which annotation counts, and the same annotations under the same name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.consensus import Policy, collect_submissions
from ml_backend.dataset.corrections import ShownRegions
from ml_backend.dataset.snapshot import (
    FetchedImage,
    Snapshot,
    add_lost_tasks,
    build_snapshot,
    count_corrected_since,
    load_snapshot,
    save_snapshot,
    take_snapshot,
    to_example,
)
from ml_backend.dataset.split import Place
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.system.atomic_files import read_json

POLICIES: tuple[Policy, ...] = ("newest", "majority", "agreement")
LABELS = LabelingConfig.parse(
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


def fetch(chosen: Any) -> list[FetchedImage | Exception]:
    return [
        FetchedImage(f"{submission.task}", f"hash{submission.task}", (200, 100))
        for submission in chosen
    ]


def snapshot(tasks: list[dict[str, Any]]) -> Snapshot:
    return take_snapshot(1, tasks, LABELS, fetch, 0.2)


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
    assert taken.count_boxes() == {"Mitotic cell": 1, "Other": 0}


def test_the_newest_counts_and_a_ground_truth_wins() -> None:
    (submission,) = collect_submissions(
        [task(1, annotation(1, "2026-01-01"), annotation(2, "2026-01-03"))]
    )
    assert submission.annotation == 2
    old = annotation(1, "2026-01-01", ground_truth=True)
    (submission,) = collect_submissions([task(1, old, annotation(2, "2026-01-03"))])
    assert submission.annotation == 1


@given(st.permutations(range(1, 9)), st.permutations(range(4)), st.sampled_from(POLICIES))
def test_order_does_not_matter(order: list[int], within: list[int], policy: Policy) -> None:
    def taken(order: Sequence[int], within: Sequence[int]) -> Snapshot:
        tasks = [
            task(
                i,
                *(
                    annotation(10 * i + j, completed_by=j % 3, result=[region(x=10 + 5 * j)])
                    for j in within
                ),
            )
            for i in order
        ]
        return take_snapshot(1, tasks, LABELS, fetch, 0.2, policy)

    assert taken(order, within) == taken(range(1, 9), range(4))


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
    problems = {item.task: " ".join(item.problems) for item in taken.items}
    assert "group" in problems[1] and "beside a held-out tile" in problems[4] and not problems[3]


def test_tiles_without_a_side_get_one_by_their_block() -> None:
    tiles = [
        task(10 * r + c, annotation(10 * r + c), scan="s", row=8 * r, column=8 * c)
        for r in range(9)
        for c in range(9)
    ]
    assert {item.split for item in snapshot(tiles).items} == {"train", "holdout", "buffer"}


def test_what_cannot_be_used_is_listed() -> None:
    def failing(chosen: Any) -> list[FetchedImage | Exception]:
        return [ValueError("zero bytes"), *fetch(chosen[1:])]

    turned = annotation(2, result=[region(rotation=30), region("Nonsense", 50)])
    taken = take_snapshot(1, [task(1, annotation(1)), task(2, turned)], LABELS, failing, 0.2)
    assert taken.left_out == ((1, "zero bytes"),)
    (item,) = taken.items
    assert len(item.boxes) == 1 and any("Nonsense" in problem for problem in item.problems)


def gone(x: float, name: str, width: float = 10) -> dict[str, Any]:
    deleted = region("Other", x=x)
    return {**deleted, "id": name, "value": {**deleted["value"], "width": width}}


def test_what_was_shown_and_removed_is_kept(tmp_path: Path) -> None:
    """Also where nothing of the truth is left; not where another box took its place."""
    shown = {
        10: ShownRegions("v1", [region(), gone(70, "away"), gone(12, "double")]),
        20: ShownRegions("v1", [gone(70, "debris")]),
        30: ShownRegions("v1", [gone(70, "skipped")]),
    }
    drawn_anew = {**region(x=12), "id": "by hand", "origin": "manual"}
    tasks = [
        task(1, annotation(10, result=[drawn_anew])),
        task(2, annotation(20, result=[])),
        task(3, annotation(30, result=[], was_cancelled=True)),
    ]
    taken = take_snapshot(1, tasks, LABELS, fetch, 0.2, shown=shown)
    first, two = taken.items
    away = (140.0, 20.0, 160.0, 60.0, "Other")
    assert first.deleted == ((*away, "away"),)
    assert two.deleted == ((*away, "debris"),) and two.boxes == ()
    assert taken.summarize()["deleted"] == {"Other": 2}
    save_snapshot(taken, tmp_path)
    assert load_snapshot(taken.name, tmp_path) == taken
    example = to_example(two, tmp_path)
    assert example.boxes is not None and not len(example.boxes)
    assert example.deleted.tolist() == [list(away[:4])]
    # They are part of what is trained on, and so of the name.
    assert taken.name != take_snapshot(1, tasks, LABELS, fetch, 0.2).name
    assert to_example(snapshot(tasks).items[0], tmp_path).deleted.shape == (0, 4)


@given(st.permutations(range(4)), st.permutations(range(6)), st.sampled_from(POLICIES))
def test_what_was_removed_has_no_order_either(
    order: list[int], within: list[int], policy: Policy
) -> None:
    def taken(order: Sequence[int], within: Sequence[int]) -> Snapshot:
        shown = {
            10 * i + j: ShownRegions("v", [gone(15.0 * k, f"{i} {k}") for k in within])
            for i in order
            for j in (1, 2)
        }
        tasks = [
            task(
                i,
                *(
                    annotation(10 * i + j, completed_by=j, result=[gone(15.0 * j, f"{i} {j}")])
                    for j in ((1, 2) if within[0] else (2, 1))
                ),
            )
            for i in order
        ]
        return take_snapshot(1, tasks, LABELS, fetch, 0.2, policy, shown)

    found = taken(order, within)
    assert found == taken(range(4), range(6))
    # Who left it in place, and counts, keeps it from being nothing.
    left = 5 if policy == "newest" else 4
    assert all(len(item.deleted) == left for item in found.items)


def test_whatever_is_not_taken_over_as_it_is_stands_in_the_manifest(tmp_path: Path) -> None:
    boxes = [
        region(x=5, rotation=30),
        region(x=90),
        region("Nonsense", x=40),
        {**region(x=50), "type": "polygonlabels", "from_name": "elsewhere"},
    ]
    taken = snapshot([task(1, annotation(1, result=boxes)), task(2, annotation(2))])
    manifest = read_json(save_snapshot(taken, tmp_path))
    (problems, nothing) = (" ".join(item["problems"]) for item in manifest["items"])
    for words in ("turned by 30°", "beyond the image", "no label Nonsense", "not a rectangle"):
        assert words in problems
    assert not nothing
    assert manifest["summary"]["with_problems"] == 1
    assert sum(manifest["summary"]["tasks"].values()) == 2
    assert manifest["summary"]["boxes"] == {"Mitotic cell": 3, "Other": 0}


def held(*numbers: int, **fields: Any) -> list[dict[str, Any]]:
    return [task(n, annotation(n), split="holdout", **fields) for n in numbers]


def test_what_the_hold_out_loses_is_said_and_kept(tmp_path: Path) -> None:
    before = snapshot(held(1, 2, 3, 4, 5))
    now = snapshot([*held(1), task(2, annotation(2), split="train"), *held(7)])
    now = build_snapshot(1, now.labels, now.items, [(3, "zero bytes")])
    asked = []

    def present(tasks: Sequence[int]) -> list[int]:
        asked.append(tasks)
        return [5]

    after = add_lost_tasks(now, before, present)
    assert after.lost == (
        (2, "its side is 'train' now"),
        (3, "left out: zero bytes"),
        (4, "the task was deleted"),
        (5, "its annotation was deleted or skipped"),
    )
    assert asked == [[4, 5]]
    # The annotations are the same, so the name is; the loss is kept with it all the same.
    assert after.name == now.name
    save_snapshot(now, tmp_path)
    save_snapshot(after, tmp_path)
    assert load_snapshot(now.name, tmp_path) == after
    save_snapshot(now, tmp_path)
    assert load_snapshot(now.name, tmp_path) == after
    assert (
        add_lost_tasks(before, None, present) == add_lost_tasks(before, before, present) == before
    )


def by(
    person: int, number: int, when: str, *boxes: dict[str, Any], **fields: Any
) -> dict[str, Any]:
    return annotation(number, when, completed_by=person, result=list(boxes), **fields)


def test_a_policy_says_what_counts_of_several_annotators() -> None:
    left, right, off = region(x=10), region(x=60), region("Other", x=30)
    three = task(
        1,
        by(1, 1, "2026-01-01", off),
        by(1, 2, "2026-01-02", left),
        by(2, 3, "2026-01-03", left, right),
        by(3, 4, "2026-01-04", left, right, off),
    )
    taken = {policy: take_snapshot(1, [three], LABELS, fetch, 0.2, policy) for policy in POLICIES}
    boxes = {policy: len(snapshot.items[0].boxes) for policy, snapshot in taken.items()}
    assert boxes == {"newest": 3, "majority": 2, "agreement": 2}
    for snapshot in taken.values():
        (item,) = snapshot.items
        # The newest annotation of each: F1 of 2/3, 1/2 and 4/5 for the three pairs.
        assert item.agreement == pytest.approx((2 / 3 + 1 / 2 + 4 / 5) / 3)
        assert item.annotations == (4, 3, 2) and item.annotation == 4
        assert snapshot.summarize()["agreement"] == pytest.approx(item.agreement)
        assert snapshot.summarize()["several_annotators"] == 1
    # A ground truth wins whatever the policy.
    three["annotations"].append(by(4, 5, "2025-01-01", off, ground_truth=True))
    for policy in POLICIES:
        (item,) = take_snapshot(1, [three], LABELS, fetch, 0.2, policy).items
        assert [row[4] for row in item.boxes] == ["Other"] and item.annotation == 5


def test_one_annotator_has_nobody_to_agree_with() -> None:
    (item,) = snapshot([task(1, annotation(1), annotation(2))]).items
    assert item.agreement is None and item.annotations == (2,)


def test_corrected_since_counts_what_is_new_or_changed() -> None:
    taken = snapshot([task(1, annotation(1)), task(2, annotation(2))])
    same = collect_submissions([task(1, annotation(1)), task(2, annotation(2))])
    assert count_corrected_since(same, taken) == 0
    assert count_corrected_since(same, None) == 2
    again = task(1, annotation(1, "2027"))
    changed = collect_submissions([again, task(2, annotation(2)), task(3, annotation(3))])
    assert count_corrected_since(changed, taken) == 2


def test_a_snapshot_reads_back(tmp_path: Path) -> None:
    taken = snapshot([task(1, annotation(1)), task(2, annotation(2, result=[]))])
    save_snapshot(taken, tmp_path)
    assert load_snapshot(taken.name, tmp_path) == taken
    assert load_snapshot("nothing", tmp_path) is None
    example = to_example(taken.items[0], tmp_path)
    assert example.boxes is not None and len(example.boxes) == 1


@pytest.mark.parametrize("bad", [[{}], [{"type": "rectanglelabels"}], [{"value": None}]])
def test_a_broken_region_takes_nothing_down(bad: list[dict[str, Any]]) -> None:
    (item,) = snapshot([task(1, annotation(1, result=[*bad, region()]))]).items
    assert len(item.boxes) == 1 and item.problems


def test_where_all_is_on_one_side_it_is_said_what_to_do() -> None:
    def taken(*sides: str) -> Snapshot:
        return snapshot([task(n, annotation(n), split=s) for n, s in enumerate(sides, 1)])

    assert (
        taken("train", "holdout").describe_missing_side() == taken().describe_missing_side() == ""
    )
    advice = taken("holdout", "buffer").describe_missing_side()
    assert advice.startswith("all 2 corrected tasks, of 2 groups, are kept apart for judging")
    assert "'split' is 'train'" in advice
    advice = taken("train").describe_missing_side()
    assert advice.startswith("all 1 corrected tasks, of 1 group, are for training")
    assert "'holdout'" in advice


def test_the_pixel_size_of_a_task_is_kept(tmp_path: Path) -> None:
    taken = snapshot(
        [task(1, annotation(1), pixel_size=0.25), task(2, annotation(2), pixel_size="none")]
    )
    assert [item.pixel_size for item in taken.items] == [0.25, None]
    save_snapshot(taken, tmp_path)
    again = load_snapshot(taken.name, tmp_path)
    assert again == taken
    assert to_example(again.items[0], tmp_path).pixel_size == 0.25


def test_a_tile_s_place_is_kept(tmp_path: Path) -> None:
    data = {"scan": "s", "row": 1, "column": 4, "block": 3, "down": 2, "across": 1}
    taken = snapshot([task(1, annotation(1), split="train", **data)])
    save_snapshot(taken, tmp_path)
    again = load_snapshot(taken.name, tmp_path)
    assert again == taken
    (item,) = again.items
    assert item.place == Place("s", 1, 4, 3, 2, 1) and item.group == "scan:s block 0/1 of 3"
    assert item.groups == {"scan:s block 0/1 of 3"}  # it shows the rows 1 and 2
    assert item.surroundings == {"scan:s block 0/1 of 3", "scan:s block 1/1 of 3"}
    lower = replace(item, place=item.place._replace(row=2))
    assert lower.groups == {"scan:s block 0/1 of 3", "scan:s block 1/1 of 3"}
