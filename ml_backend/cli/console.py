"""What every command shares: the settings, plain or JSON output, errors in one line.

Nothing heavy is imported at the top of this file, so that `cytoloop --help` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ml_backend.settings import Settings

# Exit codes: 0 all done, 1 an error, 3 done, but something was left out.
EXIT_SKIPPED = 3


def open_stderr() -> Console:
    """Open stderr, for messages and progress bars; stdout is for results."""
    return open_terminal(stderr=True)


def open_terminal(**options: Any) -> Console:
    """Open a terminal that shows the controls in what it prints, and obeys none of them.

    Names of files, labels and tasks are others' words: their escape sequences could move the
    cursor, change what stands there already, or write into the clipboard.

    Args:
        **options: See `rich.console.Console`.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    from ml_backend.system.printable import escape_controls

    class Terminal(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                if segment.control:
                    yield segment
                else:
                    text = escape_controls(segment.text, keep_lines=True)
                    yield Segment(text, segment.style)

    return Terminal(**options)


def load_settings(context: typer.Context) -> Settings:
    """Read the settings; the data folder of the command line goes before the variable's.

    Args:
        context: Its `obj` is the folder given with `--data-dir`, or None.

    Raises:
        ValueError: One or more settings have a value that they cannot have.
    """
    from pydantic import ValidationError

    from ml_backend.settings import Settings
    from ml_backend.system.private_files import close_data_folder

    given: Path | None = context.obj
    try:
        # The shell expands no ~ in a variable, nor after --data-dir=.
        settings = Settings() if given is None else Settings(data_dir=given.expanduser().resolve())
    except ValidationError as error:
        prefix = Settings.model_config["env_prefix"]
        problems = (
            f"{prefix}{str(problem['loc'][0]).upper()}={problem['input']}: {problem['msg']}"
            if problem["loc"]
            else f"{prefix}TLS_CERTIFICATE, {prefix}TLS_KEY: {problem['msg']}"
            for problem in error.errors()
        )
        raise ValueError("; ".join(problems)) from None
    close_data_folder(settings.data_dir)
    return settings


def print_result(value: dict[str, Any], *, as_json: bool, text: Callable[[], Any]) -> None:
    """Print a result: one JSON object, or what people read.

    Args:
        value: The result, as `--json` prints it.
        as_json: Print `value` and nothing else.
        text: Makes a string or something that rich can print; called only without `as_json`.
    """
    if as_json:
        from ml_backend.system.printable import escape_controls

        # JSON itself escapes line breaks and ESC, but not the controls above 127.
        typer.echo(escape_controls(json.dumps(value, ensure_ascii=False, allow_nan=False)))
    else:
        content = text()
        # No markup: names of files and labels may hold brackets. No line breaks in strings: a
        # path that is broken cannot be copied.
        open_terminal(markup=False).print(content, soft_wrap=isinstance(content, str))


def print_and_exit(
    result: Mapping[str, Any], *, as_json: bool, lines: Callable[[], Iterable[str]]
) -> None:
    """Print a result with a line for each thing that was left out.

    Args:
        result: The result, as `--json` prints it; its "skipped" lists what was left out.
        as_json: Print `result` and nothing else.
        lines: Makes the lines for people; called only without `as_json`.

    Raises:
        typer.Exit: Something was left out; the exit code is `EXIT_SKIPPED`.
    """
    from ml_backend.cli import tables

    def text() -> str:
        return "\n".join([*lines(), *tables.list_skipped(result["skipped"])])

    print_result(dict(result), as_json=as_json, text=text)
    if result["skipped"]:
        raise typer.Exit(EXIT_SKIPPED)


def name_user() -> str:
    """Name the user who runs this command, for the records."""
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return os.environ.get("USERNAME", "somebody")


@contextmanager
def show_progress(title: str) -> Iterator[Callable[[float, float | None], None]]:
    """Show a progress bar on stderr while the block runs.

    Args:
        title: What is going on, in a word or two.

    Yields:
        A function to call with (done, total); total is None where it is not known.
    """
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
    with Progress(*columns, console=open_stderr()) as bar:
        task = bar.add_task(title, total=None)
        try:
            yield lambda done, total: bar.update(task, completed=done, total=total)
        except Exception:
            if bar.tasks[0].completed == 0:
                # Nothing was begun, so only the error is worth a line. The bar must be stopped
                # here: its own end leaves an empty line where stderr is not a terminal.
                bar.live.transient = True
                bar.live.stop()
                bar.disable = True
            raise


def run(app: Callable[..., object]) -> None:
    """Run the command line; an expected error becomes one line on stderr and exit code 1.

    Args:
        app: The command line, as click or typer has it.

    Raises:
        SystemExit: Always, with the exit code.
        KeyError, IndexError: An error of the program, with its traceback.
    """
    try:
        app(standalone_mode=True)
    except (KeyError, IndexError):
        raise
    except (ValueError, LookupError, OSError, RuntimeError) as error:
        _fail(_describe_error(error))
    except Exception as error:
        from ml_backend.system.database import DatabaseError, describe_fault

        if not isinstance(error, DatabaseError):
            raise
        _fail(f"the database cannot be used: {describe_fault(error)}")


def _fail(message: str) -> NoReturn:
    from ml_backend.system.printable import escape_controls

    print(f"cytoloop: {escape_controls(message, keep_lines=True)}", file=sys.stderr)
    sys.exit(1)


def _describe_error(error: Exception) -> str:
    """Leave out the number of an error of the system: "folder/file: Permission denied"."""
    if isinstance(error, OSError) and error.filename and str(error).startswith("["):
        return f"{error.filename}: {error.strerror}"
    return str(error)
