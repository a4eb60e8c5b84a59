"""A JSON array that is written value by value."""

from __future__ import annotations

import io
import json

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.annotation_formats.json_array import dump, write_array
from tests.detections import laws

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@laws
@given(st.lists(values))
def test_the_array_is_what_was_added_a_value_a_line(added: list[object]) -> None:
    text = io.StringIO()
    with write_array(text) as add:
        for value in added:
            add(value)
    assert json.loads(text.getvalue()) == added
    assert text.getvalue().count("\n") == (len(added) + 2 if added else 1)


def test_letters_stay_as_they_are() -> None:
    assert dump("Zelle „groß“") == '"Zelle „groß“"'
