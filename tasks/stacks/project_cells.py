"""Cells of stacks as pictures: a composite for people, and a dataset of projections a network."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ml_backend.dataset.folder import IMAGE_LABELS
from ml_backend.imaging.projections import (
    AXES,
    Voxel,
    colour_channels,
    compose_picture,
    project_stack,
)
from ml_backend.system.atomic_files import replace_file
from ml_backend.system.csv_cells import write_cell
from tasks.sources.discover import Skipped
from tasks.stacks.cells import Cell
from tasks.stacks.read_stack import CellStack, read_stack

COMPOSITES = "composites"
# What is shown around a cell in the centre plane, as a multiple of the cell's side.
_SURROUNDINGS = 2.0


def project_cells(
    cells: Sequence[Cell],
    out: Path,
    *,
    channels: tuple[int, int],
    voxel: Voxel | None,
    side: float,
    axes: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, list[Skipped]]:
    """Write the pictures of cells.

    Args:
        cells: See `list_cells`.
        out: Gets the folders `composites`, `x`, `y` and `z`, each with `image_labels.csv`.
        channels: Those of DNA and membrane, from 0.
        voxel: Its size, µm; None where the files say it.
        side: Of the cube around a cell that has a place in its stack, µm.
        axes: Of TIFFs that do not say it, such as ZCYX.
        progress: Called with how many are done, and of how many.

    Returns:
        How many cells were written, and what was left out, and why.
    """
    done: list[Cell] = []
    skipped: list[Skipped] = []
    opened: tuple[Path, CellStack] | None = None
    for number, cell in enumerate(sorted(cells, key=lambda cell: (cell.stack, cell.name))):
        try:
            if opened is None or opened[0] != cell.stack:
                opened = cell.stack, read_stack(cell.stack, channels, voxel, axes)
            for folder, picture in _draw_cell(cell, opened[1], side).items():
                _write_picture(out / folder / f"{cell.name}.png", picture)
            done.append(cell)
        except (ValueError, OSError) as error:
            skipped.append({"source": cell.name, "reason": str(error)})
        progress(number + 1, len(cells))
    for folder in (COMPOSITES, *AXES):
        if done:
            _write_labels(out / folder / IMAGE_LABELS, done)
    return len(done), skipped


def _draw_cell(cell: Cell, stack: CellStack, side: float) -> dict[str, np.ndarray]:
    """By folder, the picture of a cell, RGB."""
    pixels, voxel = stack.pixels, stack.voxel
    inner = outer = pixels
    middle = len(pixels) // 2
    if cell.centre is not None:
        beyond = [c > n - 0.5 for c, n in zip(cell.centre, pixels.shape, strict=False)]
        if any(beyond):
            raise ValueError(f"its place {cell.centre} lies outside the stack {pixels.shape[:3]}")
        inner = _cut(pixels, cell.centre, voxel, side)
        outer = _cut(pixels, cell.centre, voxel, side * _SURROUNDINGS, planes=False)
        middle = min(round(cell.centre[0]), len(pixels) - 1)
    projections = project_stack(inner, voxel)
    plane = project_stack(outer[[middle, middle]], voxel)["z"]  # the centre plane, to scale
    pictures: dict[str, np.ndarray] = {axis: colour_channels(projections[axis]) for axis in AXES}
    return {COMPOSITES: compose_picture(plane, projections)} | pictures


def _cut(
    pixels: np.ndarray,
    centre: tuple[float, float, float],
    voxel: Voxel,
    side: float,
    planes: bool = True,
) -> np.ndarray:
    """Cut a cube of so many µm around a place; what lies outside the stack is not in it."""
    spans = []
    for axis, (middle, size) in enumerate(zip(centre, voxel, strict=True)):
        half = max(side / size / 2, 1.0)
        low, high = round(middle - half), round(middle + half)
        whole = axis == 0 and not planes
        spans.append(slice(None) if whole else slice(max(low, 0), max(high, 1)))
    return pixels[tuple(spans)]


def _write_picture(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".png", picture[..., ::-1])
    with replace_file(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _write_labels(path: Path, cells: Sequence[Cell]) -> None:
    rows: list[dict[str, Any]] = [
        {"image": f"{cell.name}.png", "sample": cell.sample, "image_label": cell.label}
        for cell in cells
    ]
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows({name: write_cell(value) for name, value in row.items()} for row in rows)
