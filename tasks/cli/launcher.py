"""The command that starts everything at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml_backend.cli import console
from ml_backend.cli.options import AnnotationsOption, GoalOption, PortOption, StrategyOption

app = typer.Typer()


@app.command(epilog="Example: cytoloop up --demo")
def up(
    context: typer.Context,
    demo: Annotated[bool, typer.Option("--demo", help="Bring images to try it on.")] = False,
    images: Annotated[
        Path | None, typer.Option(help="Folder of images; sub-folders are samples.")
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            help="Boxes: mitosis, phases, tetrads; boxes by one click: click; boxes with a choice "
            "each: mitosis-stages, spreads. Names of whole images: images, stages, shapes, "
            "adviser. Or a labeling config FILE.xml."
        ),
    ] = "mitosis",
    port: Annotated[int, PortOption(help="Port of Label Studio.")] = 8080,
    backend_port: Annotated[int, PortOption(help="Port of the ML backend.")] = 9090,
    strategy: StrategyOption = None,
    goal: GoalOption = None,
    annotations: AnnotationsOption = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the project in a browser.")
    ] = True,
) -> None:
    """Start Label Studio, the backend and the worker, with a project already marked."""
    from tasks.launcher.up import UpOptions, launch

    options = UpOptions(
        demo, images, labels, port, backend_port, browser, strategy, goal, annotations
    )
    launch(options, console.load_settings(context))
