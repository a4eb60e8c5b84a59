"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ml_backend.system.plurals import format_count


def render_figures(result: dict[str, Any]) -> RenderableType:
    """Lay out the figures of a model on a labelled folder.

    Args:
        result: What `cytoloop evaluate --json` prints.
    """
    title = f"{result['model']} on {format_count(result['images'], 'image')}"
    if result.get("items", result["images"]) != result["images"]:
        title += f", {format_count(result['items'], 'box')}"
    whole = Table(title=title, title_justify="left")
    whole.add_column("figure")
    whole.add_column("value", justify="right")
    whole.add_column("95 % interval")
    for name, value in result.items():
        if f"{name}_interval" in result:
            whole.add_row(_title(name), format_number(value), format_interval(result, name))
    classes = Table(title="by class", title_justify="left")
    boxed = "image_table" in result
    names = ("precision", "recall", "f1", *(("ap50",) if boxed else ()))
    for column in ("class", *names):
        classes.add_column(_title(column), justify="left" if column == "class" else "right")
    for name, rates in result["classes"].items():
        classes.add_row(name, *(format_number(rates.get(column)) for column in names))
    seen = result["trained_on"]
    return Group(
        whole,
        *_warn_of_other_classes(result),
        *([f"It was trained on {seen} of these images, which flatters it."] if seen else []),
        classes,
        *([_lay_out_images(result["image_table"])] if boxed else []),
        *([_lay_out_stages(result["stage_table"])] if boxed else []),
        _lay_out_confusion(result["confusion"]),
        *_lay_out_choices(result.get("region_choices")),
        *_lay_out_beside(result),
        *(_describe_curves(result) if boxed else []),
        *list_skipped(result["skipped"]),
    )


def _lay_out_choices(choices: dict[str, Any] | None) -> list[RenderableType]:
    """What was chosen of the boxes that were found; nothing where nothing was to be chosen."""
    if not choices or not choices["items"]:
        return []
    table = Table(
        title=f"choices of {format_count(choices['items'], 'box')} that were found",
        title_justify="left",
    )
    names = ("precision", "recall", "f1")
    for column in ("choice", *names):
        table.add_column(_title(column), justify="left" if column == "choice" else "right")
    for name, rates in choices["classes"].items():
        table.add_row(name, *(format_number(rates[column]) for column in names))
    balanced = format_number(choices["balanced_accuracy"])
    return [table, f"Balanced accuracy of the choices: {balanced}."]


def _lay_out_beside(result: dict[str, Any]) -> list[RenderableType]:
    """A classifier beside what a detector's boxes say; nothing where no detector was asked."""
    beside = result.get("beside")
    if not beside:
        return []
    title = f"the same images by the boxes of {beside['model']}"
    table = Table(title=title, title_justify="left")
    for column in ("figure", "classifier", "detector", "difference", "95 % interval"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    gap = beside["difference"]
    for name in ("accuracy", "balanced_accuracy"):
        values = (result[name], beside[name], gap[name])
        table.add_row(_title(name), *map(format_number, values), format_interval(gap, name))
    seen = beside["trained_on"]
    flattered = [f"The detector was trained on {seen} of these images."] if seen else []
    return [table, *flattered]


def _warn_of_other_classes(result: dict[str, Any]) -> list[str]:
    """A line where nothing is marked that the detector is about."""
    marked = [name for name, rates in result["classes"].items() if rates["truths"]]
    if not marked or set(marked) & set(result["headline"]):
        return []
    about = " or ".join(result["headline"])
    return [f"No {about}, which this detector is about, is marked here, only {', '.join(marked)}."]


_TITLES = {
    "f1": "F1",
    "ap50": "AP50",
    "ap50_95": "AP50-95",
    "f1_with_choice": "F1 of boxes with their choice",
}


def _title(name: str) -> str:
    """The name of a figure as papers write it."""
    return _TITLES.get(name) or name.replace("_", " ")


def _lay_out_images(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="images by what they show", title_justify="left")
    for column in ("shows", "images", "called", "right", "95 % interval"):
        table.add_column(column, justify="left" if column == "shows" else "right")
    for row in rows:
        counts = (str(row["images"]), str(row["called"]), format_number(row["accuracy"]))
        table.add_row(row["shows"], *counts, format_interval(row, "accuracy"))
    return table


def _lay_out_stages(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="boxes by class", title_justify="left")
    counts = ("marked", "right", "other", "missed")
    for column in ("class", *counts, "accuracy", "95 % interval"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for row in rows:
        cells = (str(row[name]) for name in counts)
        table.add_row(
            row["stage"], *cells, format_number(row["accuracy"]), format_interval(row, "accuracy")
        )
    return table


def _lay_out_confusion(counts: dict[str, dict[str, int]]) -> Table:
    table = Table(title="what was taken for what", title_justify="left")
    table.add_column("marked ↓ drawn →")
    for column in next(iter(counts.values())):
        table.add_column(column, justify="right")
    for true, row in counts.items():
        blank = true == "background"  # background cannot be missed
        cells = ["" if blank and name == "missed" else str(n) for name, n in row.items()]
        table.add_row(true, *cells)
    return table


def _describe_curves(result: dict[str, Any]) -> list[str]:
    """Lines about the curves; none where there was nothing to find."""
    if all(point["sensitivity"] is None for point in result["froc"]):
        return []
    wrong = [str(Fraction(point["false_an_image"])) for point in result["froc"]]
    found = [format_number(point["sensitivity"]) for point in result["froc"]]
    error = format_number(result["calibration"]["error"])
    centres = result["centres"]
    names = ("precision", "recall", "f1")
    rates = ", ".join(f"{_title(name)} {format_number(centres[name])}" for name in names)
    return [
        f"sensitivity at {', '.join(wrong)} false boxes an image: {', '.join(found)}",
        f"calibration: confidences are off by {error} on average",
        *([f"by centres within {centres['radius']:.0f} px: {rates}"] if centres["radius"] else []),
        *_describe_physical_units(result["microns"]),
    ]


def _describe_physical_units(result: dict[str, Any]) -> list[str]:
    """Lines about figures in µm; none where no pixel size is known."""
    if not result["images"]:
        return []
    wrong = ", ".join(f"{point['false_a_mm2']:g}" for point in result["froc"])
    found = ", ".join(format_number(point["sensitivity"]) for point in result["froc"])
    names = ("precision", "recall", "f1")
    rates = ", ".join(f"{_title(name)} {format_number(result[name])}" for name in names)
    lines = [f"by centres within {result['radius']:g} µm, on {result['images']} images: {rates}"]
    if result["area_mm2"]:
        area = f"{result['area_mm2']:.3g} mm²"
        lines.append(f"sensitivity at {wrong} false boxes a mm², on {area}: {found}")
    return lines


_SIGNS = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}


def render_findings(rows: list[dict[str, Any]]) -> RenderableType:
    """Lay out what the doctor found: what is well in a line each, the rest with its mend.

    Args:
        rows: The findings that `cytoloop doctor --json` prints.
    """
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for column in ("severity", "check"):
        table.add_column(column, no_wrap=True)
    table.add_column("finding", overflow="fold")
    about: int | None = None
    for row in rows:
        if row["project"] != about:
            about = row["project"]
            table.add_row("", "", Text(f"project {about}", style="bold"))
        finding = Text(row["seen"])
        if row["mend"]:
            finding.append(f"\n→ {row['mend']}", style="bold")
        table.add_row(Text(row["severity"], style=_SIGNS[row["severity"]]), row["check"], finding)
    wrong = sum(row["severity"] in ("warning", "error") for row in rows)
    return Group(table, f"{format_count(wrong, 'finding')} to mend" if wrong else "All is well.")


def render_superfluous(rows: list[dict[str, Any]], *, removed: bool) -> RenderableType:
    """Lay out what goes from a data folder, by reason.

    Args:
        rows: The "items" of what `cytoloop tidy --json` prints.
        removed: It is gone; else it would go.
    """
    if not rows:
        return "Nothing may go."
    table = Table()
    for column in ("files", "MB", "why"):
        table.add_column(column, justify="left" if column == "why" else "right")
    for reason in dict.fromkeys(row["reason"] for row in rows):
        sizes = [row["bytes"] for row in rows if row["reason"] == reason]
        table.add_row(str(len(sizes)), f"{sum(sizes) / 1e6:.1f}", reason)
    total = sum(row["bytes"] for row in rows) / 1e6
    return Group(table, f"{total:.1f} MB {'are free now' if removed else 'would be free'}")


def render_corrections(result: dict[str, Any]) -> RenderableType:
    """Lay out what annotators changed, by version and label.

    Args:
        result: What `cytoloop report corrections --json` prints.
    """
    unaided = result["started_from_nothing"]
    note = [f"{format_count(unaided, 'annotation')} started from nothing"] if unaided else []
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
    for version in result["versions"]:
        seconds = version["seconds_per_image"]
        whole.add_row(
            version["version"],
            str(version["tasks"]),
            str(version["accepted"]),
            f"{version['edits_per_image']:.1f}",
            "-" if seconds is None else f"{seconds:.0f}",
        )
        for label, counts in version["classes"].items():
            classes.add_row(version["version"], label, *(str(counts[name]) for name in names))
    return Group(whole, classes, *note)


def describe_agreement(result: Mapping[str, Any]) -> list[str]:
    """Say in a line how far several annotators agree; no line where there is one annotator.

    Args:
        result: Holds "several_annotators", the number of images that have several; their
            mean "agreement", 0..1; and the policy "annotators".
    """
    if not result["several_annotators"]:
        return []
    return [
        f"{result['several_annotators']} images have several annotators, who agree to "
        f"{result['agreement']:.1%}; of their boxes count: {result['annotators']}"
    ]


def render_annotators(result: dict[str, Any]) -> RenderableType:
    """Lay out how far annotators agree.

    Args:
        result: What `cytoloop report agreement --json` prints.
    """
    again = _lay_out_repeats(result)
    if not result["tasks"]:
        none = "no task has several annotators yet; let two people annotate the same ones"
        return Group(none, *again)
    table = Table(
        title=f"{format_count(result['tasks'], 'task')} with several annotators",
        title_justify="left",
    )
    table.add_column("of")
    for column in ("judged", "alpha", "95 % interval"):
        table.add_column(column, justify="right")
    agreement, words = result["agreement"], []
    if agreement:
        rows = [("all", agreement["units"], agreement)]
        rows += [(name, "", part) for name, part in agreement["classes"].items()]
        rows += [(name, part["units"], part) for name, part in agreement["annotators"].items()]
        for name, judged, part in rows:
            alpha = format_number(part["alpha"])
            table.add_row(name, str(judged), alpha, format_interval(part, "alpha"))
        if agreement["alpha"] is None:
            words.append("alpha is about names, and all were given the same one")
    if result["boxes_f1"] is not None:
        words.append(
            "what is marked at all: the mean F1 of two people's boxes is "
            f"{format_number(result['boxes_f1'])}"
        )
    disputed = Table(title="disputed, those first that are open", title_justify="left")
    for column in ("task", "annotators", "why"):
        disputed.add_column(column, overflow="fold")
    for row in result["disputed"]:
        disputed.add_row(str(row["task"]), str(row["annotators"]), row["reason"])
    return Group(
        table, *words, *([disputed] if result["disputed"] else ["no task is disputed"]), *again
    )


def _lay_out_repeats(result: dict[str, Any]) -> list[RenderableType]:
    """What people answered twice; nothing where no task was repeated."""
    if not result.get("repeats"):
        return []
    table = Table(title="the same image twice", title_justify="left")
    table.add_column("of")
    for column in ("tasks", "F1 of boxes", "same names"):
        table.add_column(column, justify="right")
    for who, part in result["repeats"].items():
        f1, same = format_number(part["f1"]), format_number(part["same"])
        table.add_row(who, str(part["tasks"]), f1, same)
    return [table]


def render_versions(rows: Iterable[dict[str, Any]]) -> RenderableType:
    """Lay out versions, one a row.

    Args:
        rows: The "models" of what `cytoloop models list --json` prints.
    """
    table = Table()
    for column in ("project", "version", "champion", "created", "F1"):
        table.add_column(column, no_wrap=column == "version")
    for row in rows:
        table.add_row(
            row["project"],
            row["version"],
            "yes" if row["champion"] else "",
            format_time(row["created"]),
            format_number(row["f1"]),
        )
    return table if table.row_count else "no versions yet; cytoloop train makes one"


_KINDS = {
    "held_out": "F1, held out",
    "blind": "F1, held out, blind",
    "pre_annotated": "F1, held out, shown boxes",
}


def render_version(result: dict[str, Any]) -> RenderableType:
    """Lay out one version.

    Args:
        result: What `cytoloop models show --json` prints.
    """
    table = Table(title=result["name"], title_justify="left", show_header=False)
    table.add_column()
    table.add_column()
    card, decision = result["card"], result["decision"]
    table.add_row("project", result["project"])
    table.add_row("created", format_time(result["created"]))
    table.add_row("trained from", result["base"] or "-")
    if result["earlier"]:
        table.add_row("earlier version", result["earlier"])
    table.add_row("snapshot", result["snapshot"] or "-")
    table.add_row("classes", ", ".join(card["classes"]))
    table.add_row("threshold", format_number(card["threshold"]))
    if card["input_um"]:
        size = card["input_um"] * card["scale"]
        table.add_row("learned from images of", f"{size:.3g} µm a pixel (the median)")
    table.add_row("images it or an ancestor saw", str(len(result["seen_hashes"])))
    table.add_row("F1 on tasks it did not see", format_number(result["figures"].get("f1")))
    for project, edits in sorted(result["figures"].get("usefulness", {}).items()):
        mean = f"{edits['edits_per_image']:.2f}, in {edits['tasks']} tasks of project {project}"
        table.add_row("edits a task", mean)
    if "watch" in result["figures"]:
        table.add_row("after its promotion", result["figures"]["watch"]["said"])
    if decision:
        verdict = "promoted" if decision["promoted"] else "not promoted"
        verdict += ", provisionally" if decision.get("provisional") else ""
        table.add_row("decision", verdict)
        apart = decision.get("apart", {})
        for kind in (kind for kind in _KINDS if kind in apart):
            part = apart[kind]
            text = f"{format_number(part['f1'])} on {format_count(part['tasks'], 'task')}"
            if part["champion_f1"] is not None:
                text += f", the champion's {format_number(part['champion_f1'])}"
            table.add_row(_KINDS[kind], text)
        table.add_row("why", "\n".join(decision["reasons"]))
    return table


def list_skipped(entries: Iterable[Mapping[str, object]]) -> list[str]:
    """Say what was left out, a line each.

    Args:
        entries: Each with its "source" and the "reason".
    """
    return [f"left out: {entry['source']}: {entry['reason']}" for entry in entries]


def format_number(value: float | None) -> str:
    """Write a figure with three decimals, and a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def format_interval(result: dict[str, Any], name: str) -> str:
    """Write the 95 % interval of a figure; nothing where it has none.

    Args:
        result: Holds the interval under `<name>_interval`, as (low, high) or None.
        name: The figure.
    """
    bounds = result[f"{name}_interval"]
    return "" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def format_time(seconds: float) -> str:
    """Write a local date and time.

    Args:
        seconds: Since 1970; 0 for a starter, which was shipped and not trained here.
    """
    if not seconds:
        return "shipped"
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def render_simulation(result: dict[str, Any]) -> RenderableType:
    """Lay out a simulation.

    Args:
        result: What `cytoloop simulate --json` prints.
    """
    last = Table(title="after the last round", title_justify="left")
    columns = ("images", "boxes", "seconds", "F1", "AP50", "area", "seconds to 95 %")
    for column in ("strategy", *columns):
        last.add_column(column, justify="left" if column == "strategy" else "right")
    for name, strategy in result["strategies"].items():
        end = strategy["rounds"][-1]
        costs = (f"{end[cost]:.0f}" for cost in ("images", "boxes", "seconds"))
        enough = strategy["to_95"]["seconds"]
        last.add_row(
            name,
            *costs,
            *(format_number(value) for value in (end["f1"], end["ap50"], strategy["area"])),
            "not reached" if enough is None else f"{enough:.0f}",
        )
    paired = Table(title="mean F1 over the seconds, difference", title_justify="left")
    for column in ("strategy", "against", "difference", "95 % interval", "seeds"):
        paired.add_column(column)
    for row in result["differences"]:
        shown = (format_number(row["area"]), format_interval(row, "area"), str(row["seeds"]))
        paired.add_row(row["strategy"], row["against"], *shown)
    return Group(last, paired, f"curves: {result['folder']}", *list_skipped(result["skipped"]))
