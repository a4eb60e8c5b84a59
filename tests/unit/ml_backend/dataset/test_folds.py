"""Each lent task is judged once, by a model that learned nothing from its like."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.folds import make_folds
from ml_backend.dataset.snapshot import Item
from ml_backend.dataset.split import BUFFER, Place, make_tile_group

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


def beside(item: Item, other: Item) -> bool:
    if not (item.place and other.place):
        return False
    a, b = item.place, other.place
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
        assert not any(
            leaks(item, other, several) for item in fold.judged for other in fold.learned
        )
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
