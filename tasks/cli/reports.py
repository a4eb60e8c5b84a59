"""The commands that say what a project or a file of detections holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ml_backend.cli import console
from ml_backend.cli.options import JsonOption, ProjectOption
from ml_backend.system.plurals import format_count
from tasks.cli.source_options import (
    ChannelOption,
    PatternOption,
    PixelSizeOption,
    TileOverlapOption,
    ZOption,
    parse_source_options,
)

if TYPE_CHECKING:
    from ml_backend.retraining.collect import Collector

app = typer.Typer(invoke_without_command=True)


@app.callback(epilog="Example: cytoloop report --project 1 --out report")
def report(
    context: typer.Context,
    project: Annotated[
        int | None, typer.Option(help="The project's id, as in its address.")
    ] = None,
    detections: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file that cytoloop detect wrote.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="With --detections: the image or folder that was detected in."),
    ] = None,
    tile_overlap: TileOverlapOption = None,
    pattern: PatternOption = None,
    channel: ChannelOption = None,
    z: ZOption = "each",
    pixel_size: PixelSizeOption = None,
    out: Annotated[Path, typer.Option(help="Folder for the page, its tables and pictures.")] = Path(
        "report"
    ),
    methods: Annotated[
        bool,
        typer.Option(
            "--methods",
            help="With --project: print the methods section of a paper instead of making a page.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Counts, mitotic index, corrections and pictures, as one page and CSV files.

    Options on how to read --images: the same as cytoloop detect had.
    """
    if context.invoked_subcommand is not None:
        return
    from tasks.reports.report import write_report

    if (project is None) == (detections is None):
        raise typer.BadParameter("give either --project ID or --detections FILE")
    if methods:
        if project is None:
            raise typer.BadParameter("--methods needs --project ID")
        _print_methods(project, context, as_json)
        return
    if project is not None:
        from tasks.reports.project_source import read_project

        source = read_project(project, console.load_settings(context))
    else:
        from tasks.reports.detections_source import read_detections_file

        assert detections is not None
        options = parse_source_options(pattern, channel, z, tile_overlap, pixel_size)
        source = read_detections_file(detections, images, options)
    with console.show_progress("Drawing") as bar:
        result = write_report(source, out, bar)
    console.print_and_exit(result, as_json=as_json, lines=lambda: _lines(result))


def _print_methods(project: int, context: typer.Context, as_json: bool) -> None:
    from tasks.reports.methods import read_method, write_methods

    method = read_method(project, console.load_settings(context))
    text = write_methods(method)
    value = {"project": project, "version": method.version.name, "methods": text}
    console.print_result(value, as_json=as_json, text=lambda: text)


def _lines(result: dict[str, Any]) -> list[str]:
    from ml_backend.cli import tables

    totals = dict.fromkeys(result["classes"], (0, 0))
    for row in result["counts"]:
        reviewed, detected = totals[row["label"]]
        totals[row["label"]] = reviewed + row["reviewed"], detected + row["detected"]
    return [
        f"{format_count(result['images'], 'image')}, {result['reviewed_images']} of them reviewed; "
        f"the page is {result['page']}",
        *tables.describe_agreement(result),
        *(
            f"{label}: {reviewed} reviewed, {detected} more detected, not reviewed"
            for label, (reviewed, detected) in totals.items()
        ),
    ]


@app.command("corrections", epilog="Example: cytoloop report corrections --project 1")
def corrections(
    context: typer.Context,
    project: ProjectOption,
    as_json: JsonOption = False,
) -> None:
    """How much annotators had to change, by the version that drew the boxes."""
    from ml_backend.cli import tables
    from ml_backend.dataset.corrections import measure_usefulness

    corrections, from_nothing = _open_collector(context).read_corrections(project)
    result = {
        "project": project,
        "versions": [asdict(version) for version in measure_usefulness(corrections)],
        "started_from_nothing": from_nothing,
    }
    console.print_result(result, as_json=as_json, text=lambda: tables.render_corrections(result))


@app.command("agreement", epilog="Example: cytoloop report agreement --project 1")
def agreement(
    context: typer.Context,
    project: ProjectOption,
    as_json: JsonOption = False,
) -> None:
    """How far annotators agree, with each other (Krippendorff's alpha) and with themselves."""
    from ml_backend.cli import tables

    measured = _open_collector(context).measure_annotators(project)
    nothing: dict[str, Any] = {"tasks": 0, "agreement": None, "boxes_f1": None, "disputed": []}
    result = {"project": project, **nothing, **measured}
    console.print_result(result, as_json=as_json, text=lambda: tables.render_annotators(result))


def _open_collector(context: typer.Context) -> Collector:
    """Open what reads the annotations of the data folder's projects."""
    from ml_backend.registry.versions import Registry
    from ml_backend.retraining.collect import open_collector
    from ml_backend.state.projects import Projects

    settings = console.load_settings(context)
    registry = Registry.open(settings)
    return open_collector(settings, Projects(settings.projects_database), registry)
