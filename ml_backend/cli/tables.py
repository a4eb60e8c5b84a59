"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from ml_backend.cli.words import counted


def figures(result: dict[str, Any]) -> RenderableType:
    """The figures of a model on a labelled folder."""
    title = f"{result['model']} on {counted(result['images'], 'image')}"
    whole = Table(title=title, title_justify="left")
    whole.add_column("figure")
    whole.add_column("value", justify="right")
    whole.add_column("95 % interval")
    for name, value in result.items():
        if f"{name}_interval" in result:
            whole.add_row(_title(name), number(value), interval(result, name))
    classes = Table(title="by class", title_justify="left")
    names = ("precision", "recall", "f1", "ap50")
    for column in ("class", *names):
        classes.add_column(_title(column), justify="left" if column == "class" else "right")
    for name, one in result["classes"].items():
        classes.add_row(name, *(number(one.get(column)) for column in names))
    seen = result["trained_on"]
    return Group(
        whole,
        *_other_matters(result),
        *([f"It was trained on {seen} of these images, which flatters it."] if seen else []),
        classes,
        _images(result["image_table"]),
        _stages(result["stage_table"]),
        _confusion(result["confusion"]),
        *_curves(result),
        *skipped(result["skipped"]),
    )


def _other_matters(result: dict[str, Any]) -> list[str]:
    """A line where what is marked is nothing that the detector is about."""
    marked = [name for name, one in result["classes"].items() if one["truths"]]
    if not marked or set(marked) & set(result["headline"]):
        return []
    about = " or ".join(result["headline"])
    return [f"No {about}, which this detector is about, is marked here, only {', '.join(marked)}."]


_TITLES = {"f1": "F1", "ap50": "AP50", "ap50_95": "AP50-95"}


def _title(name: str) -> str:
    """A figure's name as papers write it."""
    return _TITLES.get(name) or name.replace("_", " ")


def _images(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="images by what they show", title_justify="left")
    for column in ("shows", "images", "called", "right", "95 % interval"):
        table.add_column(column, justify="left" if column == "shows" else "right")
    for row in rows:
        counts = (str(row["images"]), str(row["called"]), number(row["accuracy"]))
        table.add_row(row["shows"], *counts, interval(row, "accuracy"))
    return table


def _stages(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="boxes by class", title_justify="left")
    counts = ("marked", "right", "other", "missed")
    for column in ("class", *counts, "accuracy", "95 % interval"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for row in rows:
        cells = (str(row[name]) for name in counts)
        table.add_row(row["stage"], *cells, number(row["accuracy"]), interval(row, "accuracy"))
    return table


def _confusion(counts: dict[str, dict[str, int]]) -> Table:
    table = Table(title="what was taken for what", title_justify="left")
    table.add_column("marked ↓ drawn →")
    for column in next(iter(counts.values())):
        table.add_column(column, justify="right")
    for true, row in counts.items():
        blank = true == "background"  # background that is missed is nothing
        cells = ["" if blank and name == "missed" else str(n) for name, n in row.items()]
        table.add_row(true, *cells)
    return table


def _curves(result: dict[str, Any]) -> list[str]:
    """Nothing where there was nothing to find."""
    if all(point["sensitivity"] is None for point in result["froc"]):
        return []
    wrong = [str(Fraction(point["false_an_image"])) for point in result["froc"]]
    found = [number(point["sensitivity"]) for point in result["froc"]]
    error = number(result["calibration"]["error"])
    centres = result["centres"]
    names = ("precision", "recall", "f1")
    rates = ", ".join(f"{_title(name)} {number(centres[name])}" for name in names)
    return [
        f"sensitivity at {', '.join(wrong)} false boxes an image: {', '.join(found)}",
        f"calibration: confidences are off by {error} on average",
        *([f"by centres within {centres['radius']:.0f} px: {rates}"] if centres["radius"] else []),
        *_microns(result["microns"]),
    ]


def _microns(result: dict[str, Any]) -> list[str]:
    """Nothing where no pixel size is known."""
    if not result["images"]:
        return []
    wrong = ", ".join(f"{point['false_a_mm2']:g}" for point in result["froc"])
    found = ", ".join(number(point["sensitivity"]) for point in result["froc"])
    names = ("precision", "recall", "f1")
    rates = ", ".join(f"{_title(name)} {number(result[name])}" for name in names)
    lines = [f"by centres within {result['radius']:g} µm, on {result['images']} images: {rates}"]
    if result["area_mm2"]:
        area = f"{result['area_mm2']:.3g} mm²"
        lines.append(f"sensitivity at {wrong} false boxes a mm², on {area}: {found}")
    return lines


def corrections(result: dict[str, Any]) -> RenderableType:
    """What annotators changed, by version and label."""
    unaided = result["started_from_nothing"]
    many = "annotation" if unaided == 1 else "annotations"
    note = [f"{unaided} {many} started from nothing"] if unaided else []
    if not result["versions"]:
        return Group("no corrections yet: no submitted task started from a pre-annotation", *note)
    whole = Table(title=f"corrections in project {result['project']}", title_justify="left")
    whole.add_column("version", no_wrap=True)  # to be copied
    for column in ("tasks", "accepted", "edits an image", "seconds an image"):
        whole.add_column(column, justify="right")
    classes = Table(title="by label as it was shown", title_justify="left")
    names = ("kept", "moved", "relabelled", "added", "deleted")
    for column in ("version", "label"):
        classes.add_column(column, overflow="fold")
    for column in names:
        classes.add_column(column, justify="right", no_wrap=True)
    for one in result["versions"]:
        seconds = one["seconds_per_image"]
        whole.add_row(
            one["version"],
            str(one["tasks"]),
            str(one["accepted"]),
            f"{one['edits_per_image']:.1f}",
            "-" if seconds is None else f"{seconds:.0f}",
        )
        for label, counts in one["classes"].items():
            classes.add_row(one["version"], label, *(str(counts[name]) for name in names))
    return Group(whole, classes, *note)


def agreement(result: Mapping[str, Any]) -> list[str]:
    """How far several annotators agree, where there are any."""
    if not result["several_annotators"]:
        return []
    return [
        f"{result['several_annotators']} images have several annotators, who agree to "
        f"{result['agreement']:.1%}; of their boxes count: {result['annotators']}"
    ]


def versions(rows: Iterable[dict[str, Any]]) -> RenderableType:
    """The versions, one a row."""
    table = Table()
    for column in ("project", "version", "champion", "created", "F1"):
        table.add_column(column, no_wrap=column == "version")
    for row in rows:
        table.add_row(
            row["project"],
            row["version"],
            "yes" if row["champion"] else "",
            day(row["created"]),
            number(row["f1"]),
        )
    return table if table.row_count else "no versions yet; cytoloop train makes one"


_KINDS = {
    "held_out": "F1, held out",
    "blind": "F1, held out, blind",
    "pre_annotated": "F1, held out, shown boxes",
}


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
    if card["input_um"]:
        size = card["input_um"] * card["scale"]
        table.add_row("learned from images of", f"{size:.3g} µm a pixel (the median)")
    table.add_row("images it or an ancestor saw", str(len(result["seen_hashes"])))
    table.add_row("F1 on tasks it did not see", number(result["figures"].get("f1")))
    for project, one in sorted(result["figures"].get("usefulness", {}).items()):
        said = f"{one['edits_per_image']:.2f}, in {one['tasks']} tasks of project {project}"
        table.add_row("edits a task", said)
    if "watch" in result["figures"]:
        table.add_row("after its promotion", result["figures"]["watch"]["said"])
    if decision:
        said = "promoted" if decision["promoted"] else "not promoted"
        said += ", provisionally" if decision.get("provisional") else ""
        table.add_row("decision", said)
        apart = decision.get("apart", {})
        for kind in (kind for kind in _KINDS if kind in apart):
            one = apart[kind]
            on = f"{number(one['f1'])} on {one['tasks']} {'task' if one['tasks'] == 1 else 'tasks'}"
            if one["champion_f1"] is not None:
                on += f", the champion's {number(one['champion_f1'])}"
            table.add_row(_KINDS[kind], on)
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
