"""Tasks that are shown twice: chosen with a known probability, compared, and never counted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.consensus import collect_submissions
from ml_backend.dataset.repeats import (
    choose_repeats,
    group_by_annotator,
    pair_answers,
    summarize_repeats,
)
from ml_backend.dataset.split import REPEAT_OF, compute_queue_place
from tests.unit.ml_backend.dataset.test_disputes import LABELS, answer


def make_task(number: int, *made: tuple[int, list[dict[str, Any]]], **data: Any) -> dict[str, Any]:
    return {
        "id": number,
        "data": {"image": f"{number}.png", **data},
        "annotations": [
            {"id": 10 * number + who, "completed_by": who, "updated_at": "x", "result": result}
            for who, result in made
        ],
    }


def test_each_annotated_task_is_chosen_once_with_the_probability() -> None:
    tasks = [make_task(number, (1, answer("X"))) for number in range(1, 2001)]
    tasks.append(make_task(5000))  # nobody annotated it
    chosen = choose_repeats(tasks, "image", 0.1)
    assert 150 < len(chosen) < 250
    assert all(task["data"]["repeat_p"] == 0.1 for task in chosen)
    assert choose_repeats(tasks, "image", 0.1) == chosen
    shown = [{"id": 6000 + n, **task, "annotations": []} for n, task in enumerate(chosen)]
    assert choose_repeats([*tasks, *shown], "image", 0.1) == []
    wider = {task["data"][REPEAT_OF] for task in choose_repeats(tasks, "image", 0.2)}
    assert {task["data"][REPEAT_OF] for task in chosen} < wider
    assert all(0 <= (compute_queue_place(t["data"], "a") or 0) < 1 for t in chosen)


def test_only_what_one_person_answered_twice_is_compared() -> None:
    first = make_task(1, (1, answer("X", (10, "A"), (60, "B"))), (2, answer("Y")))
    again = make_task(2, (1, answer("Y", (11, "B"))), (3, answer("X")), repeat_of=1, repeat_p=0.25)
    tasks = [first, again]
    assert [made.task for made in collect_submissions(tasks)] == [1]
    repeats = collect_submissions(tasks, repeats=True)
    assert [made.task for made in repeats] == [2]
    (pair,) = pair_answers(collect_submissions(tasks), repeats, LABELS)
    assert (pair.annotator, pair.weight) == ("1", 4) and pair.f1 == 0  # the class changed
    assert pair.names == (("X", "Y"), ("A", "B"))
    assert list(group_by_annotator([pair])) == ["1"]
    assert summarize_repeats([pair]) == {"tasks": 1, "f1": 0.0, "same": 0.0}
    assert summarize_repeats([]) == {"tasks": 0, "f1": None, "same": None}


@given(st.lists(st.sampled_from([0.1, 0.5, 1.0]), min_size=1, max_size=5))
def test_a_rarer_repeat_stands_for_more_tasks(chances: list[float]) -> None:
    first = [make_task(n + 1, (1, answer("X"))) for n in range(len(chances))]
    again = [
        make_task(100 + n, (1, answer("X" if n else "Y")), repeat_of=n + 1, repeat_p=p)
        for n, p in enumerate(chances)
    ]
    pairs = pair_answers(
        collect_submissions(first), collect_submissions(again, repeats=True), LABELS
    )
    weights = [1 / p for p in chances]
    expected = sum(weights[1:]) / sum(weights)
    assert summarize_repeats(pairs)["same"] == pytest.approx(expected)


def test_data_that_names_no_task_is_left_out() -> None:
    first = [make_task(1, (1, answer("X")))]
    for data in ({"repeat_of": "one", "repeat_p": 0.5}, {"repeat_of": 1, "repeat_p": 0}):
        again = [make_task(2, (1, answer("X")), **data)]
        made = collect_submissions(again, repeats=True)
        assert pair_answers(collect_submissions(first), made, LABELS) == []
