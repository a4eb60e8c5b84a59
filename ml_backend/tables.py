"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table


def figures(result: dict[str, Any]) -> RenderableType:
    """The figures of a model on a labelled folder."""
    whole = Table(title=f"{result['model']} on {result['images']} images", title_justify="left")
    whole.add_column("figure")
    whole.add_column("value", justify="right")
    whole.add_column("95 % interval")
    for name, value in result.items():
        if f"{name}_interval" in result:
            whole.add_row(name.replace("_", " "), number(value), interval(result, name))
    classes = Table(title="by class", title_justify="left")
    names = ("precision", "recall", "f1", "ap50")
    for column in ("class", *names):
        classes.add_column(column, justify="left" if column == "class" else "right")
    for name, one in result["classes"].items():
        classes.add_row(name, *(number(one.get(column)) for column in names))
    return Group(whole, classes, *skipped(result["skipped"]))


def versions(rows: Iterable[dict[str, Any]]) -> RenderableType:
    """The versions, one a row."""
    table = Table()
    for column in ("project", "version", "champion", "created", "F1"):
        table.add_column(column)
    for row in rows:
        table.add_row(
            row["project"],
            row["version"],
            "yes" if row["champion"] else "",
            day(row["created"]),
            number(row["f1"]),
        )
    return table if table.row_count else "no versions yet; cytoloop train makes one"


def version(result: dict[str, Any]) -> RenderableType:
    """One version."""
    table = Table(title=result["name"], title_justify="left", show_header=False)
    table.add_column()
    table.add_column()
    card, decision = result["card"], result["decision"]
    table.add_row("project", result["project"])
    table.add_row("created", day(result["created"]))
    table.add_row("trained from", result["base"] or "-")
    table.add_row("snapshot", result["snapshot"] or "-")
    table.add_row("classes", ", ".join(card["classes"]))
    table.add_row("threshold", number(card["threshold"]))
    table.add_row("images it or an ancestor saw", str(len(result["seen_hashes"])))
    table.add_row("F1 on held-out tasks", number(result["figures"].get("f1")))
    if decision:
        table.add_row("decision", "promoted" if decision["promoted"] else "not promoted")
        table.add_row("why", "\n".join(decision["reasons"]))
    return table


def skipped(entries: Iterable[Mapping[str, object]]) -> list[str]:
    """What was left out, a line each."""
    return [f"left out: {entry['source']}: {entry['reason']}" for entry in entries]


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def interval(result: dict[str, Any], name: str) -> str:
    bounds = result[f"{name}_interval"]
    return "" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def day(seconds: float) -> str:
    """Local date and time of seconds since 1970; shipped starters have none."""
    if not seconds:
        return "shipped"
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
