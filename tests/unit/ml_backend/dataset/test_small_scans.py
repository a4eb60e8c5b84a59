"""Small scans: both sides for the first of a project, nothing leaks, and a decision holds."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.small_scans import LEAST, Division, ScanDivider, is_small
from ml_backend.dataset.split import (
    BLOCK,
    Place,
    assign_tile,
    find_leaking,
    read_group,
    read_place,
)
from tests.unit.ml_backend.dataset.test_split import shares


@given(st.text(min_size=1, max_size=6), st.integers(1, 16), st.integers(1, 16), shares)
@settings(max_examples=150, deadline=None)
def test_the_first_scan_of_a_project_has_both_sides_and_leaks_nothing(
    scan: str, rows: int, columns: int, share: float
) -> None:
    grid = rows, columns
    made = ScanDivider(list).divide(scan, grid)
    places = [Place(scan, *at, made.block) for at in product(range(rows), range(columns))]
    sides = {place: made.whole or assign_tile(place, share, grid=grid) for place in places}
    assert all(0 < side.probability <= 1 for side in sides.values())
    held = [place for place, side in sides.items() if side.side == "holdout"]
    train = [place for place, side in sides.items() if side.side == "train"]
    if max(grid) < LEAST:
        assert len(train) == len(places)  # too small: something can be learned, at least
        return
    assert held and train
    beside = set().union(*(place.near_tiles for place in held))
    assert not any((place.row, place.column) in beside for place in train)
    if is_small(grid):
        assert len(held) <= len(places) / 2
    data = [
        {"scan": scan, "row": place.row, "column": place.column, "block": place.block,
         "split": side.side}
        for place, side in sides.items()
    ]  # fmt: skip
    found = [read_place(task) for task in data]
    assert found == places
    known = [
        (n, task["split"], read_group(task, ""), read_place(task)) for n, task in enumerate(data)
    ]
    assert find_leaking(known) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("grid", [(8, 8), (4, 4), (1, 4), (2, 5), (6, 6), (16, 8), (1, 24)])
def test_the_chances_of_a_small_scan_are_those_over_many(grid: tuple[int, int]) -> None:
    block = ScanDivider(list).divide("any", grid).block
    corner = [
        assign_tile(Place(f"scan {n}", 0, 0, block), 0.2, grid=grid) for n in range(1500)
    ]  # fmt: skip
    for side in ("train", "holdout", "buffer"):
        mine = [assigned.probability for assigned in corner if assigned.side == side]
        if mine:
            assert len(set(mine)) == 1
            assert len(mine) / len(corner) == pytest.approx(mine[0], abs=0.05)


def test_what_was_decided_of_a_small_scan_stays() -> None:
    def tasks(scan: str, split: str, block: int | None = None) -> dict:
        return {"scan": scan, "row": 0, "column": 0, "split": split} | (
            {"block": block} if block else {}
        )

    assert ScanDivider(list).divide("a", (6, 6)) == Division(3)
    # Any other task that is there, and it falls as a whole, by its hash.
    for other in (tasks("b", "train"), {"sample": "Os", "split": "holdout"}):
        assert ScanDivider(lambda other=other: [other]).divide("a", (6, 6)) == Division()
    # Tasks without a side do not count.
    assert ScanDivider(lambda: [{"sample": "Os"}]).divide("a", (6, 6)) == Division(3)
    # Its own tasks say how it was divided, whatever came since.
    held = [tasks("b", "train"), tasks("a", "holdout", 3)]
    assert ScanDivider(lambda: held).divide("a", (6, 6)) == Division(3)
    whole_one = ScanDivider(lambda: [tasks("a", "train"), tasks("b", "holdout")]).divide(
        "a", (6, 6)
    )
    assert whole_one.whole and whole_one.whole.side == "train" and whole_one.block == BLOCK
    # Within one run the second is not the first, though neither was sent yet.
    both = ScanDivider(list)
    assert both.divide("a", (6, 6)) == both.divide("a", (6, 6)) == Division(3)
    assert both.divide("b", (6, 6)) == Division()
    after_a_large_one = ScanDivider(list)
    assert after_a_large_one.divide("large", (30, 30)) == Division()
    assert after_a_large_one.divide("b", (6, 6)) == Division()


def test_the_project_is_asked_once_and_only_for_small_scans() -> None:
    asked: list[int] = []

    def tasks() -> list[dict]:
        asked.append(1)
        return []

    made = ScanDivider(tasks)
    made.divide("large", (40, 40))
    assert not asked
    for name in "abc":
        made.divide(name, (3, 3))
    assert len(asked) == 1
