"""Which cells there are: a table of places in stacks, or a folder with a stack for each cell."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ml_backend.system.numbers import parse_number
from ml_backend.system.plain_files import show_name
from tasks.sources.discover import Skipped

TABLE = "cells.csv"
ENDINGS = (".tif", ".tiff", ".zarr", ".czi", ".lif", ".nd2")


@dataclass(frozen=True)
class Cell:
    """A cell in a stack.

    Attributes:
        name: Of its pictures, unique among the cells.
        stack: The file.
        sample: What must stay on one side of a split.
        centre: Its place, (z, y, x) in voxels; None where it fills the stack.
        label: Its stage; "" where nobody said.
    """

    name: str
    stack: Path
    sample: str
    centre: tuple[float, float, float] | None = None
    label: str = ""


def list_cells(folder: Path) -> tuple[list[Cell], list[Skipped]]:
    """List the cells of a folder.

    They are the rows of `cells.csv` (`stack,z,y,x,label,sample`; all but the first may be
    missing). Without it every stack in the folder is a cell, and a folder in it names their stage.

    Raises:
        ValueError: There is no cell.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give one that holds stacks")
    table = folder / TABLE
    cells, skipped = _read_table(table) if table.is_file() else (_find_stacks(folder), [])
    if not cells:
        reason = f" (left out: {skipped[0]['source']}: {skipped[0]['reason']})" if skipped else ""
        raise ValueError(
            f"{folder} holds no cell: no row in {TABLE} and no stack ({', '.join(ENDINGS)}){reason}"
        )
    return cells, skipped


def _find_stacks(folder: Path) -> list[Cell]:
    cells = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        within = any(Path(part).suffix == ".zarr" for part in inside.parts[:-1])
        if path.suffix.lower() not in ENDINGS or hidden or within:
            continue
        label = inside.parts[0] if len(inside.parts) > 1 else ""
        cells.append(Cell("-".join(inside.with_suffix("").parts), path, path.stem, None, label))
    return cells


def _read_table(table: Path) -> tuple[list[Cell], list[Skipped]]:
    cells: list[Cell] = []
    skipped: list[Skipped] = []
    with table.open(encoding="utf-8-sig", newline="") as text:
        for number, row in enumerate(csv.DictReader(text), start=1):
            source = f"{TABLE}, row {number}"
            stack = (row.get("stack") or "").strip()
            path = table.parent / stack
            given = [(row.get(axis) or "").strip() for axis in "zyx"]
            place = [parse_number(value, 0) for value in given]
            if not stack or not path.exists():
                skipped.append(
                    {"source": source, "reason": f"there is no stack {show_name(stack)}"}
                )
            elif any(given) and None in place:
                skipped.append({"source": source, "reason": "z, y or x is no number of voxels"})
            else:
                centre = (
                    None if not any(given) else (place[0] or 0.0, place[1] or 0.0, place[2] or 0.0)
                )
                name = f"{Path(stack).with_suffix('').as_posix().replace('/', '-')}-{number}"
                sample = (row.get("sample") or "").strip() or stack
                cells.append(Cell(name, path, sample, centre, (row.get("label") or "").strip()))
    return cells, skipped
