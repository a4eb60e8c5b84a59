"""What the name of a tile's file says: its row, column, plane and channel.

Microscopes write these numbers into the names of the files. The usual forms are known; any
other can be given as a pattern. What is left of a name is the same for all tiles of a scan.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from ml_backend.system.numbers import parse_whole_number

MOST = 10_000_000  # what is greater is a date, a time or a serial number

FIELDS = ("row", "column", "plane", "channel")

# The first form of each that a name has counts. A number follows its letter, and the letter
# begins a word: 'Image_Z001_CH4' (Keyence), 'Scan_s01_z00_ch00' (Leica LAS X),
# 'image--X02--Y05--Z00--C01' (Leica Matrix Screener), 'tile_r003_c012' (many).
_WORD = r"(?:^|(?<=[^a-z]))"
_KNOWN = (
    (
        rf"{_WORD}x(?P<column>\d+)[-_ ,.]+y(?P<row>\d+)(?!\d)",
        rf"{_WORD}y(?P<row>\d+)[-_ ,.]+x(?P<column>\d+)(?!\d)",
        rf"{_WORD}r(?:ow)?[-_ ]?(?P<row>\d+)[-_ ,.]*c(?:ol(?:umn)?)?[-_ ]?(?P<column>\d+)(?!\d)",
    ),
    (rf"{_WORD}z(?:stack)?[-_ ]?(?P<plane>\d+)(?!\d)",),
    # A mere c is too common to be a channel, but where Leica writes it.
    (rf"{_WORD}ch[-_ ]?(?P<channel>\d+)(?!\d)", r"(?<=--)c(?P<channel>\d+)(?!\d)"),
)


@dataclass(frozen=True)
class TileName:
    """What the name of a file says.

    Attributes:
        row: Its number; None where the name has none. So are the next three.
        column: See row.
        plane: See row.
        channel: See row.
        rest: The name without those numbers.
    """

    row: int | None
    column: int | None
    plane: int | None
    channel: int | None
    rest: str


def compile_pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern as users write it.

    Args:
        text: {row}, {column}, {plane} and {channel} stand for numbers, * for anything; with or
            without the ending of the file.

    Raises:
        ValueError: It holds another word in braces, or none at all.
    """
    parts = re.split(r"(\{\w*\}|\*)", text)
    found = []
    for i, part in enumerate(parts):
        if part == "*":
            parts[i] = ".*"
        elif part.startswith("{") and part.endswith("}"):
            name = part[1:-1]
            if name not in FIELDS or name in found:
                raise ValueError(
                    f"--pattern {text}: use each of {{row}}, {{column}}, {{plane}} and {{channel}} "
                    "at most once, * for anything, and the rest as it stands"
                )
            found.append(name)
            parts[i] = rf"(?P<{name}>\d+)"
        else:
            parts[i] = re.escape(part)
    if not found or ("row" in found) != ("column" in found):
        raise ValueError(
            f"--pattern {text}: it must hold {{row}} and {{column}}, or {{plane}} or {{channel}}"
        )
    return re.compile("".join(parts), re.IGNORECASE)


def ignore_numbers(name: str) -> TileName:
    """Return a name that says nothing."""
    return TileName(None, None, None, None, name)


def parse_name(name: str, given: re.Pattern[str] | None = None) -> TileName | None:
    """Return what a file's name says; None where it does not fit the pattern that was given."""
    if given is not None:
        found = given.fullmatch(name) or given.fullmatch(PurePath(name).stem)
        fits = found is not None and all(map(_is_number, found.groupdict().values()))
        return _named(name, [found]) if found is not None and fits else None
    stem = PurePath(name).stem.casefold()
    matches = (
        next(filter(None, (re.search(form, stem) for form in forms)), None) for forms in _KNOWN
    )
    return _named(name, [found for found in matches if found])


def _is_number(digits: str) -> bool:
    return parse_whole_number(digits, 0, MOST) is not None


def _named(name: str, matches: list[re.Match[str]]) -> TileName:
    matches = [found for found in matches if all(map(_is_number, found.groupdict().values()))]
    numbers: dict[str, int] = {}
    spans = []
    for found in matches:
        for field, value in found.groupdict().items():
            numbers[field] = int(value)
            spans.append(found.span(field))
    rest = name
    for start, end in sorted(spans, reverse=True):
        rest = f"{rest[:start]}*{rest[end:]}"
    row, column, plane, channel = (numbers.get(field) for field in FIELDS)
    return TileName(row, column, plane, channel, rest)
