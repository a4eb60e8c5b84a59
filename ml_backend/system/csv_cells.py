"""Cells of CSV files that we write: no spreadsheet may take a name for a formula.

A cell that begins with one of FORMULA gets an apostrophe before it, which spreadsheets show as
text; one that begins with an apostrophe before such a character, or before another apostrophe,
gets one too, so that reading takes away exactly what writing added.
"""

from __future__ import annotations

from typing import Any

# What Excel and LibreOffice take for the beginning of a formula, after a tab or a line break too.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

_MARK = "'"


def write_cell(value: Any) -> Any:
    """Write a value as a cell. Numbers, and what is no text, stay as they are."""
    if not isinstance(value, str):
        return value
    if value.lstrip(_MARK).startswith(FORMULA) or (value and not value.strip(_MARK)):
        return _MARK + value
    return value


def read_cell(text: str) -> str:
    """Read what `write_cell` wrote; other text stays as it is."""
    if text.startswith(_MARK) and (text.lstrip(_MARK).startswith(FORMULA) or not text.strip(_MARK)):
        return text[len(_MARK) :]
    return text
