"""Sides of a split: by group, by hash, never all on one side."""

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.split import assign, assign_all, group_of, unit_hash

groups = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=40)


@given(groups, st.floats(0.05, 0.5))
def test_order_and_repetition_do_not_matter(names: list[str], share: float) -> None:
    assert assign_all(names, share) == assign_all([*reversed(names), *names], share)


@given(groups, st.floats(0.05, 0.5))
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


def test_the_side_of_a_group_is_written_into_its_tasks() -> None:
    data = assign("sample:Os", 0.2).task_data()
    assert data["split"] in ("train", "holdout")
    assert 0 < data["sampling_p"] <= 1 and data["sampling_reason"]


def test_a_group_is_the_sample_else_the_file() -> None:
    assert group_of({"sample": "Os", "source": "a.png"}, "/x/a.png") == "sample:Os"
    assert group_of({"scan": "s1", "sample": "Os"}, "") == "scan:s1"
    assert group_of({"source": "a.png"}, "/x/b.png") == "file:a.png"
    assert group_of({}, "http://host/data/upload/1/a%20b.png?x=1") == "file:/data/upload/1/a b.png"
    one = group_of({}, "/data/local-files/?d=images%2Fa.png")
    assert one == "file:images/a.png" != group_of({}, "/data/local-files/?d=images/b.png")
