"""What of a gallery a browser asks for: the query of its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ml_backend.serving.catalogue.store import ORDERS, CellFilter, Order
from ml_backend.system.numbers import parse_number

PAGE = 240
# In an address stands this for "nothing there".
NOTHING = "-"
STATES = (
    ("detected", "not decided"),
    ("reviewed", "reviewed"),
    ("kept", "kept"),
    ("moved", "moved"),
    ("relabelled", "renamed"),
    ("added", "added by hand"),
    ("deleted", "deleted"),
    ("any", "any"),
)


@dataclass(frozen=True)
class Wish:
    """A part of a gallery.

    Attributes:
        filter: Which cells.
        order: In which order.
        alike: The number of a cell that they are sorted by likeness to; None for `order`.
        page: From 1.
        state: The state as the form names it.
    """

    filter: CellFilter
    order: Order
    alike: int | None
    page: int
    state: str


def read_wish(query: Mapping[str, str]) -> Wish:
    """Read what is asked for; what makes no sense is left out."""
    state = query.get("state", "detected")
    if state not in dict(STATES):
        state = "detected"
    alike = _read_number(query.get("alike"))
    if alike is not None and "state" not in query:
        state = "any"
    order = query.get("order", "unsure")
    page = _read_number(query.get("page")) or 1
    wanted = CellFilter(
        shown=_read_class(query.get("shown")),
        label=_read_class(query.get("label")),
        state=None if state == "any" else state,
        sample=query.get("sample") or None,
        task=_read_number(query.get("task")),
        least=_read_share(query.get("least")),
        most=_read_share(query.get("most")),
        begun=query.get("begun") == "1",
    )
    known: Order = order if order in ORDERS else "unsure"
    return Wish(wanted, known, alike, max(1, min(page, 100_000)), state)


def _read_class(text: str | None) -> str | None:
    return "" if text == NOTHING else text or None


def _read_number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 18 else None


def _read_share(text: str | None) -> float | None:
    try:
        return parse_number(float(text), 0, 1) if text else None
    except ValueError:
        return None
