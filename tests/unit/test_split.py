"""Sides of a split: by group, or by block of a scan, by hash, and nothing leaks."""

from itertools import product
from math import dist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.split import (
    BLOCK,
    Assignment,
    assign,
    assign_all,
    assign_tile,
    group_of,
    known_in,
    leaking,
    place_of,
    queue_place,
    unit_hash,
    whole,
)

groups = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=40)
shares = st.floats(0.05, 0.5)
grids = st.tuples(st.integers(1, 30), st.integers(1, 30))


@given(groups, shares)
def test_order_and_repetition_do_not_matter(names: list[str], share: float) -> None:
    assert assign_all(names, share) == assign_all([*reversed(names), *names], share)


@given(groups, shares)
def test_two_groups_or_more_are_never_all_on_one_side(names: list[str], share: float) -> None:
    sides = {one.side for one in assign_all(names, share).values()}
    assert sides == ({"train", "holdout"} if len(set(names)) > 1 else sides)


@given(st.text())
def test_the_hash_is_a_share(text: str) -> None:
    assert 0 <= unit_hash(text) < 1


def test_about_the_share_is_held_out() -> None:
    sides = [assign(f"group {i}", 0.2).side for i in range(5000)]
    assert 0.18 < sides.count("holdout") / 5000 < 0.22


def test_nothing_is_held_out_where_none_is_wanted() -> None:
    assert {one.side for one in assign_all(["a", "b", "c"], 0).values()} == {"train"}
    sides = {assign_tile("s", *place, 0, grid=(20, 20)).side for place in product(range(20), [3])}
    assert sides == {"train"}


def test_the_side_of_a_group_is_written_into_its_tasks() -> None:
    data = assign("sample:Os", 0.2).task_data()
    assert data["split"] in ("train", "holdout") and data["blind"] is False
    assert 0 < data["sampling_p"] <= 1 and data["sampling_reason"]


def test_a_share_of_the_held_out_tasks_alone_is_blind() -> None:
    held, train = Assignment("holdout", 0.2, "held out"), Assignment("train", 0.8, "train")
    blind = [held.task_data(f"image {i}", 0.3) for i in range(2000)]
    assert 0.27 < sum(one["blind"] for one in blind) / 2000 < 0.33
    assert all(("without boxes" in one["sampling_reason"]) == one["blind"] for one in blind)
    assert held.task_data("image 7", 0.3) == held.task_data("image 7", 0.3)
    assert not any(train.task_data(f"image {i}", 0.9)["blind"] for i in range(100))


def test_held_out_tasks_alone_have_a_random_place_in_the_queue() -> None:
    assert queue_place({"split": "train"}, "/a.png") is None
    assert queue_place({}, "/a.png") is None
    places = [queue_place({"split": "holdout"}, f"/{i}.png") or 0.0 for i in range(1000)]
    assert 0.45 < sum(places) / 1000 < 0.55 and min(places) < 0.01 and max(places) > 0.99
    same = {"split": "holdout", "sha256": "ab"}
    assert queue_place(same, "/a.png") == queue_place(same, "/elsewhere.png")


def test_a_group_is_the_sample_else_the_file() -> None:
    assert group_of({"sample": "Os", "source": "a.png"}, "/x/a.png") == "sample:Os"
    assert group_of({"scan": "s1", "sample": "Os"}, "") == "scan:s1"
    assert group_of({"source": "a.png"}, "/x/b.png") == "file:a.png"
    assert group_of({}, "http://host/data/upload/1/a%20b.png?x=1") == "file:/data/upload/1/a b.png"
    one = group_of({}, "/data/local-files/?d=images%2Fa.png")
    assert one == "file:images/a.png" != group_of({}, "/data/local-files/?d=images/b.png")


def test_a_tile_is_of_the_group_of_its_block() -> None:
    one = group_of({"scan": "s1", "row": 7, "column": 8, "plane": 3}, "")
    assert one == group_of({"scan": "s1", "row": "0", "column": "15"}, "") != "scan:s1"
    assert whole(one) == "scan:s1" == whole("scan:s1")
    assert whole("sample:a block 0/1") == "sample:a block 0/1"
    assert group_of({"scan": "s1", "row": 7, "column": None}, "") == "scan:s1"
    assert place_of({"scan": "s1", "row": True, "column": -1}) is None


def test_a_block_is_known_with_its_scan_and_the_scan_with_its_blocks() -> None:
    block = group_of({"scan": "s1", "row": 0, "column": 0}, "")
    other = group_of({"scan": "s1", "row": 0, "column": 8}, "")
    assert known_in([block])(block) and not known_in([block])(other)
    assert known_in(["scan:s1"])(block) and known_in([block])("scan:s1")
    assert not known_in(["scan:s2", "sample:s1"])(block)


@given(st.text(min_size=1, max_size=8), grids, shares, st.booleans())
def test_no_training_tile_touches_a_held_out_one(
    scan: str, grid: tuple[int, int], share: float, known: bool
) -> None:
    rows, columns = grid
    sides = {
        place: assign_tile(scan, *place, share, grid=grid if known else None)
        for place in product(range(rows), range(columns))
    }
    held = {place for place, one in sides.items() if one.side == "holdout"}
    for (row, column), one in sides.items():
        near = set(product(range(row - 1, row + 2), range(column - 1, column + 2)))
        if one.side == "train":
            assert not near & held
        if one.side == "buffer":
            assert known is False or near & held
        assert 0 < one.probability <= 1
    blocks = {group_of({"scan": scan, "row": r, "column": c}, "") for r, c in sides}
    of_held = {group_of({"scan": scan, "row": r, "column": c}, "") for r, c in held}
    assert len(held) == sum(group_of({"scan": scan, "row": r, "column": c}, "") in of_held
                            for r, c in sides)  # fmt: skip
    if known and len(blocks) > 1:
        assert 0 < len(of_held) < len(blocks)


def test_how_much_of_a_large_scan_falls_where() -> None:
    sides = [assign_tile("s", r, c, 0.2) for r, c in product(range(400), range(400))]
    count = {side: sum(one.side == side for one in sides) for side in ("train", "holdout")}
    assert 0.18 < count["holdout"] / len(sides) < 0.22
    assert 0.55 < count["train"] / len(sides) < 0.75
    # The probabilities are those with which tiles got there.
    expected = sum(one.probability for one in sides if one.side == "holdout") / 0.2
    assert expected == pytest.approx(count["holdout"])
    for side in ("train", "buffer"):
        inverse = sum(1 / one.probability for one in sides if one.side == side)
        edges = 1 if side == "train" else (BLOCK**2 - (BLOCK - 2) ** 2) / BLOCK**2
        assert inverse / len(sides) == pytest.approx(edges, rel=0.1)


def test_an_image_stitched_over_a_border_is_on_no_side() -> None:
    tiles = {place: assign_tile("s", *place, 0.3).side for place in product(range(64), range(64))}
    stitched = {place: assign_tile("s", *place, 0.3, height=2, width=2).side for place in tiles}
    shows = {
        place: {(place[0] + i, place[1] + j) for i, j in product((0, 1), (0, 1))} for place in tiles
    }
    held = [p for p, side in stitched.items() if side == "holdout"]
    seen = set().union(*(shows[p] for p in held))
    assert held and all(tiles.get(tile, "holdout") == "holdout" for tile in seen)
    for place, side in stitched.items():
        if side == "train":
            assert not shows[place] & seen
            assert all(max(dist((a,), (c,)), dist((b,), (d,))) > 1
                       for a, b in shows[place] for c, d in seen if abs(a - c) < 3)  # fmt: skip


tasks = st.lists(
    st.tuples(
        st.sampled_from(["train", "holdout", "buffer"]),
        st.sampled_from(["s1", "s2", ""]),
        st.integers(0, 18) | st.none(),
        st.integers(0, 18) | st.none(),
        st.sampled_from(["a", "b", "c"]),
    ),
    max_size=40,
)


@settings(max_examples=1000)
@given(tasks)
def test_sides_from_anywhere_do_not_leak(rows: list[tuple[str, str, int, int, str]]) -> None:
    data = [
        {"split": side, "scan": scan, "row": row, "column": column, "sample": sample}
        for side, scan, row, column, sample in rows
    ]
    known = [(n, d["split"], group_of(d, ""), place_of(d)) for n, d in enumerate(data)]
    apart = leaking(known)
    train = [one for one in known if one[1] == "train" and one[0] not in apart]
    held = [one for one in known if one[1] == "holdout"]
    assert not {group for _, _, group, _ in train} & {group for _, _, group, _ in held}
    for _, _, _, a in train:
        for _, _, _, b in held:
            if a and b and a[0] == b[0]:
                assert max(abs(a[1] - b[1]), abs(a[2] - b[2])) > 1
    # Nothing is taken away that does not have to be.
    for number in apart:
        _, side, group, place = known[number]
        assert side == "train"
        assert any(
            group == g or whole(group) == g or whole(g) == group
            or (place and p and place[0] == p[0]
                and max(abs(place[1] - p[1]), abs(place[2] - p[2])) <= 1)
            for _, _, g, p in held
        )  # fmt: skip
