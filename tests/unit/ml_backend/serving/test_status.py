"""How the backend is, as `/health` and the page of projects show it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.serving.app_state import AppState
from ml_backend.serving.status import group_by_reason, read_status
from ml_backend.settings import Settings

ROWS = st.dictionaries(
    st.integers(min_value=1), st.sampled_from(["empty", "cut off", "queued"]), max_size=30
)


@given(ROWS)
def test_grouping_loses_no_task(rows: dict[int, str]) -> None:
    groups = group_by_reason({"task": task, "reason": reason} for task, reason in rows.items())
    assert {task: reason for reason, ids in groups.items() for task in ids} == rows
    assert all(ids == sorted(ids) for ids in groups.values())
    assert list(groups) == list(dict.fromkeys(rows.values()))


def test_an_untrained_project_says_why_nothing_is_drawn(settings: Settings) -> None:
    state = AppState.open(settings)
    state.projects.add_left_out(1, [(7, "the file is empty")])
    status = read_status(state)
    (project,) = status["projects"]
    assert project["version"] == "1-untrained" and "nothing is pre-annotated" in project["note"]
    (left_out,) = status["left_out"]
    assert (left_out["task"], left_out["reason"]) == (7, "the file is empty")
    assert status["status"] == "UP" and status["dropped"] == {}
