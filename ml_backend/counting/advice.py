"""When to stop: what is known, what is missing, and what more reviews would bring, in sentences."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ml_backend.counting.estimates import Figure, ProjectCount
from ml_backend.estimation.estimate import FEWEST_REVIEWED, Estimate
from ml_backend.system.plurals import format_count

# A number is known well enough where each side of its interval is at most this share of it, or
# where so large a share of what is there has been found for certain.
NARROW, NEARLY_ALL = 0.25, 0.95
# A class is rare where fewer of it were found; more of it help a detector too.
RARE = 10

Verdict = Literal["go on", "label more", "stop"]


def advise(count: ProjectCount) -> tuple[Verdict, str]:
    """Advise whether to go on, as a plain sentence.

    Args:
        count: What is known so far.
    """
    figure, estimate = count.headline, count.headline.estimate
    if estimate.reviewed >= estimate.tiles:
        return "stop", f"Stop: all {format_count(estimate.tiles, 'tile')} were reviewed."
    limits = choose_limits(estimate)
    if limits is None:
        few = max(1, FEWEST_REVIEWED - estimate.reviewed)
        return "go on", f"Go on: there is no interval before {format_count(few, 'more tile')}."
    if not _is_known(estimate, float(count.missing.found)):
        return "go on", f"Go on: {_describe_plan(count)}."
    rare = [other for other in count.figures[1:] if not other.sample and _is_rare(other)]
    if rare:
        least = min(rare, key=lambda other: float(other.estimate.counted))
        return "label more", (
            f"Label more {least.what}: {float(least.estimate.counted):.0f} counted so far, and "
            f"{_say_limits(least.estimate)} may be there; {figure.what} is known well enough."
        )
    return "stop", f"Stop, if {_say_limits(estimate)} will do: {_describe_plan(count)}."


def describe_missing(count: ProjectCount) -> str:
    """Describe how many objects were found and how many are missing, in a sentence."""
    missing = count.missing
    found = f"{float(missing.found):.0f} were found"
    limits = missing.sequence if np.all(np.isfinite(missing.sequence)) else missing.interval
    if not np.all(np.isfinite(limits)):
        return f"{found}; how many are missing is not known yet."
    share = missing.share_sequence if limits is missing.sequence else missing.share_interval
    text = f"{found}; about {float(missing.missing):.0f} are missing ({_say_range(limits)})"
    if np.isfinite(missing.share):
        low, high = np.minimum(share, 1)
        text += f", so {float(missing.share):.0%} of all were found ({low:.0%} to {high:.0%})"
    return f"{text}."


def choose_limits(estimate: Estimate) -> np.ndarray | None:
    """Choose the interval to be shown: the one that holds whenever people stop, once there is one.

    Returns:
        (2,) low and high; None where there is none yet.
    """
    for limits in (estimate.sequence, estimate.interval):
        if np.all(np.isfinite(limits)):
            return limits
    return None


def _is_known(estimate: Estimate, found: float) -> bool:
    limits = choose_limits(estimate)
    if limits is None:
        return False
    low, high = limits.tolist()
    return high - low <= 2 * NARROW * float(estimate.value) or found >= NEARLY_ALL * high > 0


def _is_rare(figure: Figure) -> bool:
    estimate = figure.estimate
    if figure.kind != "count" or not float(estimate.value) > 0 or estimate.counted >= RARE:
        return False
    return not _is_known(estimate, float(estimate.counted))


def _describe_plan(count: ProjectCount) -> str:
    plan = count.plan
    if plan is None:
        return "there are too few reviewed tiles to plan from"
    now, then = plan.sequence_width, plan.sequence_width_then
    if count.headline.estimate.sequence is not choose_limits(count.headline.estimate):
        now, then = plan.width, plan.width_then
    return (
        f"the next {format_count(plan.reviews, 'tile')} will show about {float(plan.cells):.0f} "
        f"and narrow the interval from {float(now):.0f} to {float(then):.0f} wide"
    )


def _say_limits(estimate: Estimate) -> str:
    limits = choose_limits(estimate)
    return "an unknown number" if limits is None else _say_range(limits)


def _say_range(limits: Any) -> str:
    low, high = limits
    return f"{low:.0f} to {high:.0f}"
