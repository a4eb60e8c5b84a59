"""The code of docs/extending.md, read as it stands there and laid where Python finds it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


def read_blocks(heading: str) -> dict[str, str]:
    """The titled blocks of code below a heading of the page, by their title."""
    section = PAGE.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return {m[1]: m[2] for m in re.finditer(r'```\w+ title="([^"]+)"\n(.*?)```', section, re.S)}


def count_lines(code: str) -> int:
    """How many lines a piece of code takes, empty ones aside."""
    return sum(bool(line.strip()) for line in code.splitlines())


def load_module(name: str, code: str) -> ModuleType:
    """Run a file of the page as a module."""
    module = ModuleType(name)
    exec(compile(code, name, "exec"), module.__dict__)
    return module


def install(folder: Path, blocks: dict[str, str]) -> None:
    """Lay a package into a folder of the path, as an installer would."""
    points = tomllib.loads(blocks["pyproject.toml"])["project"]["entry-points"]
    info = folder / "example-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    lines = [
        line
        for group, entries in points.items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for title, code in blocks.items():
        if title != "pyproject.toml":
            (folder / title).write_text(code)
