"""The command that finds out what is wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from ml_backend.cli import console
from ml_backend.cli.options import JsonOption

app = typer.Typer()


@app.command(epilog="Example: cytoloop doctor --project 1")
def doctor(
    context: typer.Context,
    project: Annotated[
        int | None, typer.Option(help="Only this project; else all that are connected.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What is wrong, and how to mend it: installation, data folder, Label Studio, projects.

    Nothing is changed. Exit code 0: all is well; 3: something is left out; 1: something does
    not work.
    """
    from ml_backend.cli import tables
    from ml_backend.doctor.examination import examine, find_worst

    settings = console.load_settings(context)
    results = []
    with console.open_stderr().status("Examining") as status:
        for result in examine(settings, project):
            status.update(f"Examining: {result.check}")
            results.append(result)
    worst = find_worst(results)
    rows = [result.to_json() for result in results]
    console.print_result(
        {"severity": worst, "findings": rows},
        as_json=as_json,
        text=lambda: tables.render_findings(rows),
    )
    if worst in ("warning", "error"):
        raise typer.Exit(1 if worst == "error" else console.EXIT_SKIPPED)
