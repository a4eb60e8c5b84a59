"""The files of a simulation: its curves as CSV and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ml_backend.simulation.curves import COSTS, ENOUGH, FIGURES, Curves, Point
from ml_backend.system.atomic_files import replace_file, write_json

# Okabe and Ito's colours, which colour-blind people can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
_TITLES = {
    "images": "images looked at",
    "boxes": "boxes drawn",
    "edits": "edits",
    "seconds": "modelled seconds",
    "f1": "F1",
    "ap50": "AP50",
    "image_sensitivity": "image sensitivity",
}


def write_files(folder: Path, curves: Curves, summary: dict[str, Any]) -> None:
    """Write all that is known of a simulation.

    Args:
        folder: Gets `rounds.csv` (every seed), `curves.csv` (means with intervals), `curves.png`
            and `summary.json`.
        curves: Of all strategies.
        summary: Of the same, see `curves.summarize`.
    """
    names = [field.name for field in fields(Point)]
    _write_csv(
        folder / "rounds.csv",
        ["strategy", "seed", "round", *names],
        (
            [name, seed, number, *asdict(point).values()]
            for name, seeds in curves.items()
            for seed, curve in sorted(seeds.items())
            for number, point in enumerate(curve)
        ),
    )
    columns = ["round", "seeds", *COSTS, *FIGURES]
    _write_csv(
        folder / "curves.csv",
        ["strategy", *columns, *(f"{f}_{end}" for f in FIGURES for end in ("low", "high"))],
        (
            [name, *(row[column] for column in columns), *_list_ends(row)]
            for name, strategy in summary["strategies"].items()
            for row in strategy["rounds"]
        ),
    )
    write_json(folder / "summary.json", summary)
    with replace_file(folder / "curves.png") as temporary:
        draw_curves(summary).savefig(temporary, format="png", dpi=100)


def _list_ends(row: dict[str, Any]) -> list[float | str]:
    return [end for f in FIGURES for end in row[f"{f}_interval"] or ("", "")]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with (
        replace_file(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([["" if value is None else value for value in row] for row in rows])


def draw_curves(summary: dict[str, Any]) -> Any:
    """Draw every figure against every cost, with 95 % intervals over seeds.

    Args:
        summary: See `curves.summarize`.

    Returns:
        A matplotlib figure.
    """
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(3.4 * len(COSTS), 2.9 * len(FIGURES)), layout="constrained")
    axes = canvas.subplots(len(FIGURES), len(COSTS), squeeze=False, sharey="row")
    colours = {
        name: COLOURS[place % len(COLOURS)] for place, name in enumerate(summary["strategies"])
    }
    for figure, row in zip(FIGURES, axes, strict=True):
        for cost, panel in zip(COSTS, row, strict=True):
            for name, strategy in summary["strategies"].items():
                known = [point for point in strategy["rounds"] if point[figure] is not None]
                x, y = [p[cost] for p in known], [p[figure] for p in known]
                panel.plot(x, y, "o-", color=colours[name], markersize=3, label=name)
                ends = [p[f"{figure}_interval"] or (p[figure], p[figure]) for p in known]
                if ends:
                    low, high = zip(*ends, strict=True)
                    panel.fill_between(x, low, high, color=colours[name], alpha=0.12, linewidth=0)
            if figure == "f1" and summary.get("full"):
                enough = ENOUGH * sum(summary["full"].values()) / len(summary["full"])
                panel.axhline(enough, color="#999999", linestyle="--", linewidth=1)
            panel.set_ylim(-0.02, 1.02)
            panel.grid(alpha=0.25)
            if panel is row[0]:
                panel.set_ylabel(_TITLES[figure])
            if figure == FIGURES[-1]:
                panel.set_xlabel(_TITLES[cost])
    handles, labels = axes[0][0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return canvas
