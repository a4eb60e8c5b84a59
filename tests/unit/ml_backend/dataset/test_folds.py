"""Each lent task is judged once, by a model that learned nothing from its like."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.folds import make_folds
from ml_backend.dataset.snapshot import Item, Snapshot
from ml_backend.dataset.split import BUFFER, Place, make_tile_group
from ml_backend.promotion.comparison import ComparisonPlan, plan_comparison
from ml_backend.registry.versions import Version

BOX = (0.0, 0.0, 9.0, 9.0, "Mitotic cell")


@st.composite
def items(draw: st.DrawFn, side: str = "train", start: int = 0) -> list[Item]:
    """Tasks of a few samples and tiles of a scan; some show the same image."""
    made = []
    for task in range(start, start + draw(st.integers(0, 14))):
        place, group = None, f"sample:{draw(st.integers(0, 4))}"
        if draw(st.booleans()):
            block = draw(st.sampled_from([3, 8]))  # of two scans, one is divided more finely
            row, column = draw(st.integers(0, 20)), draw(st.integers(0, 20))
            place = Place(f"S{block}", row, column, block)
            group = make_tile_group(place.scan, row // block, column // block, block)
        image = f"h{draw(st.integers(0, 25))}"
        boxes = (BOX,) * draw(st.integers(0, 3))
        made.append(Item(task, task, "", "", image, group, side, None, "", boxes, place=place))  # type: ignore[arg-type]
    return made


def version(name: str, seen: list[Item]) -> Version:
    hashes = tuple({item.image_hash for item in seen})
    groups = tuple({item.group for item in seen})
    return Version(name, "1", 0.0, seen_hashes=hashes, seen_groups=groups)


def beside(one: Item, other: Item) -> bool:
    if not (one.place and other.place):
        return False
    a, b = one.place, other.place
    return a.scan == b.scan and max(abs(a.row - b.row), abs(a.column - b.column)) <= BUFFER


def leaks(judged: Item, learned: Item, several: bool = True) -> bool:
    same = judged.group == learned.group or beside(judged, learned)
    return judged.image_hash == learned.image_hash or (several and same)


@settings(deadline=None)
@given(items(), st.data(), st.integers(2, 4))
def test_folds_judge_each_task_once_and_learn_nothing_of_it(
    train: list[Item], data: st.DataObject, number: int
) -> None:
    judged = [item for item in train if data.draw(st.booleans())]
    several = len({item.group for item in judged}) > 1
    made = make_folds(train, judged, number)
    tasks = [item.task for fold in made for item in fold.judged]
    assert len(tasks) == len(set(tasks)) and set(tasks) <= {item.task for item in judged}
    for fold in made:
        assert fold.learned
        assert not any(leaks(one, other, several) for one in fold.judged for other in fold.learned)
    assert make_folds(train[::-1], judged[::-1], number) or not made


def test_folds_are_of_equal_size_and_cover_all() -> None:
    train = [
        Item(n, n, "", "", f"h{n}", f"file:{n}", "train", None, "", (BOX,) * (n % 3))
        for n in range(20)
    ]
    first, second = make_folds(train, train, 2)
    assert {item.task for item in (*first.judged, *second.judged)} == set(range(20))
    assert abs(len(first.judged) - len(second.judged)) <= 2
    assert set(first.learned) == set(second.judged)


def test_a_single_sample_is_folded_by_its_images() -> None:
    train = [
        Item(n, n, "", "", f"h{n // 2}", "sample:A", "train", None, "", (BOX,)) for n in range(8)
    ]
    first, second = make_folds(train, train, 2)
    assert len(first.judged) == len(second.judged) == 4
    assert not {i.image_hash for i in first.judged} & {i.image_hash for i in first.learned}


@settings(deadline=None)
@given(items(), items("holdout", 100), items(start=200), items(start=300))
def test_nothing_that_either_side_was_trained_on_counts(
    train: list[Item], held: list[Item], champions: list[Item], bases: list[Item]
) -> None:
    snapshot = Snapshot("s", 1, ("Mitotic cell",), (*train, *held), ())
    base, champion = version("base", bases), version("champion", champions)
    candidate = version("candidate", [*train, *bases])
    made: ComparisonPlan = plan_comparison(snapshot, candidate, base, champion)
    for item in made.held_out:
        assert not any(leaks(item, other) for other in (*train, *bases, *champions))
    for fold in made.folds:
        several = len({item.group for one in made.folds for item in one.judged}) > 1
        for item in fold.judged:
            assert not any(leaks(item, other) for other in (*bases, *champions))
            assert not any(leaks(item, other, several) for other in fold.learned)
    assert len({item.task for item in made.items}) == len(made.items)


def test_no_fold_is_trained_that_is_not_needed() -> None:
    def many(side: str, start: int, number: int) -> list[Item]:
        return [
            Item(n, n, "", "", f"h{n}", f"file:{n}", side, None, "", (BOX,))  # type: ignore[arg-type]
            for n in range(start, start + number)
        ]

    train = many("train", 0, 80)
    candidate, champion = version("candidate", train), version("champion", [])

    def folds_with(held: int, champion: Version = champion) -> int:
        snapshot = Snapshot("s", 1, (), (*train, *many("holdout", 1000, held)), ())
        return len(plan_comparison(snapshot, candidate, None, champion).folds)

    assert [folds_with(held) for held in (0, 20, 59, 60, 99, 100)] == [2, 2, 2, 1, 1, 0]
    # Four new tasks since the champion are not worth a training.
    assert folds_with(0, version("champion", train[4:])) == 0
    assert folds_with(0, version("champion", train[5:])) == 2
