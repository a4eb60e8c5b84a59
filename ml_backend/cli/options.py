"""Options that several commands have."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import typer

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, nothing else there.")
]

# Port 0 would be any free port, and nothing would tell people which.
PortOption = partial(typer.Option, min=1, max=65535)

ModelOption = Annotated[
    str,
    typer.Option(
        "--model", help="A version, a .safetensors file, starter:mitosis or starter:tetrads."
    ),
]

TaskOption = Annotated[
    Literal["detect", "detect-and-classify", "classify-image", "classify-region"] | None,
    typer.Option(
        "--task",
        help="What is learned or judged: boxes; boxes whose classes a classifier tells apart; "
        "names of whole images; or the classes of boxes that are drawn already. Without it the "
        "folder says: boxes, or names of whole images.",
    ),
]

StrategyOption = Annotated[
    str | None,
    typer.Option(help="What orders the project's tasks, such as foreground or certainty."),
]

GoalOption = Annotated[
    Literal["learn", "count"] | None,
    typer.Option(
        help="What the project's queue is for: to teach the detector, or to count: tiles drawn by "
        "lot, so that cytoloop estimate tells how many cells there are."
    ),
]

AnnotationsOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="How many people are to annotate each task; Label Studio begins with 1."
    ),
]

ProjectOption = Annotated[
    int, typer.Option("--project", help="The project's id, as in its address.")
]
