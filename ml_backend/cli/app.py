"""The console script `cytoloop`: the commands of all packages as one command line."""

from __future__ import annotations

import copy
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

from ml_backend.cli import (
    console,
    counting,
    doctor,
    models,
    repeats,
    second_look,
    service,
    simulation,
    storage,
    training,
)

app = typer.Typer()
app.add_typer(service.app)
app.add_typer(doctor.app)
app.add_typer(storage.app)
app.add_typer(training.app)
app.add_typer(counting.app)
app.add_typer(simulation.app)
app.add_typer(second_look.app)
app.add_typer(repeats.app)
app.add_typer(models.app, name="models")


def main() -> None:
    """Run the command line."""
    console.run(build_command())


def build_command() -> Any:
    """Build the command line of all packages that are installed, as click has it."""
    root = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Label Studio with the cells already marked, and corrections that make it better.",
    )

    @root.callback(epilog="Example: cytoloop up --demo")
    def set_data_dir(
        context: typer.Context,
        data_dir: Annotated[
            Path | None,
            typer.Option(
                "--data-dir",
                envvar="CYTOLOOP_DATA_DIR",
                help="Folder that holds everything; the platform's user data folder by default.",
            ),
        ] = None,
    ) -> None:
        context.obj = data_dir

    # The commands of `tasks` come first in --help, because `up` is what people meet first.
    entries = entry_points(group="cytoloop.commands")
    for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
        root.add_typer(entry.load())
    group = typer.main.get_command(root)
    option = next(option for option in group.params if option.name == "data_dir")
    _accept_after_commands(group, option)
    return group


def _accept_after_commands(group: Any, option: Any) -> None:
    """Let the data folder be named after a command too, where most people write options."""

    def keep(context: Any, _: Any, value: Path | None) -> None:
        if value is not None:
            context.obj = value

    for command in getattr(group, "commands", {}).values():
        again = copy.copy(option)
        again.expose_value, again.callback = False, keep
        # The root command has read the variable; here it would win over its option.
        again.envvar = None
        command.params.append(again)
        _accept_after_commands(command, option)
