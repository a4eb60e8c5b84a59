"""Only what is better is promoted, judged on what neither side saw."""

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.snapshot import Item
from ml_backend.promotion import Side, decide, fair

share = st.floats(0, 1)


def item(task: int, group: str, image_hash: str) -> Item:
    return Item(task, task, "", "", image_hash, group, "holdout", 0.2, "", ())


@given(share, share)
def test_the_better_one_wins_and_a_tie_changes_nothing(champion: float, candidate: float) -> None:
    decision = decide(Side("a", champion), Side("b", candidate), 10, 0)
    assert decision.promoted == (candidate > champion)
    assert "10 held-out tasks" in " ".join(decision.reasons)


def test_the_first_version_must_find_something() -> None:
    assert decide(None, Side("b", 0.1), 5, 0).promoted
    assert not decide(None, Side("b", 0.0), 5, 0).promoted


def test_without_held_out_tasks_nothing_is_promoted_and_it_says_what_to_do() -> None:
    decision = decide(Side("a", 0.1), Side("b", 0.9), 0, 3)
    assert not decision.promoted
    assert "correct some" in decision.reasons[0] and "3 more" in decision.reasons[1]


def test_an_undefined_figure_promotes_nothing() -> None:
    assert not decide(Side("a", None), Side("b", None), 5, 0).promoted
    assert decide(Side("a", None), Side("b", 0.5), 5, 0).promoted


def test_what_either_side_saw_does_not_count() -> None:
    items = [item(1, "sample:A", "h1"), item(2, "sample:B", "h2"), item(3, "file:c.png", "h3")]
    kept, left_out = fair(items, ["h3"], ["A"])
    assert [one.task for one in kept] == [2] and left_out == 2
