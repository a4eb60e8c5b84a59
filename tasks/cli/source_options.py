"""The options of all commands that read a source: how its files belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from tasks.sources.scan_source import SourceOptions

PatternOption = Annotated[
    str | None,
    typer.Option(
        help="How files are named: {row}, {column}, {plane} and {channel} stand for numbers, "
        "* for anything. The usual names are known."
    ),
]
ChannelOption = Annotated[
    int | None, typer.Option(min=0, help="The channel to look at; else colours, or the first.")
]
ZOption = Annotated[
    Literal["each", "max", "focus"],
    typer.Option("--z", help="Planes of a stack: each, max (brightest) or focus (sharpest)."),
]
OverlapOption = Annotated[
    int | None,
    typer.Option(min=0, help="What the windows of a large image share, px; else by objects' size."),
]
TileOverlapOption = Annotated[
    int | None,
    typer.Option(min=0, help="What the microscope's tiles share, px; else found out."),
]
ExecutorOption = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Where it detects: in this process, or on a Ray cluster (extra ray)."),
]
PixelSizeOption = Annotated[
    float | None,
    typer.Option(
        help="µm that a pixel shows; else what the files' metadata say. It sets the scale at "
        "which a version looks that knows its own."
    ),
]

Int8Option = Annotated[
    bool | None,
    typer.Option(
        "--int8/--full-precision",
        help="Detect with the version's INT8 form or without; else with it where cytoloop quantize "
        "accepted one.",
        show_default=False,
    ),
]

SkipEmptyOption = Annotated[
    bool,
    typer.Option(
        "--skip-empty", help="Do not look at tiles of nothing but background; 1 % are, to check."
    ),
]


def parse_source_options(
    pattern: str | None,
    channel: int | None,
    z: Literal["each", "max", "focus"],
    tile_overlap: int | None,
    pixel_size: float | None = None,
) -> SourceOptions:
    """Read the options of a source.

    Args:
        pattern: How files are named, as `--pattern` takes it.
        channel: From 0; None for colours, or the first.
        z: Which planes of a stack.
        tile_overlap: What neighbouring tiles share, px; None where it is to be measured.
        pixel_size: µm; None where the files' metadata say it.

    Raises:
        ValueError: The pattern or the pixel size is not possible.
    """
    from ml_backend.imaging.pixel_size import parse_pixel_size
    from tasks.sources import filename_patterns
    from tasks.sources.scan_source import SourceOptions

    if pattern is not None:
        filename_patterns.compile_pattern(pattern)  # only to see what is wrong with it
    if pixel_size is not None and parse_pixel_size(pixel_size) is None:
        raise ValueError(f"--pixel-size {pixel_size:g}: no pixel shows so many µm")
    return SourceOptions(False, pattern, channel, z, tile_overlap, pixel_size)
