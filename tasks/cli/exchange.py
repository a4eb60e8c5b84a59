"""The commands that carry annotations between Label Studio and other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml_backend.cli import console
from ml_backend.cli.options import JsonOption, ProjectOption
from ml_backend.system.plurals import format_count

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

    with console.show_progress("Exporting") as bar:
        result = run(project, out, form, console.load_settings(context), bar)
    console.print_and_exit(
        result,
        as_json=as_json,
        lines=lambda: [
            f"{format_count(result['boxes'], 'box')} on "
            f"{format_count(result['images'], 'corrected image')}, in {out}",
            *tables.describe_agreement(result),
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

    with console.show_progress("Importing") as bar:
        result = import_annotations(
            source, project, console.load_settings(context), lambda done: bar(done, None)
        )
    console.print_and_exit(
        result,
        as_json=as_json,
        lines=lambda: [
            f"{format_count(result['new'], 'image')} annotated with "
            f"{format_count(result['boxes'], 'box')}; "
            f"{result['known']} held the same annotation already",
        ],
    )
