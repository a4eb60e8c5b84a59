"""The commands that run the service: the ML backend, its worker, and connecting a project."""

from __future__ import annotations

from typing import Annotated

import typer

from ml_backend.cli import console
from ml_backend.cli.options import JsonOption, PortOption, ProjectOption, StrategyOption

app = typer.Typer()


@app.command(epilog="Example: cytoloop serve --port 9090")
def serve(
    context: typer.Context,
    port: Annotated[int, PortOption(help="Port to listen on.")] = 9090,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the ML backend alone."""
    from ml_backend.serving.server import serve as run
    from ml_backend.system.atomic_files import check_data_folder
    from ml_backend.system.processes import check_port

    settings = console.load_settings(context)
    check_data_folder(settings.data_dir)
    check_port(port, "the ML backend", "--port or --host", host)
    run(settings, host, port)


@app.command(epilog="Example: cytoloop worker")
def worker(context: typer.Context) -> None:
    """Run the worker alone: it trains, judges, promotes and refreshes."""
    from ml_backend.retraining.worker import work
    from ml_backend.system.atomic_files import check_data_folder

    settings = console.load_settings(context)
    check_data_folder(settings.data_dir)
    work(settings)


@app.command(
    epilog="Example: cytoloop connect --url http://localhost:8080 --token TOKEN --project 3"
)
def connect(
    context: typer.Context,
    url: Annotated[str, typer.Option(help="Address of Label Studio.")],
    token: Annotated[str, typer.Option(help="Personal access token (Account & Settings).")],
    project: ProjectOption,
    backend_url: Annotated[
        str, typer.Option(help="Address at which Label Studio reaches the ML backend.")
    ] = "http://127.0.0.1:9090",
    strategy: StrategyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Connect a project of a running Label Studio to this backend."""
    from ml_backend.serving.connect import connect as run

    settings = console.load_settings(context)
    result = run(settings, url, token, project, backend_url, strategy)
    console.print_result(result.to_json(), as_json=as_json, text=result.describe)
