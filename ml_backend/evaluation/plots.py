"""A version's figures plotted in one picture, curves.png, in the version's folder.

The picture is made from the figures alone, so that of any version can be made again. matplotlib
is imported only where it plots: servers do not load it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_backend.evaluation.confusion import BACKGROUND, MISSED
from ml_backend.system.atomic_files import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

FILE_NAME = "curves.png"

# Okabe and Ito's colours, which colour-blind people can tell apart.
VERSION_COLOUR, CHAMPION_COLOUR, GREY = "#0072B2", "#D55E00", "#999999"

MANY_CLASSES = 8  # of a confusion matrix; with more its columns are narrow and zeros left out
DARK = 0.75  # share from which a cell is so dark that black cannot be read on it

# The figures of a version, as its `to_json` gives them.
Plain = dict[str, Any]


def plot_figures(
    path: Path, name: str, figures: Plain, other: str = "", before: Plain | None = None
) -> None:
    """Plot a version's figures, together with those of the champion at the time, into a file.

    Args:
        path: The PNG file to write; it is replaced as a whole.
        name: The version's name.
        figures: Its figures.
        other: The champion's name.
        before: The champion's figures on the same tasks, where there was one.
    """
    canvas = make_canvas(name, figures, other, before)
    with replace_file(path) as temporary:
        canvas.savefig(temporary, format="png", dpi=110)


def make_canvas(name: str, figures: Plain, other: str = "", before: Plain | None = None) -> Canvas:
    """Plot on a matplotlib figure; see `plot_figures` for the arguments.

    Returns:
        The figure. Its axes are, of a detector: precision and recall, FROC, calibration,
        confusion matrix, and the last two of the choices of boxes, where there are any; of a
        classifier: calibration and confusion matrix.
    """
    from matplotlib.figure import Figure as Canvas

    sides = [(name, figures, VERSION_COLOUR)] + (
        [(other, before, CHAMPION_COLOUR)] if before else []
    )
    panels: list[Callable[[Axes], None]] = [
        lambda axes: _plot_calibration(axes, sides),
        lambda axes: _plot_confusion(axes, figures["confusion"]),
    ]
    if "precision_recall" in figures:  # only of boxes
        panels = [
            lambda axes: _plot_precision_recall(axes, sides),
            lambda axes: _plot_froc(axes, sides),
            *panels,
        ]
    chosen = figures.get("region_choices") or {}
    if chosen.get("items"):  # what boxes were called beside their label
        of_choices = [
            (title, side["region_choices"], colour)
            for title, side, colour in sides
            if "region_choices" in side
        ]
        panels += [
            lambda axes: _plot_calibration(axes, of_choices, "Choices of boxes: calibration"),
            lambda axes: _plot_confusion(axes, chosen["confusion"], "Choices of boxes"),
        ]
    rows = len(panels) // 2
    height = 5.5 if len(figures["confusion"]) > MANY_CLASSES else 4.25
    canvas = Canvas(figsize=(11, height * rows), layout="constrained")
    for panel, axes in zip(panels, canvas.subplots(rows, 2, squeeze=False).flat, strict=True):
        panel(axes)
    f1 = "undefined" if figures["f1"] is None else f"{figures['f1']:.3f}"
    canvas.suptitle(
        f"{name}: F1 {f1} on {figures['images']} images of {figures['groups']} groups",
        fontsize="large",
    )
    return canvas


def _plot_precision_recall(axes: Axes, sides: list[tuple[str, Plain, str]]) -> None:
    for name, figures, colour in sides:
        points = figures["precision_recall"]
        recall, precision = ([point[key] for point in points] for key in ("recall", "precision"))
        ap = figures["ap50"]
        label = name if ap is None else f"{name}, AP50 {ap:.3f}"
        axes.plot(recall, precision, color=colour, label=label)
    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision")
    _set_unit_range(axes, both=True)
    axes.legend(loc="best", fontsize="small")


def _plot_froc(axes: Axes, sides: list[tuple[str, Plain, str]]) -> None:
    for _, figures, colour in sides:
        known = [point for point in figures["froc"] if point["sensitivity"] is not None]
        rates = [point["false_an_image"] for point in known]
        axes.plot(rates, [p["sensitivity"] for p in known], "o-", color=colour, markersize=4)
        ranges = [point["sensitivity_interval"] for point in known]
        if known and all(ranges):
            low, high = zip(*ranges, strict=True)
            axes.fill_between(rates, low, high, color=colour, alpha=0.15, linewidth=0)
    ticks = {1 / 8: "1/8", 1 / 4: "1/4", 1 / 2: "1/2", 1: "1", 2: "2", 4: "4", 8: "8"}
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set(
        title="Found at so many wrong boxes (shaded: 95 % interval)",
        xlabel="wrong boxes an image",
        ylabel="sensitivity",
    )
    _set_unit_range(axes)


def _plot_calibration(
    axes: Axes,
    sides: list[tuple[str, Plain, str]],
    title: str = "Does a confidence mean what it says? (larger: more of them)",
) -> None:
    axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="what it should be")
    for name, figures, colour in sides:
        bins = figures["calibration"]["bins"]
        most = max((bin_["boxes"] for bin_ in bins), default=1)
        sizes = [20 + 120 * bin_["boxes"] / most for bin_ in bins]
        confidence, right = ([bin_[key] for bin_ in bins] for key in ("confidence", "right"))
        dots = axes.scatter(confidence, right, s=sizes, color=colour, alpha=0.7, linewidth=0)
        dots.set(label=name, clip_on=False)
    axes.set(
        title=title,
        xlabel="confidence",
        ylabel="share that is right",
    )
    _set_unit_range(axes, both=True)
    axes.legend(loc="upper left", fontsize="small")


def _plot_confusion(
    axes: Axes, counts: dict[str, dict[str, int]], title: str = "What was taken for what"
) -> None:
    rows, columns = list(counts), list(next(iter(counts.values())))
    # Shares of the true class, so that a rare class shows as well as a common one.
    shares = [
        [number / max(sum(counts[row].values()), 1) for number in counts[row].values()]
        for row in rows
    ]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
    many = len(columns) > MANY_CLASSES
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            number = counts[row][column]
            if (row, column) != (BACKGROUND, MISSED) and (number or not many):
                colour = "white" if shares[y][x] > DARK else "black"
                size = "x-small" if many else "medium"
                axes.text(x, y, str(number), ha="center", va="center", color=colour, size=size)
    # Names under a narrow column are read upwards, so that none covers its neighbour.
    turn = 90 if many else 20 if len(columns) > 4 else 0
    axes.set_xticks(range(len(columns)), columns, rotation=turn, fontsize="small")
    axes.set_yticks(range(len(rows)), rows, fontsize="small")
    axes.set(title=title, xlabel="predicted", ylabel="marked")


def _set_unit_range(axes: Axes, both: bool = False) -> None:
    axes.set_ylim(-0.02, 1.02)
    if both:
        axes.set_xlim(-0.02, 1.02)
    axes.grid(alpha=0.25)
