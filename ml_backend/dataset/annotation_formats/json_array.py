"""A JSON array that is written value by value, so that memory does not grow with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any


@contextmanager
def write_array(file: IO[str]) -> Iterator[Callable[[Any], None]]:
    """Write an array, a value a line; yields what adds a value."""
    separator = "[\n"

    def add(value: Any) -> None:
        nonlocal separator
        file.write(separator + dump(value))
        separator = ",\n"

    yield add
    file.write("[]\n" if separator == "[\n" else "\n]\n")


def dump(value: Any) -> str:
    """JSON on a line, with letters of all languages as they are."""
    return json.dumps(value, ensure_ascii=False)
