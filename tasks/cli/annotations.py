"""The commands that carry annotations between Label Studio and other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml_backend.cli import console
from ml_backend.cli.app import ProjectOption
from ml_backend.cli.console import JsonOption
from ml_backend.cli.words import counted

app = typer.Typer()


@app.command(epilog="Example: cytoloop export --project 1 --out corrected.coco.json")
def export(
    context: typer.Context,
    project: ProjectOption,
    out: Annotated[
        Path,
        typer.Option(
            help="The file to write: .coco.json, .createml.json, .geojson (QuPath), .csv or "
            ".json; or, with --format, a new folder."
        ),
    ],
    form: Annotated[
        str | None,
        typer.Option("--format", help="yolo, voc or geojson: a folder with the images, too."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the corrected annotations of a project for other programs."""
    from ml_backend.cli import tables
    from tasks.exchange.export_project import export as run

    with console.progress("Exporting") as bar:
        result = run(project, out, form, console.settings(context), bar)
    console.finish(
        result,
        as_json=as_json,
        lines=lambda: [
            f"{counted(result['boxes'], 'box')} on "
            f"{counted(result['images'], 'corrected image')}, in {out}",
            *tables.agreement(result),
        ],
    )


@app.command("import", epilog="Example: cytoloop import labels.coco.json --project 1")
def import_(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="COCO or Create ML .json, .geojson (QuPath), Pascal VOC .xml, YOLO data.yaml; "
            "or a folder of them.",
        ),
    ],
    project: Annotated[int, typer.Option(help="The project that holds the images.")],
    as_json: JsonOption = False,
) -> None:
    """Submit annotations of other programs on the images that a project holds."""
    from tasks.exchange.import_project import import_annotations

    with console.progress("Importing") as bar:
        result = import_annotations(
            source, project, console.settings(context), lambda done: bar(done, None)
        )
    console.finish(
        result,
        as_json=as_json,
        lines=lambda: [
            f"{counted(result['new'], 'image')} annotated with {counted(result['boxes'], 'box')}; "
            f"{result['known']} held the same annotation already",
        ],
    )
