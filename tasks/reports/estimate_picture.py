"""The picture of an estimate: each number with its intervals, what was counted, what is claimed."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from ml_backend.counting.estimates import Figure, ProjectCount

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 40  # figures in the picture; the table has all

ESTIMATE, COUNTED, CLAIMED = "#0072B2", "#1f2328", "#D55E00"


def draw_estimates(count: ProjectCount) -> bytes | None:
    """Draw the figures of a count as a PNG: numbers on the left, shares on the right.

    Args:
        count: The estimates.

    Returns:
        The file's content; None where nothing has an interval yet.
    """
    from matplotlib.figure import Figure as Canvas

    known = [figure for figure in count.figures if np.all(np.isfinite(figure.estimate.interval))]
    known = known[:MOST]
    kinds = [
        (title, figures)
        for title, kind in (("objects in all images", "count"), ("share, %", "share"))
        if (figures := [figure for figure in known if figure.kind == kind])
    ]
    if not kinds:
        return None
    longest = max(len(figures) for _, figures in kinds)
    size = 4.6 * len(kinds) + 2.4, 2.0 + 0.5 * longest
    canvas = Canvas(figsize=size, layout="constrained")
    axes = canvas.subplots(1, len(kinds), squeeze=False)[0]
    for place, (title, figures) in zip(axes, kinds, strict=True):
        _draw_axes(place, title, figures)
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, frameon=False, loc="outside lower center", ncols=1 + len(kinds))
    content = BytesIO()
    canvas.savefig(content, format="png", dpi=110)
    return content.getvalue()


def _draw_axes(axes: Axes, title: str, figures: Sequence[Figure]) -> None:
    rows = np.arange(len(figures))
    scale = 100 if figures[0].kind == "share" else 1
    for name, width, label in (
        ("sequence", 1.5, "95 %, whenever you stop"),
        ("interval", 6, "95 %, for a fixed number of images"),
    ):
        limits = scale * np.array([getattr(figure.estimate, name) for figure in figures])
        axes.hlines(rows, *limits.T, lw=width, color=ESTIMATE, alpha=0.55, label=label)
    values = scale * np.array([float(figure.estimate.value) for figure in figures])
    counted = scale * np.array([float(figure.estimate.counted) for figure in figures])
    claimed = [(row, f.naive) for row, f in zip(rows, figures, strict=True) if f.naive is not None]
    axes.plot(values, rows, "o", color=ESTIMATE, label="estimate")
    axes.plot(counted, rows, "|", ms=14, mew=2, color=COUNTED, label="on the reviewed images")
    if claimed:
        places, naive = zip(*claimed, strict=True)
        axes.plot(naive, places, "x", color=CLAIMED, label="the detector's claims, added up")
    names = [f"{figure.what}{f' in {figure.sample}' * bool(figure.sample)}" for figure in figures]
    axes.set_yticks(rows, names)
    axes.set(xlabel=title, xlim=(0, None), ylim=(len(figures) - 0.5, -0.5))
    axes.spines[["top", "right"]].set_visible(False)
