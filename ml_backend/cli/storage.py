"""The commands about the data folder as a whole: back it up, restore it, tidy it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml_backend.cli import console
from ml_backend.cli.options import JsonOption
from ml_backend.system.plurals import format_count

app = typer.Typer()


@app.command(epilog="Example: cytoloop backup cytoloop-2026-11-29.tar")
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The backup to write, a .tar.")],
    as_json: JsonOption = False,
) -> None:
    """Everything into one file, Label Studio's annotations included; while it runs, too.

    Left out is what can be made again: Label Studio's packages, fetched images, trainings under
    way, logs. A PostgreSQL (CYTOLOOP_DATABASE_URL) is backed up by its own pg_dump, just before.
    """
    from ml_backend.state.backup import make_backup

    settings = console.load_settings(context)
    with console.show_progress("Backing up") as bar:
        made = make_backup(settings.data_dir, file, bar)
    value = {"file": str(made.file), "files": made.files, "bytes": made.size}
    text = (
        f"{format_count(made.files, 'file')} of {settings.data_dir} are in {made.file} "
        f"({made.size / 1e6:.0f} MB). It holds passwords and tokens: keep it to yourself. "
        f"cytoloop --data-dir NEW restore {made.file} makes a data folder of it."
    )
    if settings.database_url is not None:
        text += " What PostgreSQL holds (projects, jobs) is not in it: back it up with pg_dump."
    console.print_result(value, as_json=as_json, text=lambda: text)


@app.command(epilog="Example: cytoloop --data-dir NEW restore cytoloop-2026-11-29.tar")
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A backup that cytoloop backup wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Make a data folder from a backup; the folder must be new or empty."""
    from ml_backend.state.backup import restore_backup

    folder = console.load_settings(context).data_dir
    with console.show_progress("Restoring") as bar:
        found = restore_backup(file, folder, bar)
    value = {"data_dir": str(folder), "files": found.files, "release": found.release}
    text = (
        f"{format_count(found.files, 'file')} restored into {folder}, as release {found.release} "
        f"kept them. Go on with: cytoloop --data-dir {folder} up"
    )
    console.print_result(value, as_json=as_json, text=lambda: text)


@app.command(epilog="Example: cytoloop tidy --dry-run")
def tidy(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what nothing refers to: files older than CYTOLOOP_KEEP_DAYS (30), unused weights.

    Of versions that were not promoted, the newest CYTOLOOP_KEEP_CANDIDATES (10) of a project keep
    their weights. Champions, past ones too, annotations, figures and all that they refer to stay.
    """
    from ml_backend.cli import tables
    from ml_backend.retraining.retention import find_superfluous, remove

    settings = console.load_settings(context)
    with console.open_stderr().status("Looking what may go"):
        items = find_superfluous(settings)
    if not dry_run:
        remove(items, settings)
    rows = [{"path": str(i.path), "bytes": i.size, "reason": i.reason} for i in items]
    console.print_result(
        {"removed": not dry_run, "items": rows},
        as_json=as_json,
        text=lambda: tables.render_superfluous(rows, removed=not dry_run),
    )
