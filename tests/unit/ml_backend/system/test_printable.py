"""No text of others moves a cursor, breaks a line or forges a record."""

from __future__ import annotations

import io
import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.system.printable import MOST_CHARACTERS, OneLineFormatter, escape_controls

ANY_TEXT = st.text(st.characters(codec=None))


@given(ANY_TEXT)
def test_what_is_left_is_one_line_of_text_that_every_encoding_takes(text: str) -> None:
    safe = escape_controls(text)
    assert safe.encode() is not None
    assert not any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in safe)
    assert len(safe.splitlines()) <= 1
    assert escape_controls(safe) == safe


@given(ANY_TEXT)
def test_letters_of_all_scripts_stay(text: str) -> None:
    kept = [one for one in text if unicodedata.category(one)[0] in "LNMPS"]
    assert escape_controls("".join(kept)) == "".join(kept)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\u001b[2J"),
        ("\x9b2J", r"\u009b2J"),
        ("photo\u202egnp.exe", r"photo\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("é 細胞 µm", "é 細胞 µm"),
    ],
)
def test_controls_are_shown(text: str, shown: str) -> None:
    assert escape_controls(text) == shown
    assert escape_controls("a\n\tb\x1b", keep_lines=True) == "a\n\tb\\u001b"


def write(message: str, *args: object, error: Exception | None = None) -> list[str]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.error(message, *args, exc_info=error)
    return stream.getvalue().split("\n")[:-1]


FORGED = "x.png\n2026-01-01 00:00:00,000 INFO project 1: all is well\x1b[1A"


def test_a_name_cannot_forge_a_record() -> None:
    (line,) = write("project 1: %s", FORGED)
    assert line.endswith(r"\u001b[1A") and r"\n2026" in line


def test_a_traceback_is_kept_and_set_in() -> None:
    try:
        raise ValueError(FORGED)
    except ValueError as error:
        first, *rest = write("it failed", error=error)
    assert first.endswith("it failed") and len(rest) > 2
    assert all(line.startswith("    ") for line in rest)
    assert not any("\x1b" in line for line in rest)


def test_a_very_long_line_is_cut() -> None:
    (line,) = write("x" * 1_000_000)
    assert len(line) < MOST_CHARACTERS + 100 and "characters" in line
