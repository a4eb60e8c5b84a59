"""Numbers and times as the pages write them; the filters of the templates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ml_backend.system.plurals import format_count


def format_percent(share: float | None) -> str:
    """Write a share (0..1) in percent; "–" where it is not known."""
    return "–" if share is None else f"{100 * share:.0f} %"


def format_figure(value: float | None) -> str:
    """Write a figure with three digits; "–" where it is not known."""
    return "–" if value is None else f"{value:.3f}"


def format_interval(interval: Any) -> str:
    """Write a 95 % interval; "–" where there is none."""
    return f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else "–"


def format_time(at: float | None) -> str:
    """Write a moment (seconds since 1970) in local time; "–" where it is not known."""
    return "–" if at is None else datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")


def format_duration(seconds: float | None) -> str:
    """Write a time as a person says it; "" where it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


FILTERS: dict[str, Callable[..., Any]] = {
    "percent": format_percent,
    "figure": format_figure,
    "interval": format_interval,
    "moment": format_time,
    "duration": format_duration,
    "count": lambda number, noun: format_count(number, noun),
}
