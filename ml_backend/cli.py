"""The commands of the service, and the one console script that joins all commands."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from ml_backend import console
from ml_backend.console import JsonOption

app = typer.Typer()
models_app = typer.Typer(no_args_is_help=True, help="The versions: list, show, promote, roll back.")
app.add_typer(models_app, name="models")

ModelOption = Annotated[
    str,
    typer.Option(
        "--model", help="A version, a .safetensors file, starter:mitosis or starter:tetrads."
    ),
]


def main() -> None:
    """The console script `cytoloop`."""
    root = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Label Studio with the cells already marked, and corrections that make it better.",
    )

    @root.callback(epilog="Example: cytoloop up --demo")
    def common(
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

    for entry in sorted(entry_points(group="cytoloop.commands"), key=lambda entry: entry.name):
        root.add_typer(entry.load())
    console.run(root)


@app.command(epilog="Example: cytoloop serve --port 9090")
def serve(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 9090,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the ML backend alone."""
    from ml_backend.server import serve as run

    run(console.settings(context), host, port)


@app.command(epilog="Example: cytoloop worker")
def worker(context: typer.Context) -> None:
    """Run the worker alone: it trains, judges, promotes and refreshes."""
    from ml_backend.worker import work

    work(console.settings(context))


if __name__ == "__main__":
    main()
