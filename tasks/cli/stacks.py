"""The commands for stacks of single cells: pictures of them, networks a projection, stages."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ml_backend.cli import console
from ml_backend.cli.options import JsonOption
from ml_backend.system.plurals import format_count

if TYPE_CHECKING:
    from ml_backend.imaging.projections import Voxel

app = typer.Typer(no_args_is_help=True, help="Stacks of cells: projections, and their stages.")

FolderArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder that cytoloop stacks project wrote.")
]


@app.command(epilog="Example: cytoloop stacks project cells --out pictures --voxel 0.29,0.1,0.1")
def project(
    stacks: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Stacks, one a cell, or with a cells.csv of places."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    dna: Annotated[int, typer.Option(min=0, help="The channel of DNA, from 0.")] = 0,
    membrane: Annotated[int, typer.Option(min=0, help="The channel of the membrane.")] = 1,
    voxel: Annotated[
        str | None,
        typer.Option(metavar="Z,Y,X", help="Size of a voxel, µm; else what the files say."),
    ] = None,
    side: Annotated[
        float, typer.Option(min=0.1, help="Side of the cube around a place of cells.csv, µm.")
    ] = 25.0,
    axes: Annotated[
        str | None,
        typer.Option(help="The axes of TIFFs that do not say it, in their order, such as ZCYX."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Pictures of cells: composites for people, projections along x, y and z for networks."""
    from tasks.stacks.cells import list_cells
    from tasks.stacks.project_cells import COMPOSITES, project_cells

    size = _parse_voxel(voxel)
    cells, skipped = list_cells(stacks)
    with console.show_progress("Projecting") as bar:
        done, failed = project_cells(
            cells,
            out,
            channels=(dna, membrane),
            voxel=size,
            side=side,
            axes=axes.upper() if axes else None,
            progress=bar,
        )
    result = {"cells": done, "out": str(out), "skipped": [*skipped, *failed]}
    show = f"show them to people with: cytoloop up --images {out / COMPOSITES} --labels stages"
    console.print_and_exit(
        result,
        as_json=as_json,
        lines=lambda: [f"{format_count(done, 'cell')} in {out}", *([show] if done else [])],
    )


def _parse_voxel(text: str | None) -> Voxel | None:
    from ml_backend.system.numbers import parse_number

    if text is None:
        return None
    sides = [parse_number(part.strip(), 1e-6) for part in text.split(",")]
    if len(sides) != 3 or None in sides:
        raise typer.BadParameter(f"--voxel {text}: give three sizes in µm, such as 0.29,0.1,0.1")
    return sides[0] or 0.0, sides[1] or 0.0, sides[2] or 0.0


@app.command(epilog="Example: cytoloop stacks train pictures --name stages")
def train(
    context: typer.Context,
    folder: FolderArgument,
    name: Annotated[str, typer.Option(help="A word for the versions' names.")] = "stage",
    as_json: JsonOption = False,
) -> None:
    """Train three networks, one a projection, on cells whose stage is known."""
    from ml_backend.registry.versions import Registry
    from tasks.stacks.stages import train_views

    settings = console.load_settings(context)
    registry = Registry.open(settings)
    with console.show_progress("Training") as bar:

        def follow(step: dict[str, Any]) -> None:
            if "epoch" in step:
                done = (step["view"] - 1) * step["epochs"] + step["epoch"]
                bar(done, step["views"] * step["epochs"])

        versions = train_views(settings, registry, folder, name, follow)
    console.print_result(
        {"versions": versions},
        as_json=as_json,
        text=lambda: "\n".join(f"along {axis}: {version}" for axis, version in versions.items()),
    )


@app.command(epilog="Example: cytoloop stacks tell others --trained-on pictures --out stages.csv")
def tell(
    context: typer.Context,
    folder: FolderArgument,
    out: Annotated[Path, typer.Option(help="The table of stages.")] = Path("stages.csv"),
    trained_on: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the networks learned; DIR itself without it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell the stage of each cell: of the three answers the one of the lowest entropy counts."""
    from ml_backend.registry.versions import Registry
    from tasks.stacks.stages import judge_stages, read_versions, tell_stages, write_stages

    settings = console.load_settings(context)
    registry = Registry.open(settings)
    versions = read_versions(trained_on or folder)
    with console.show_progress("Looking") as bar:
        cells, classes, skipped = tell_stages(registry, folder, versions, bar)
    write_stages(out, cells)
    figures = judge_stages(cells, classes)
    result = {
        "cells": [asdict(cell) for cell in cells],
        "figures": figures.to_json() if figures else None,
        "out": str(out),
        "skipped": [{"source": source, "reason": reason} for source, reason in skipped],
    }

    def lines() -> list[str]:
        text = [f"{format_count(len(cells), 'cell')}; the table is {out}"]
        if figures:
            right = figures.accuracy.value or 0.0
            text.append(f"of {figures.images} with a known stage {right:.1%} are told rightly")
        return text

    console.print_and_exit(result, as_json=as_json, lines=lines)
