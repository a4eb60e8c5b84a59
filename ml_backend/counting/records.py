"""What `cytoloop estimate` prints, as plain values and as lines for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from ml_backend.counting.advice import advise, choose_limits, describe_missing
from ml_backend.counting.estimates import Figure, ProjectCount
from ml_backend.estimation.estimate import Estimate
from ml_backend.estimation.prediction_powered import Refusal


def to_json(count: ProjectCount | Refusal) -> dict[str, Any]:
    """Convert a count, or why there is none, to the values of `cytoloop estimate --json`.

    Each of "estimates" has its "interval": the one that holds whenever people stop, or, as long as
    there is none, the classical one; "holds" says which it is. Numbers that are not known are None.
    """
    if isinstance(count, Refusal):
        return {
            "estimates": [],
            "refused": count.reason,
            "missing": None,
            "plan": None,
            "verdict": None,
            "advice": None,
            "notes": [],
        }
    verdict, advice = advise(count)
    missing, plan = count.missing, count.plan
    limits = missing.sequence if np.all(np.isfinite(missing.sequence)) else missing.interval
    of_share = (
        missing.share_sequence if np.all(np.isfinite(missing.sequence)) else missing.share_interval
    )
    return {
        "estimates": [_to_record(figure) for figure in count.figures],
        "refused": None,
        "missing": {
            "found": _number(missing.found),
            "missing": _number(missing.missing),
            "interval": _limits(limits),
            "found_share": _number(missing.share),
            "found_share_interval": _limits(np.minimum(of_share, 1)),
        },
        "plan": plan
        and {
            "reviews": plan.reviews,
            "cells": _number(plan.cells),
            "width": _number(plan.sequence_width),
            "width_then": _number(plan.sequence_width_then),
            "classical_width": _number(plan.width),
            "classical_width_then": _number(plan.width_then),
        },
        "verdict": verdict,
        "advice": advice,
        "notes": list(count.notes),
    }


def describe(count: ProjectCount | Refusal) -> list[str]:
    """Describe a count, or why there is none, in lines for the terminal."""
    if isinstance(count, Refusal):
        return [f"There is no estimate: {count.reason}."]
    first = count.headline
    lines = [f"{first.estimate.reviewed} of {first.estimate.tiles} tiles count, {first.method}."]
    for figure in count.figures:
        estimate = figure.estimate
        limits = choose_limits(estimate)
        where = f" in {figure.sample}" if figure.sample else ""
        text = f"{figure.what}{where}: {_show(figure, float(estimate.value))}"
        if limits is not None:
            holds = _say_when(estimate, limits)
            text += f", 95 % interval {_show_range(figure, limits)} ({holds})"
            if limits is not estimate.interval:
                text += (
                    f", {_show_range(figure, estimate.interval)} if the number of tiles was fixed"
                )
        text += f"; counted {_show(figure, float(estimate.counted))}"
        if figure.naive is not None:
            text += f", the detector claims {figure.naive:.0f}"
        if figure.method != first.method:
            text += f"; {figure.method}"
        lines.append(text)
    return [*lines, describe_missing(count), advise(count)[1], *count.notes]


def _to_record(figure: Figure) -> dict[str, Any]:
    estimate = figure.estimate
    limits = choose_limits(estimate)
    return {
        "what": figure.what,
        "kind": figure.kind,
        "sample": figure.sample,
        "value": _number(estimate.value),
        "interval": None if limits is None else _limits(limits),
        "holds": None if limits is None else _say_when(estimate, limits),
        "classical_interval": _limits(estimate.interval),
        "counted": _number(estimate.counted),
        "naive": figure.naive,
        "method": figure.method,
        "reviewed": estimate.reviewed,
        "total": estimate.tiles,
    }


def _say_when(estimate: Estimate, limits: np.ndarray) -> str:
    """When an interval holds: at all times, or only for a number of tiles that was fixed before."""
    return "whenever you stop" if limits is estimate.sequence else "for a fixed number"


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _limits(limits: np.ndarray) -> list[float] | None:
    return limits.tolist() if np.all(np.isfinite(limits)) else None


def _show(figure: Figure, value: float) -> str:
    if not np.isfinite(value):
        return "not known yet"
    return f"{value:.2%}" if figure.kind == "share" else f"{value:.0f}"


def _show_range(figure: Figure, limits: np.ndarray) -> str:
    low, high = limits.tolist()
    return f"{_show(figure, low)} to {_show(figure, high)}"
