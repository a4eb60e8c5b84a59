"""The commands that detect: detect, scan, sort, and quantize, which makes them faster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ml_backend.cli import console
from ml_backend.cli.options import GoalOption, JsonOption, ModelOption
from ml_backend.system.plurals import format_count
from tasks.cli.source_options import (
    ChannelOption,
    ExecutorOption,
    Int8Option,
    OverlapOption,
    PatternOption,
    PixelSizeOption,
    SkipEmptyOption,
    TileOverlapOption,
    ZOption,
    parse_source_options,
)

if TYPE_CHECKING:
    from ml_backend.learners.base import Model
    from tasks.review.scan_to_project import Summary
    from tasks.sources.scan_source import SourceOptions

app = typer.Typer()


@app.command(epilog="Example: cytoloop detect my_images --out found.csv")
def detect(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="An image, a scan, or a folder of them.")],
    out: Annotated[
        Path,
        typer.Option(
            help="The file to write: .json, .csv, .geojson (QuPath), .coco.json or "
            ".createml.json; of a classifier .json or .csv."
        ),
    ],
    model: ModelOption = "starter:mitosis",
    overlap: OverlapOption = None,
    tile_overlap: TileOverlapOption = None,
    pattern: PatternOption = None,
    channel: ChannelOption = None,
    z: ZOption = "each",
    pixel_size: PixelSizeOption = None,
    int8: Int8Option = None,
    skip_empty: SkipEmptyOption = False,
    executor: ExecutorOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Detect in images and scans without Label Studio; a classifier says what each image shows."""
    from ml_backend.dataset.annotation_formats.formats import choose_format
    from ml_backend.learners.kinds import finds_objects
    from ml_backend.registry.resolve import is_int8
    from tasks.detection.detect_files import detect as run

    # Checked first, because loading a starter takes some seconds.
    if not source.exists():
        raise FileNotFoundError(f"{source}: there is no such file or folder")
    choose_format(out)
    source_options = parse_source_options(pattern, channel, z, tile_overlap, pixel_size)
    detector, version, folder = _load_model(context, model, int8)
    if not finds_objects(detector):
        from tasks.detection.scan_classifier import refuse_detector_options

        refuse_detector_options(
            overlap=overlap is not None,
            tile_overlap=tile_overlap is not None,
            pattern=pattern is not None,
            int8=bool(int8),
            skip_empty=skip_empty,
            executor=executor == "ray",
        )
        _classify(source, detector, out, version, source_options, as_json)
        return
    cluster = folder if executor == "ray" else None
    with console.show_progress("Detecting") as bar:
        summary = run(
            source, detector, out, version, bar, source_options, overlap, cluster, skip_empty
        )
    if is_int8(folder):
        from tasks.detection.quantize import describe_agreement

        summary["notes"].append(describe_agreement(folder))
    console.print_and_exit(
        summary,
        as_json=as_json,
        lines=lambda: [
            f"{format_count(summary['detections'], 'detection')} on "
            f"{format_count(summary['tiles'], 'image')} in "
            f"{summary['seconds']:.1f} s ({summary['tiles_per_second']:.1f} a second) "
            f"by {version}, in {out}",
            *_describe_empty_windows(summary["emptied"]),
            *summary["notes"],
        ],
    )


def _classify(
    source: Path, model: Model, out: Path, version: str, options: SourceOptions, as_json: bool
) -> None:
    from tasks.detection.classify_files import classify
    from tasks.exchange.choice_files import check_format

    check_format(out)
    with console.show_progress("Classifying") as bar:
        summary = classify(source, model, out, version, bar, options)
    console.print_and_exit(
        summary,
        as_json=as_json,
        lines=lambda: [
            f"{format_count(summary['images'], 'image')} in {summary['seconds']:.1f} s "
            f"({summary['images_per_second']:.1f} a second) by {version}, in {out}",
            *(f"{count:7}  {name}" for name, count in summary["classes"].items()),
            *summary["notes"],
        ],
    )


@app.command(epilog="Example: cytoloop scan my_scan --project 1 --tile-overlap 96")
def scan(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A folder of tiles, a mosaic or a z-stack.")],
    project: Annotated[int, typer.Option(help="The connected project that gets the tasks.")],
    send: Annotated[
        Literal["review", "found", "all"],
        typer.Option(
            help="found; review: also what was nearly found and 2 % of the rest, by lot; or all."
        ),
    ] = "review",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Send at most so many tasks, the first of the queue.")
    ] = None,
    tile: Annotated[
        int, typer.Option(min=64, help="Cut larger images into tasks of up to so many px a side.")
    ] = 1024,
    overlap: OverlapOption = None,
    tile_overlap: TileOverlapOption = None,
    pattern: PatternOption = None,
    channel: ChannelOption = None,
    z: ZOption = "each",
    pixel_size: PixelSizeOption = None,
    int8: Int8Option = None,
    skip_empty: SkipEmptyOption = False,
    goal: GoalOption = None,
    executor: ExecutorOption = "local",
    store: Annotated[
        str | None,
        typer.Option(
            help="Lay the tasks' images into a bucket that Label Studio shows, "
            "such as s3://bucket/folder, not the media folder."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Detect in a whole scan and send what deserves a look to a project, pre-annotated.

    In a project of choices its tiles are classified in place of that.

    Stop it whenever you like: the same command goes on where it was, and no task comes twice.
    """
    from tasks.review.scan_to_project import Options
    from tasks.review.scan_to_project import scan as run

    source_options = parse_source_options(pattern, channel, z, tile_overlap, pixel_size)
    options = Options(
        send, limit, tile, overlap, source_options, executor, store, int8, skip_empty, goal
    )
    try:
        with console.show_progress("Scanning") as bar:
            summary = run(source, project, console.load_settings(context), options, bar)
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command goes on where it was.", err=True)
        raise typer.Exit(130) from None
    console.print_and_exit(
        summary,
        as_json=as_json,
        lines=lambda: [
            f"{_describe_found(summary)} in "
            f"{summary['seconds']:.1f} s ({summary['tiles_per_second']:.1f} a second) "
            f"by {summary['model']}",
            _describe_upload(summary["sent"], summary["known"], project),
            *_describe_empty_windows(summary["emptied"]),
            *summary["notes"],
        ],
    )


def _describe_empty_windows(counts: dict[str, int]) -> list[str]:
    from tasks.detection.background_filter import EmptyWindows

    return [words] if (words := EmptyWindows(**counts).describe()) else []


def _describe_found(summary: Summary) -> str:
    tiles = format_count(summary["tiles"], "tile")
    if summary["detections"] is not None:
        return f"{format_count(summary['detections'], 'detection')} on {tiles}"
    counts = ", ".join(f"{count} {name}" for name, count in summary["classes"].items())
    return f"{tiles} ({counts or 'none read'})"


def _describe_upload(sent: int, known: int, project: int) -> str:
    if not sent and not known:
        return "Nothing was found, so nothing was sent."
    there = f"; {known} there already" if known else ""
    return f"{format_count(sent, 'task')} sent to project {project}{there}."


@app.command(epilog="Example: cytoloop sort my_images --out sorted")
def sort(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="An image, a scan, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="A new folder, for the sorted images.")],
    model: ModelOption = "starter:mitosis",
    by_class: Annotated[
        bool, typer.Option("--by-class", help="A folder for each class, also for stages.")
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Link to the images in place of copying them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Sort images into folders by what they hold: Chromosomes (whole, partial) and Others.

    With a classifier, into a folder for each of its classes.
    """
    from ml_backend.learners.kinds import finds_objects
    from tasks.detection.sort_images import TABLE, ChoiceSorter, ObjectSorter, check_folders
    from tasks.detection.sort_images import sort as run

    check_folders(source, out)
    loaded, version, _ = _load_model(context, model)
    sorter = ObjectSorter(loaded, by_class) if finds_objects(loaded) else ChoiceSorter(loaded)
    with console.show_progress("Sorting") as bar:
        result = run(source, sorter, out, version, link=link, progress=bar)
    console.print_and_exit(
        result,
        as_json=as_json,
        lines=lambda: [
            f"{format_count(result['images'], 'image')} sorted by {version}; "
            f"{out / TABLE} lists them",
            *(f"{count:7}  {out / folder}" for folder, count in result["folders"].items()),
        ],
    )


@app.command(epilog="Example: cytoloop crop my_spreads --out chromosomes --largest 120")
def crop(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="An image, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="A new folder, for the crops and their table.")],
    by: Annotated[
        str,
        typer.Option(
            help="What finds the objects: contours, marks (the folder's annotations), or a model."
        ),
    ] = "contours",
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Contours: of its crop that an object fills.")
    ] = 0.08,
    smallest: Annotated[
        float, typer.Option(min=1, help="Contours: longest side of an object at least, px.")
    ] = 10,
    largest: Annotated[
        float | None, typer.Option(min=1, help="Contours: longest side of an object at most, px.")
    ] = None,
    tone: Annotated[
        bool, typer.Option("--tone", help="Set the tone of each image; the next five say to what.")
    ] = False,
    mean: Annotated[float, typer.Option(help="Tone: mean grey value.")] = 90,
    deviation: Annotated[float, typer.Option(help="Tone: its standard deviation.")] = 16,
    contrast: Annotated[float, typer.Option(help="Tone: factor after that.")] = 3,
    brightness: Annotated[float, typer.Option(help="Tone: added after the factor.")] = 30,
    gamma: Annotated[float, typer.Option(help="Tone: power of the share of white.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Cut images into one image an object, such as spreads into chromosomes, with a table.

    The new folder can be imported (up --images) or learned from (train --dataset) as it is.
    """
    from ml_backend.dataset.folder import IMAGE_LABELS
    from ml_backend.imaging.contours import ContourRule
    from ml_backend.imaging.tone import Tone
    from ml_backend.learners.kinds import require_detector
    from tasks.detection.crop_objects import (
        ContourCutter,
        Cutter,
        DetectorCutter,
        MarkCutter,
        crop_objects,
    )
    from tasks.detection.sort_images import check_folders

    check_folders(source, out)
    setting = Tone(mean, deviation, contrast, brightness, gamma) if tone else None
    cutter: Cutter
    if by == "contours":
        cutter = ContourCutter(ContourRule(share, smallest, largest))
    elif by == "marks":
        cutter = MarkCutter()
    else:
        cutter = DetectorCutter(require_detector(_load_model(context, by)[0]))
    with console.show_progress("Cutting") as bar:
        summary = crop_objects(source, cutter, out, setting, bar)
    console.print_and_exit(
        {**summary},
        as_json=as_json,
        lines=lambda: [
            f"{format_count(summary['crops'], 'object')} cut out of "
            f"{format_count(summary['images'], 'image')} by {by}; {out / IMAGE_LABELS} lists them",
        ],
    )


@app.command(epilog="Example: cytoloop quantize my_tiles --model starter:mitosis")
def quantize(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="Tiles as they will be scanned, 1,100 or more.")],
    model: ModelOption = "starter:mitosis",
    pattern: PatternOption = None,
    channel: ChannelOption = None,
    z: ZOption = "each",
    pixel_size: PixelSizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a version's INT8 form: faster on CPUs, used by scan and detect from then on.

    It is fitted to some of your tiles and kept only if it finds the same in 1,000 others.
    """
    from ml_backend.registry.versions import Registry
    from tasks.detection.quantize import describe_result
    from tasks.detection.quantize import quantize as run

    source_options = parse_source_options(pattern, channel, z, None, pixel_size)
    folder, version = _find_version(context, model)
    with console.show_progress("Comparing") as bar:
        result = run(source, folder, bar, source_options)
    Registry.open(console.load_settings(context)).publish(version)
    try:
        console.print_and_exit(
            {"model": version, **result},
            as_json=as_json,
            lines=lambda: describe_result(version, result),
        )
    except typer.Exit:  # for what was left out; that it was refused matters more
        if result["accepted"]:
            raise
    if not result["accepted"]:
        raise typer.Exit(1)


def _find_version(
    context: typer.Context, model: str, int8: bool | None = False
) -> tuple[Path, str]:
    """The folder of a version's files, and its name."""
    from ml_backend.registry import resolve
    from ml_backend.registry.versions import Registry

    settings = console.load_settings(context)
    registry = Registry.open(settings)
    version = resolve.resolve_model(model, registry).name
    return resolve.find_form(version, registry, int8), version


def _load_model(
    context: typer.Context, model: str, int8: bool | None = False
) -> tuple[Model, str, Path]:
    """A version ready to predict, its name, and the folder of its files."""
    from ml_backend.learners.kinds import load_model

    folder, version = _find_version(context, model, int8)
    return load_model(folder), version, folder
