"""What an address asks for, whatever stands in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.serving.catalogue.store import ORDERS, CellFilter
from ml_backend.serving.gallery.wish import STATES, read_wish

NAMES = ("shown", "label", "state", "order", "sample", "task", "least", "most", "alike", "page")


def test_at_first_it_is_what_nobody_decided_least_confident_first() -> None:
    wish = read_wish({})
    assert wish.filter == CellFilter(state="detected") and wish.order == "unsure"
    assert wish.page == 1 and wish.alike is None


def test_a_cell_of_the_matrix_is_found_again() -> None:
    wish = read_wish({"shown": "-", "label": "Mitotic cell", "state": "reviewed"})
    assert wish.filter == CellFilter(shown="", label="Mitotic cell", state="reviewed")


def test_likeness_compares_with_all_cells() -> None:
    wish = read_wish({"alike": "12345678901234567"})
    assert wish.alike == 12345678901234567 and wish.filter.state is None


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20)))
def test_nonsense_is_left_out(query: dict[str, str]) -> None:
    wish = read_wish(query)
    assert wish.order in ORDERS and wish.page >= 1 and wish.state in dict(STATES)
    for share in (wish.filter.least, wish.filter.most):
        assert share is None or 0 <= share <= 1
    assert wish.filter.task is None or 0 <= wish.filter.task < 2**63
