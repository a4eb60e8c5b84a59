"""The page of a report: one HTML file with everything in it, to be sent or printed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tasks.reports.counts import Count, ImageGroup
from tasks.reports.mitotic_index import MitoticIndex
from tasks.reports.source import ReportSource


@dataclass(frozen=True)
class Thumbnail:
    """The picture of a single object.

    Attributes:
        number: Of the object, as in all tables.
        name: Of its image.
        reviewed: Whether a person submitted it.
        confidence: 0..1; None where a person submitted it.
        content: A JPEG.
    """

    number: int
    name: str
    reviewed: bool
    confidence: float | None
    content: bytes


@dataclass(frozen=True)
class Overview:
    """The picture of a whole group of images.

    Attributes:
        group: The group.
        content: A JPEG.
    """

    group: ImageGroup
    content: bytes


@dataclass
class Pictures:
    """The pictures on the page, and the files that hold all pictures.

    Attributes:
        overviews: In the order of the report.
        thumbnails: By class, the first ones.
        totals: By class, how many there are in the files.
        left_out: How many groups have no overview.
        files: The pictures as files.
        estimate: The picture of what all images together hold, a PNG; None where there is none.
    """

    overviews: list[Overview] = field(default_factory=list)
    thumbnails: dict[str, list[Thumbnail]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    files: list[Path] = field(default_factory=list)
    estimate: bytes | None = None


def render_page(
    result: dict[str, Any],
    source: ReportSource,
    rows: Sequence[Count],
    indices: Sequence[MitoticIndex],
    pictures: Pictures,
) -> str:
    """Render the page as HTML.

    Args:
        result: What the report says, as its JSON has it.
        source: What it is made of.
        rows: The counts.
        indices: The mitotic and phase indices.
        pictures: What is shown.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.lstrip_blocks = True
    environment.filters["data"] = _to_data_url
    environment.filters["number"] = _format_value
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    text = (files("tasks.reports") / "page.html").read_text(encoding="utf-8")
    scans = list(dict.fromkeys(row.scan for row in rows)) or list(
        dict.fromkeys(group.scan for group in source.groups)
    )
    return environment.from_string(text).render(
        report=result,
        source=source,
        scans=scans,
        counts={(row.scan, row.label): row for row in rows},
        totals=_add_up(rows, source.classes),
        indices=indices,
        pictures=pictures,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
    )


def _add_up(rows: Sequence[Count], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    names = ("reviewed", "pre_annotated", "submitted", "detected", "partial")
    return {
        label: {
            name: sum(getattr(row, name) for row in rows if row.label == label) for name in names
        }
        for label in classes
    }


def _to_data_url(content: bytes, kind: str = "jpeg") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _format_value(value: float | None, kind: str) -> str:
    """Write an estimated number, or a share of 0..1 in percent; a dash where it is not known."""
    if value is None:
        return "–"
    return f"{100 * value:.2f} %" if kind == "share" else f"{value:.0f}"
