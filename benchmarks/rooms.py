"""How the two packages are built, counted from their imports: rooms, depth and arrows.

    uv run python benchmarks/rooms.py [--root DIR ...]

A room is a module or a package right under `ml_backend` or `tasks`. An arrow leads from a room to
another one of its package that it imports, at the top of a file or inside a function. The depth
of imports is the number of rooms on the longest way along the arrows, a cycle counted as one room.
Give several clones, say one before a change and one after it, and they stand side by side.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grimp
import networkx as nx
from rich.console import Console
from rich.table import Table

PACKAGES = ("ml_backend", "tasks")


@dataclass(frozen=True)
class Structure:
    """What one package is built of.

    Attributes:
        rooms: a graph with an edge for each arrow, from the importing to the imported room.
        files: the number of Python files, by folder.
        lines: the number of non-empty lines of Python.
    """

    rooms: nx.DiGraph
    files: dict[str, int]
    lines: int

    @property
    def cycles(self) -> list[list[str]]:
        """The groups of rooms that import each other, directly or through others."""
        groups = nx.strongly_connected_components(self.rooms)
        return [sorted(group) for group in groups if len(group) > 1]

    @property
    def depth(self) -> int:
        """The number of rooms on the longest way along the arrows, a cycle counted as one."""
        return nx.dag_longest_path_length(nx.condensation(self.rooms)) + 1


def measure_package(root: Path, name: str) -> Structure:
    """Measures the package `name` of the clone `root`, without importing it."""
    with search_first(root):
        imports = grimp.build_graph(name, cache_dir=None)
    rooms = nx.DiGraph()
    for module in imports.modules:
        room = room_of(module)
        if room is None:
            continue
        imported = map(room_of, imports.find_modules_directly_imported_by(module))
        rooms.add_node(room)
        rooms.add_edges_from((room, other) for other in imported if other not in (room, None))
    files = sorted((root / name).rglob("*.py"))
    return Structure(
        rooms,
        Counter(file.parent.relative_to(root).as_posix() for file in files),
        sum(bool(line.strip()) for file in files for line in file.read_text("utf-8").splitlines()),
    )


def room_of(module: str) -> str | None:
    """The name of a module's room; None for the package itself and for what `python -m` runs."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else None


@contextmanager
def search_first(root: Path) -> Iterator[None]:
    """Within it, packages are looked for in `root` before anywhere else."""
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))


def describe(structure: Structure) -> dict[str, str]:
    """The figures of a package as text, by what they are called."""
    fullest = max(structure.files, key=lambda folder: structure.files[folder])
    return {
        "rooms": str(structure.rooms.number_of_nodes()),
        "depth of imports": str(structure.depth),
        "arrows between rooms": str(structure.rooms.number_of_edges()),
        "cycles": "; ".join(" ↔ ".join(rooms) for rooms in structure.cycles) or "none",
        "Python files": str(sum(structure.files.values())),
        "most files in a folder": f"{structure.files[fullest]} ({fullest})",
        "lines of code": f"{structure.lines:,}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--root",
        type=Path,
        action="append",
        help="a clone of this repository; several stand side by side (default: this one)",
    )
    roots = [root.resolve() for root in parser.parse_args().root or [Path(__file__).parents[1]]]
    for name in PACKAGES:
        table = Table("figure", *map(str, roots), title=name, title_justify="left")
        described = [describe(measure_package(root, name)) for root in roots]
        for figure in described[0]:
            table.add_row(figure, *(each[figure] for each in described))
        Console().print(table)


if __name__ == "__main__":
    main()
