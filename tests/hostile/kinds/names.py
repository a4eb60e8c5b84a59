"""Names of labels, files, models and people: in cells, file names, logs and at the terminal."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from ml_backend.registry.resolve import resolve_model
from ml_backend.registry.versions import Registry, Version, check_word
from ml_backend.serving.access.page_address import choose_next
from ml_backend.system.csv_cells import FORMULA, read_cell, write_cell
from ml_backend.system.printable import OneLineFormatter, escape_controls
from tasks.exchange.image_names import flatten
from tests.hostile.hostile import Hostile, give, show, tabulate

CONTROLS = {
    "a line break": "a\nERROR forged",
    "a return": "a\rERROR forged",
    "both": "a\r\n2026-01-01 00:00:00 ERROR forged",
    "a form feed": "a\x0cforged",
    "a vertical tab": "a\x0bforged",
    "a next line": "a\x85forged",
    "a line separator": "a\u2028forged",
    "a paragraph separator": "a\u2029forged",
    "colours": "\x1b[31mred\x1b[0m",
    "a cleared screen": "\x1b[2J\x1b[H",
    "a title": "\x1b]0;owned\x07",
    "a clipboard": "\x1b]52;c;aWQ=\x07",
    "a link": "\x1b]8;;http://evil/\x1b\\text\x1b]8;;\x1b\\",
    "a question to the terminal": "\x1b[6n",
    "a keyboard": '\x1b["A";"id\\n"p',
    "one byte of control": "\x9b31m",
    "a device string": "\x1bP$q\x1b\\",
    "backspaces": "good\b\b\b\bbad ",
    "a bell": "\a" * 100,
    "a nul": "a\0b",
    "a delete": "a\x7fb",
    "right to left": "\u202egnp.exe",
    "an isolate": "\u2066a\u2069",
    "a mark": "\u200fa",
    "an arabic mark": "\u061ca",
    "half a letter": "a\ud800b",
    "a shift out": "\x0e",
}
NAMES = (
    *("x" * 5000, "a/" * 3000 + "b.png", "é" * 300 + ".png", "\ud800.png", "..", "\0" * 300, "."),
    *("../../etc/passwd", "..\\..\\x.png", "/etc/passwd", "C:\\x", "\\\\server\\share\\x", ""),
    *("a:b", "a|b", 'a"b', "a<b>", "a?b", "a*b", " a ", "a.", "a ", "...", "//", "a/../..", "a//b"),
    *("x." + "y" * 300, "." + "x" * 300, "a/./b", "💥" * 100, "e\u0301" * 150, "-rf", "a\nb"),
)


def list_names() -> Iterator[Hostile]:
    """List names, and where each would do harm."""
    rests = ("1+1", "cmd|' /C calc'!A0", "", 'HYPERLINK("http://evil")', "SUM(A1)")
    for mark, rest in product(FORMULA, rests):
        cell = mark + rest
        yield Hostile(f"cell {cell!r}", give(cell), read_back, "^'.* read back$")
    for cell in ("'=1", "''", "'", "''=1", "'\t=1", " =1", "a\n=1"):
        yield Hostile(f"cell {cell!r}", give(cell), read_back, "^[' a].* read back$")
    for name in NAMES:
        yield Hostile(f"file name {show(name)}", give(name), make_name, "^made$")
    for what, text in CONTROLS.items():
        safe = r"^([^\x00-\x1f\x7f-\x9f\u2028\u2029\u202e\u2066\u200f\u061c\ud800]|\n    )*$"
        yield Hostile(f"shown with {what}", give(text), escape_controls, safe)
        yield Hostile(f"logged with {what}", give(text), log, safe)
    versions = (
        *(
            "..",
            "../x",
            "a/b",
            "a\\b",
            "/etc",
            ".hidden",
            "",
            " ",
            "a b",
            "a\n",
            "a\0",
            "é",
            "x" * 129,
        ),
        *("-x", "a:b", "~", "$HOME", "*", "a/../../b", "con:", "\ud800", "a%2fb", "_a"),
    )
    yield from tabulate(versions, find_version, "there is no version|there is no ", "version")
    yield from tabulate(versions, add_version, "cannot be the name of a version", "new version")
    words = [word for word in versions if word and word not in ("..", ".hidden", "-x", "_a")]
    words.remove("x" * 129)
    yield from tabulate([*words, "x" * 65], check_word, "cannot be in a version's name", "word")
    starters = (
        "",
        "none",
        "../mitosis",
        "mitosis/../mitosis",
        "/etc/passwd",
        "mitosis.safetensors",
    )
    yield from tabulate(
        [f"starter:{name}" for name in starters], find_version, "there is no starter", "model"
    )
    addresses = (
        *(
            "http://evil/",
            "//evil/",
            "///evil",
            "\\\\evil",
            "/\\evil",
            "javascript:alert(1)",
            "evil",
        ),
        *(
            "/\t/evil",
            "/\n/evil",
            " /x",
            "https:evil",
            "//evil@here/",
            "http:/evil",
            "data:text/html",
        ),
        *("/\x00/evil", "/[evil", "//[evil", "\t//evil", "ftp://evil", "?next=//evil", "..//evil"),
    )
    yield from tabulate(addresses, choose_next, "^(/|/\\[evil)$", "page after logging in")


def read_back(text: str) -> str:
    """A cell, and whether reading it gives the text again."""
    cell = str(write_cell(text)).replace("\n", " ").replace("\r", " ").replace("\t", " ")
    return f"{cell} {'read back' if read_cell(write_cell(text)) == text else 'LOST'}"


def make_name(name: str) -> str:
    """Whether a file of the name that is made of a source can be."""
    made = flatten(name)
    lies_here = "/" not in made and "\\" not in made and made not in (".", "..")
    return "made" if lies_here and 0 < len(os.fsencode(made)) <= 255 else made


def log(text: str) -> str:
    """The record of a log that holds the text twice: in its message, and in an error."""
    formatter = OneLineFormatter("%(levelname)s %(message)s")
    try:
        raise ValueError(text)
    except ValueError as error:
        record = logging.LogRecord(
            "a", logging.ERROR, "a.py", 1, "%s", (text,), (ValueError, error, None)
        )
    return formatter.format(record)


def find_version(name: str) -> str:
    """Look a model up in an empty registry."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "outside").mkdir()
        return resolve_model(name, Registry(Path(folder) / "v", Path(folder) / "c")).name


def add_version(name: str) -> str:
    """Add a version to an empty registry."""
    with tempfile.TemporaryDirectory() as folder:
        return (
            Registry(Path(folder) / "v", Path(folder) / "c").add(Version(name, "1", 0.0), []).name
        )
