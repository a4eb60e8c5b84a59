"""The bodies that Label Studio sends, and others."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, request
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.serving.request_body import (
    BadRequest,
    read_action,
    read_body,
    read_label_config,
    read_project_id,
    read_tasks,
)

IDS = st.integers(min_value=1, max_value=2**62)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(IDS, st.integers(min_value=0, max_value=2_000_000_000))
def test_all_forms_of_a_project_give_its_id(number: int, created: int) -> None:
    for form in (number, str(number), f"{number}.{created}", {"id": number}, {"id": str(number)}):
        assert read_project_id({"project": form}) == number


@given(JSON)
def test_whatever_stands_for_the_project_is_an_id_or_refused(project: Any) -> None:
    try:
        assert isinstance(read_project_id({"project": project}), int)
    except BadRequest as error:
        assert str(error) and "\n" not in str(error)


@given(JSON)
def test_tasks_are_a_list_of_objects_or_refused(tasks: Any) -> None:
    good = isinstance(tasks, list) and all(isinstance(task, dict) for task in tasks)
    if good:
        assert read_tasks({"tasks": tasks}) is tasks
    else:
        with pytest.raises(BadRequest):
            read_tasks({"tasks": tasks})


@given(JSON)
def test_a_labeling_config_is_text_with_something_in_it(schema: Any) -> None:
    good = isinstance(schema, str) and schema.strip() != ""
    assert read_label_config({"schema": schema}) == (schema if good else None)


def test_an_event_must_have_a_name() -> None:
    assert read_action({"action": "ANNOTATION_CREATED"}) == "ANNOTATION_CREATED"
    with pytest.raises(BadRequest):
        read_action({"action": 3})


def test_a_body_is_read_whatever_its_content_type() -> None:
    with Flask("test").test_request_context(data=b'{"a": 1}', content_type="text/plain"):
        assert read_body(request) == {"a": 1}
    with (
        Flask("test").test_request_context(data=b"[" * 100_000, content_type="application/json"),
        pytest.raises(BadRequest),
    ):
        read_body(request)
