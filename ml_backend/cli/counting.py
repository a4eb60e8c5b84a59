"""The command that tells how many cells a project's tiles hold."""

from __future__ import annotations

import typer

from ml_backend.cli import console
from ml_backend.cli.options import JsonOption, ProjectOption

app = typer.Typer()


@app.command(epilog="Example: cytoloop estimate --project 1")
def estimate(
    context: typer.Context,
    project: ProjectOption,
    as_json: JsonOption = False,
) -> None:
    """Estimate how many cells all tiles hold, from those that were reviewed, and when to stop.

    Needs a project whose queue is drawn by lot (connect, up or scan with --goal count), or one of
    which enough tiles were reviewed at random.
    """
    from ml_backend.counting.project import count_project
    from ml_backend.counting.records import describe, to_json

    with console.show_progress("Reading the reviews"):
        count = count_project(project, console.load_settings(context))
    console.print_result(
        {"project": project, **to_json(count)},
        as_json=as_json,
        text=lambda: "\n".join(describe(count)),
    )
