"""The page of a report: HTML with everything in it, to be sent or printed as one file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tasks.reports.counts import Count, Field, Thing
from tasks.reports.mitotic_index import Index
from tasks.reports.source import Source


@dataclass(frozen=True)
class Thumb:
    """An object by itself. name: of its image. content: a JPEG."""

    number: int
    name: str
    reviewed: bool
    thing: Thing
    content: bytes


@dataclass(frozen=True)
class Overview:
    field: Field
    content: bytes


@dataclass
class Pictures:
    """What is shown on the page, and the files that hold all of it.

    thumbs: by class, the first ones; of: how many of each class there are. left_out: how
    many images or scans have no overview.
    """

    overviews: list[Overview] = field(default_factory=list)
    thumbs: dict[str, list[Thumb]] = field(default_factory=dict)
    of: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    files: list[Path] = field(default_factory=list)


def render(
    result: dict[str, Any],
    source: Source,
    rows: Sequence[Count],
    found: Sequence[Index],
    pictures: Pictures,
) -> str:
    """result: what the report says, as its JSON has it."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.lstrip_blocks = True
    environment.filters["data"] = _data
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    text = (files("tasks.reports") / "page.html").read_text(encoding="utf-8")
    scans = list(dict.fromkeys(row.scan for row in rows)) or list(
        dict.fromkeys(one.scan for one in source.fields)
    )
    return environment.from_string(text).render(
        report=result,
        source=source,
        scans=scans,
        counts={(row.scan, row.label): row for row in rows},
        totals=_totals(rows, source.classes),
        indices=found,
        pictures=pictures,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
    )


def _totals(rows: Sequence[Count], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    names = ("reviewed", "pre_annotated", "submitted", "detected", "partial")
    return {
        label: {n: sum(getattr(row, n) for row in rows if row.label == label) for n in names}
        for label in classes
    }


def _data(content: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
