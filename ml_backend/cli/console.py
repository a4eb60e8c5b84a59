"""What every command shares: the data folder, plain or JSON output, errors in one line.

Nothing heavy is imported here: `cytoloop --help` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ml_backend.settings import Settings

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, nothing else there.")
]

# 0 would be any free port, which nobody could be told of.
PortOption = partial(typer.Option, min=1, max=65535)

# Exit codes: 1 an error, 3 done but something was skipped.
SKIPPED = 3


def stderr() -> Console:
    """Where words and progress bars go; stdout is for results."""
    from rich.console import Console

    return Console(stderr=True)


def settings(context: typer.Context) -> Settings:
    """The settings, with the data folder of the command line where one was given."""
    from pydantic import ValidationError

    from ml_backend.settings import Settings

    given: Path | None = context.obj
    try:
        if given is None:
            return Settings()
        # No shell has looked at a ~ in the variable, or after --data-dir=.
        return Settings(data_dir=given.expanduser().resolve())
    except ValidationError as error:
        prefix = Settings.model_config["env_prefix"]
        wrong = (
            f"{prefix}{str(one['loc'][0]).upper()}={one['input']}: {one['msg']}"
            for one in error.errors()
        )
        raise ValueError("; ".join(wrong)) from None


def say(value: dict[str, Any], *, as_json: bool, text: Callable[[], Any]) -> None:
    """Print a result: one JSON object, or what `text` gives to rich."""
    if as_json:
        typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))
    else:
        from rich.console import Console

        # Names of files and labels may hold brackets; a path that is broken cannot be copied.
        found = text()
        Console(markup=False).print(found, soft_wrap=isinstance(found, str))


def finish(result: Mapping[str, Any], *, as_json: bool, lines: Callable[[], Iterable[str]]) -> None:
    """Print a result as `say` does, with a line for all that was skipped.

    result: its "skipped" lists what was left out; where that is something, the command ends
    with SKIPPED.
    """
    from ml_backend.cli import tables

    def text() -> str:
        return "\n".join([*lines(), *tables.skipped(result["skipped"])])

    say(dict(result), as_json=as_json, text=text)
    if result["skipped"]:
        raise typer.Exit(SKIPPED)


def name_user() -> str:
    """Name who gives a command, for the records."""
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return os.environ.get("USERNAME", "somebody")


@contextmanager
def progress(title: str) -> Iterator[Callable[[float, float | None], None]]:
    """A progress bar on stderr; call with (done, total), None where nobody knows."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr()) as bar:
        task = bar.add_task(title, total=None)
        try:
            yield lambda done, total: bar.update(task, completed=done, total=total)
        except Exception:
            if bar.tasks[0].completed == 0:
                # Of what never began, only the error is told; ended here, since the bar's own
                # end would leave an empty line where nobody sits at a terminal.
                bar.live.transient = True
                bar.live.stop()
                bar.disable = True
            raise


def run(app: Callable[..., object]) -> None:
    """Run the command line; a foreseen error is one line and exit code 1."""
    try:
        app(standalone_mode=True)
    except (KeyError, IndexError):
        raise
    except (ValueError, LookupError, OSError, RuntimeError) as error:
        print(f"cytoloop: {_words(error)}", file=sys.stderr)
        sys.exit(1)


def _words(error: Exception) -> str:
    """The error without the system's number of it: "folder/file: Permission denied"."""
    if isinstance(error, OSError) and error.filename and str(error).startswith("["):
        return f"{error.filename}: {error.strerror}"
    return str(error)
