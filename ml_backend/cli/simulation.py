"""The command that tells what a review queue would have been worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml_backend.cli import console
from ml_backend.cli.options import JsonOption

app = typer.Typer()


@app.command(
    epilog="Example: cytoloop simulate --dataset my_images --tile 346 "
    "--strategies random,foreground,certainty --seeds 5 --batch 20 --rounds 5"
)
def simulate(
    context: typer.Context,
    dataset: Annotated[Path, typer.Option(help="A labelled folder, with boxes.")],
    strategies: Annotated[
        str, typer.Option(help="What is compared, by commas: random,foreground,certainty.")
    ] = "random,foreground,certainty",
    tile: Annotated[
        int | None, typer.Option(min=32, help="Cut the images into tiles of this side, px.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="How many times, each with other groups kept apart.")
    ] = 5,
    batch: Annotated[int, typer.Option(min=1, help="Images that are reviewed in a round.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="How many rounds.")] = 5,
    base: Annotated[
        str, typer.Option("--from", help="The model that every training starts from.")
    ] = "starter:mitosis",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the images; else the recipe's.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What a strategy saves: a labelled folder, reviewed by a program round by round.

    The labels are hidden. Each round the strategy chooses images, a program corrects their boxes
    as a person would, and the product trains; versions are judged on groups kept apart. It goes
    on where it was stopped.
    """
    from ml_backend.cli import tables
    from ml_backend.registry.versions import Registry
    from ml_backend.simulation.simulate import Plan, simulate

    settings = console.load_settings(context)
    registry = Registry.open(settings)
    names = tuple(dict.fromkeys(name.strip() for name in strategies.split(",") if name.strip()))
    if not names:
        raise typer.BadParameter("name at least one, such as random", param_hint="--strategies")
    plan = Plan(dataset, names, tile, seeds, batch, rounds, base, epochs)
    with console.show_progress("Simulating") as bar:
        result = simulate(plan, registry, settings.simulations, bar)
    console.print_result(result, as_json=as_json, text=lambda: tables.render_simulation(result))
