"""Sides of a split: by group, or by block of a scan, by hash, and nothing leaks."""

from itertools import product
from math import dist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.split import (
    BLOCK,
    Assignment,
    Place,
    assign,
    assign_all,
    assign_tile,
    compute_queue_place,
    find_leaking,
    get_scan_group,
    hash_to_unit,
    make_group_matcher,
    read_group,
    read_place,
)

groups = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=40)
shares = st.floats(0.05, 0.5)
grids = st.tuples(st.integers(1, 30), st.integers(1, 30))


@given(groups, shares)
def test_order_and_repetition_do_not_matter(names: list[str], share: float) -> None:
    assert assign_all(names, share) == assign_all([*reversed(names), *names], share)


@given(groups, shares)
def test_two_groups_or_more_are_never_all_on_one_side(names: list[str], share: float) -> None:
    sides = {assigned.side for assigned in assign_all(names, share).values()}
    assert sides == ({"train", "holdout"} if len(set(names)) > 1 else sides)


@given(st.text())
def test_the_hash_is_a_share(text: str) -> None:
    assert 0 <= hash_to_unit(text) < 1


def test_about_the_share_is_held_out() -> None:
    sides = [assign(f"group {i}", 0.2).side for i in range(5000)]
    assert 0.18 < sides.count("holdout") / 5000 < 0.22


def test_nothing_is_held_out_where_none_is_wanted() -> None:
    assert {assigned.side for assigned in assign_all(["a", "b", "c"], 0).values()} == {"train"}
    sides = {
        assign_tile(Place("s", *place), 0, grid=(20, 20)).side for place in product(range(20), [3])
    }
    assert sides == {"train"}


def test_the_side_of_a_group_is_written_into_its_tasks() -> None:
    data = assign("sample:Os", 0.2).make_task_data()
    assert data["split"] in ("train", "holdout") and data["blind"] is False
    assert 0 < data["sampling_p"] <= 1 and data["sampling_reason"]


def test_a_share_of_the_held_out_tasks_alone_is_blind() -> None:
    held, train = Assignment("holdout", 0.2, "held out"), Assignment("train", 0.8, "train")
    blind = [held.make_task_data(f"image {i}", 0.3) for i in range(2000)]
    assert 0.27 < sum(data["blind"] for data in blind) / 2000 < 0.33
    assert all(("without boxes" in data["sampling_reason"]) == data["blind"] for data in blind)
    assert held.make_task_data("image 7", 0.3) == held.make_task_data("image 7", 0.3)
    assert not any(train.make_task_data(f"image {i}", 0.9)["blind"] for i in range(100))


def test_held_out_tasks_alone_have_a_random_place_in_the_queue() -> None:
    assert compute_queue_place({"split": "train"}, "/a.png") is None
    assert compute_queue_place({}, "/a.png") is None
    places = [compute_queue_place({"split": "holdout"}, f"/{i}.png") or 0.0 for i in range(1000)]
    assert 0.45 < sum(places) / 1000 < 0.55 and min(places) < 0.01 and max(places) > 0.99
    same = {"split": "holdout", "sha256": "ab"}
    assert compute_queue_place(same, "/a.png") == compute_queue_place(same, "/elsewhere.png")


def test_a_group_is_the_sample_else_the_file() -> None:
    assert read_group({"sample": "Os", "source": "a.png"}, "/x/a.png") == "sample:Os"
    assert read_group({"scan": "s1", "sample": "Os"}, "") == "scan:s1"
    assert read_group({"source": "a.png"}, "/x/b.png") == "file:a.png"
    assert (
        read_group({}, "http://host/data/upload/1/a%20b.png?x=1") == "file:/data/upload/1/a b.png"
    )
    group = read_group({}, "/data/local-files/?d=images%2Fa.png")
    assert group == "file:images/a.png" != read_group({}, "/data/local-files/?d=images/b.png")


def test_a_tile_is_of_the_group_of_its_block() -> None:
    group = read_group({"scan": "s1", "row": 7, "column": 8, "plane": 3}, "")
    assert group == read_group({"scan": "s1", "row": "0", "column": "15"}, "") != "scan:s1"
    assert get_scan_group(group) == "scan:s1" == get_scan_group("scan:s1")
    assert get_scan_group("sample:a block 0/1") == "sample:a block 0/1"
    assert read_group({"scan": "s1", "row": 7, "column": None}, "") == "scan:s1"
    assert read_place({"scan": "s1", "row": True, "column": -1}) is None


def test_a_block_is_known_with_its_scan_and_the_scan_with_its_blocks() -> None:
    block = read_group({"scan": "s1", "row": 0, "column": 0}, "")
    other = read_group({"scan": "s1", "row": 0, "column": 8}, "")
    assert make_group_matcher([block])(block) and not make_group_matcher([block])(other)
    assert make_group_matcher(["scan:s1"])(block) and make_group_matcher([block])("scan:s1")
    assert not make_group_matcher(["scan:s2", "sample:s1"])(block)


@given(st.text(min_size=1, max_size=8), grids, shares, st.booleans())
def test_no_training_tile_touches_a_held_out_one(
    scan: str, grid: tuple[int, int], share: float, known: bool
) -> None:
    rows, columns = grid
    sides = {
        place: assign_tile(Place(scan, *place), share, grid=grid if known else None)
        for place in product(range(rows), range(columns))
    }
    held = {place for place, assigned in sides.items() if assigned.side == "holdout"}
    for (row, column), assigned in sides.items():
        near = set(product(range(row - 1, row + 2), range(column - 1, column + 2)))
        if assigned.side == "train":
            assert not near & held
        if assigned.side == "buffer":
            assert known is False or near & held
        assert 0 < assigned.probability <= 1
    blocks = {read_group({"scan": scan, "row": r, "column": c}, "") for r, c in sides}
    of_held = {read_group({"scan": scan, "row": r, "column": c}, "") for r, c in held}
    assert len(held) == sum(read_group({"scan": scan, "row": r, "column": c}, "") in of_held
                            for r, c in sides)  # fmt: skip
    if known and len(blocks) > 1:
        assert 0 < len(of_held) < len(blocks)


def test_how_much_of_a_large_scan_falls_where() -> None:
    sides = [assign_tile(Place("s", r, c), 0.2) for r, c in product(range(400), range(400))]
    count = {
        side: sum(assigned.side == side for assigned in sides) for side in ("train", "holdout")
    }
    assert 0.18 < count["holdout"] / len(sides) < 0.22
    assert 0.55 < count["train"] / len(sides) < 0.75
    # The probabilities are those with which tiles got there.
    expected = sum(assigned.probability for assigned in sides if assigned.side == "holdout") / 0.2
    assert expected == pytest.approx(count["holdout"])
    for side in ("train", "buffer"):
        inverse = sum(1 / assigned.probability for assigned in sides if assigned.side == side)
        edges = 1 if side == "train" else (BLOCK**2 - (BLOCK - 2) ** 2) / BLOCK**2
        assert inverse / len(sides) == pytest.approx(edges, rel=0.1)


def test_an_image_stitched_over_a_border_is_on_no_side() -> None:
    tiles = {
        place: assign_tile(Place("s", *place), 0.3).side for place in product(range(64), range(64))
    }
    stitched = {
        place: assign_tile(Place("s", *place, down=2, across=2), 0.3).side for place in tiles
    }
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
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=1000)
@given(tasks)
def test_sides_from_anywhere_do_not_leak(
    rows: list[tuple[str, str, int, int, str, bool]],
) -> None:
    data = [
        {"split": side, "scan": scan, "row": row, "column": column, "sample": sample}
        | ({"block": 4} if scan == "s2" else {})  # a small scan, in smaller blocks
        | ({"down": 2, "across": 2} if stitched else {})
        for side, scan, row, column, sample, stitched in rows
    ]
    known = [(n, d["split"], read_group(d, ""), read_place(d)) for n, d in enumerate(data)]
    apart = find_leaking(known)
    train = [task for task in known if task[1] == "train" and task[0] not in apart]
    held = [task for task in known if task[1] == "holdout"]
    assert not {group for _, _, group, _ in train} & {group for _, _, group, _ in held}
    for _, _, _, a in train:
        assert not any(close(a, b) for _, _, _, b in held)
    # Nothing is taken away that does not have to be.
    for number in apart:
        _, side, group, place = known[number]
        assert side == "train"
        assert any(
            group == g
            or get_scan_group(group) == g
            or get_scan_group(g) == group
            or close(place, p)
            for _, _, g, p in held
        )


def close(a: Place | None, b: Place | None) -> bool:
    """Whether two images show tiles that touch each other, or the same one."""
    if not a or not b or a.scan != b.scan:
        return False
    return any(
        max(abs(i - k), abs(j - n)) <= 1 for (i, j), (k, n) in product(sorted(a.tiles), b.tiles)
    )
