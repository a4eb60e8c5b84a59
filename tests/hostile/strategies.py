"""JSON of any shape, and valid JSON with one value in it replaced by such."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

# What has ended programs before; Label Studio accepts all of it in a task or an annotation.
NUMBERS = st.sampled_from(
    [10**400, -(10**400), 1e308, -1e308, 5e-324, float("nan"), float("inf"), -float("inf")]
    + [0, -0.0, -1, 2**63, 1e16, 1e12, 10_000_000, 1_000_000, "1" * 400, "1e400", "nan", "٣", "1_0"]
)
TEXTS = st.text(st.characters(), max_size=8)  # half letters (surrogates) too

JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def list_places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths to all values within a JSON value."""
    if isinstance(value, dict):
        inner = list(value.items())
    else:
        inner = list(enumerate(value)) if isinstance(value, list) else []
    return [p for key, part in inner for p in ((*path, key), *list_places(part, (*path, key)))]


@st.composite
def mutate(draw: st.DrawFn, value: Any, at_most: int = 3) -> Any:
    """Draw a copy of a JSON value in which some values are any JSON."""
    changed = deepcopy(value)
    for _ in range(draw(st.integers(1, at_most))):
        places = list_places(changed)
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        inside = changed
        for key in path:
            inside = inside[key]
        inside[last] = draw(JSON)
    return changed
