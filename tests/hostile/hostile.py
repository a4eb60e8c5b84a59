"""What a hostile input is, and small builders that several kinds of them share."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Hostile:
    """An input.

    Attributes:
        name: What distinguishes it from the others of its kind.
        build: Writes it into an empty folder; returns what `read` gets.
        read: What the product does with such an input.
        refusal: A pattern of what is said, with `re.search`.
    """

    name: str
    build: Callable[[Path], Any]
    read: Callable[[Any], Any]
    refusal: str


def write(name: str, content: bytes) -> Callable[[Path], Path]:
    """Make what writes a file."""

    def build(folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return folder / name

    return build


def give(value: Any) -> Callable[[Path], Any]:
    """Make what builds no file, and gives a value."""
    return lambda folder: value


def tabulate(
    values: Mapping[str, Any] | Iterable[Any],
    read: Callable[[Any], Any],
    refusal: str,
    name: str = "",
) -> Iterator[Hostile]:
    """Yield an input for each value, all with one refusal.

    Args:
        values: By what distinguishes them; values that are shown as they are may stand alone.
        read: What the product does with each.
        refusal: What is said of each.
        name: What all are.
    """
    if not isinstance(values, Mapping):
        values = {show(value): value for value in values}
    for what, value in values.items():
        yield Hostile(f"{name} {what}".strip(), give(value), read, refusal)


def tabulate_files(
    files: Mapping[str, bytes], read: Callable[[Path], Any], refusal: str, file: str, name: str = ""
) -> Iterator[Hostile]:
    """Yield an input for each content of a file, all with one refusal."""
    for what, content in files.items():
        yield Hostile(f"{name} {what}".strip(), write(file, content), read, refusal)


def show(value: Any) -> str:
    """Show a value, and in the middle of a long one its length."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:30]}... {len(text)} ...{text[-20:]}"


def make_tiff(
    changes: Mapping[int, int], pages: int = 1, following: int | None = None, pixels: bytes = b""
) -> bytes:
    """Make a TIFF of 16 × 16 grey px, with some tags changed; the last page may name another."""
    tags = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: 256}
    tags |= dict(changes)
    tags = {tag: value for tag, value in tags.items() if value is not None}
    pixels = pixels or bytes(256)
    first = 8 + len(pixels)
    length = 2 + 12 * len(tags) + 4
    content = bytearray(b"II*\0" + struct.pack("<I", first) + pixels)
    for page in range(pages):
        content += struct.pack("<H", len(tags))
        for tag, value in sorted(tags.items()):
            content += struct.pack("<HHII", tag, 4, 1, value)
        last = page == pages - 1
        named = first + length * (page + 1)
        content += struct.pack("<I", 0 if last and following is None else named)
        if last and following is not None:
            content[-4:] = struct.pack("<I", first + length * following)
    return bytes(content)
