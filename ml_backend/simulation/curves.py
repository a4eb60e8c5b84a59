"""Learning curves of several seeds: their means, areas and differences, with intervals.

A curve is what a version is worth against what was spent for it. Seeds differ in what is kept
apart, so strategies are compared pairwise, seed by seed. Intervals are Student's, over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

COSTS = ("images", "boxes", "edits", "seconds")
FIGURES = ("f1", "ap50", "image_sensitivity")
# The share of the F1 of full data that counts as enough.
ENOUGH = 0.95


@dataclass(frozen=True)
class Point:
    """A version of a simulated loop: what was spent until then, and what it is worth.

    Attributes:
        images: Looked at.
        boxes: Drawn by hand.
        edits: Drawn, deleted, moved or renamed.
        seconds: That the model of effort gives for it.
        f1: Of the headline classes on the images kept apart, 0..1; likewise the others.
        ap50: Average precision at IoU 0.5.
        image_sensitivity: Share of the images with a headline object that are called positive, at
            the specificity of `evaluation.metrics`; None where no image kept apart is without one.
    """

    images: float
    boxes: float
    edits: float
    seconds: float
    f1: float | None
    ap50: float | None
    image_sensitivity: float | None


Curve = Sequence[Point]
# Strategy, then seed.
Curves = Mapping[str, Mapping[int, Curve]]


def summarize(curves: Curves, full: Mapping[int, float]) -> dict[str, Any]:
    """Summarize the curves of all strategies.

    Args:
        curves: By strategy and seed.
        full: By seed, the F1 of a version that learned from all images, where it is known.

    Returns:
        `strategies`: of each its `rounds` (means over the seeds, with intervals), `area` (mean F1
        over the seconds until the first strategy ends) and `to_95` (what it takes to reach
        95 % of `full`, None where a seed does not). `differences`: of each pair of strategies
        the difference of areas and the ratio of the seconds in `to_95`.
    """
    areas = _compute_areas(curves)
    reached = {name: _find_costs(seeds, full) for name, seeds in curves.items()}
    return {
        "strategies": {
            name: {
                "seeds": sorted(seeds),
                "rounds": _average_rounds(list(seeds.values())),
                **_with_interval("area", list(areas[name].values())),
                "to_95": _average_costs(reached[name], seeds),
            }
            for name, seeds in curves.items()
        },
        "differences": [
            _compare(name, other, areas, reached)
            for name in curves
            for other in curves
            if name != other
        ],
    }


def estimate_mean(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Estimate a mean with Student's 95 % interval; None for the interval of one value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return mean, (mean - float(half), mean + float(half))


def compute_area(seconds: Sequence[float], values: Sequence[float], until: float) -> float:
    """Compute the mean height of a curve from 0 to `until`, straight between its points.

    Args:
        seconds: Rising, the first 0.
        values: At these seconds.
        until: At most the last of the seconds, more than 0.
    """
    inside = [s for s in seconds if s < until]
    x = np.array([*inside, until])
    return float(np.trapezoid(np.interp(x, seconds, values), x) / until)


def find_cost(costs: Sequence[float], values: Sequence[float], target: float) -> float | None:
    """Find the cost at which a curve, straight between its points, first reaches a target.

    Returns:
        None where it never does.
    """
    for place, value in enumerate(values):
        if value >= target:
            if not place:
                return costs[0]
            low, high = values[place - 1], value
            share = (target - low) / (high - low)
            return costs[place - 1] + share * (costs[place] - costs[place - 1])
    return None


def _get_f1(curve: Curve) -> list[float]:
    # Undefined is what finds nothing where there is nothing to find.
    return [point.f1 or 0.0 for point in curve]


def _compute_areas(curves: Curves) -> dict[str, dict[int, float]]:
    """The area under F1 against seconds, until the first strategy of the same seed ends."""
    until: dict[int, float] = {}
    for seeds in curves.values():
        for seed, curve in seeds.items():
            until[seed] = min(until.get(seed, np.inf), curve[-1].seconds)
    return {
        name: {
            seed: compute_area([p.seconds for p in curve], _get_f1(curve), until[seed])
            for seed, curve in seeds.items()
            if until[seed] > 0
        }
        for name, seeds in curves.items()
    }


def _find_costs(
    seeds: Mapping[int, Curve], full: Mapping[int, float]
) -> dict[int, dict[str, float | None]]:
    return {
        seed: {
            cost: find_cost([getattr(p, cost) for p in curve], _get_f1(curve), ENOUGH * full[seed])
            for cost in COSTS
        }
        for seed, curve in seeds.items()
        if seed in full
    }


def _average_costs(
    reached: Mapping[int, Mapping[str, float | None]], seeds: Mapping[int, Curve]
) -> dict[str, Any]:
    known = {cost: [costs[cost] for costs in reached.values()] for cost in COSTS}
    result: dict[str, Any] = {"reached": sum(v is not None for v in known["seconds"])}
    for cost, values in known.items():
        defined = [value for value in values if value is not None]
        whole = len(defined) == len(seeds)
        result |= _with_interval(cost, defined if whole else [])
    return result


def _average_rounds(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Average round by round, over the seeds that got so far."""
    rounds = []
    for number in range(max(map(len, curves))):
        points = [curve[number] for curve in curves if number < len(curve)]
        row: dict[str, Any] = {"round": number, "seeds": len(points)}
        for cost in COSTS:
            row[cost] = float(np.mean([getattr(point, cost) for point in points]))
        for figure in FIGURES:
            values = [getattr(point, figure) for point in points]
            row |= _with_interval(figure, [value for value in values if value is not None])
        rounds.append(row)
    return rounds


def _compare(
    name: str,
    other: str,
    areas: Mapping[str, Mapping[int, float]],
    reached: Mapping[str, Mapping[int, Mapping[str, float | None]]],
) -> dict[str, Any]:
    shared = sorted(areas[name].keys() & areas[other].keys())
    ratios = []
    for seed in sorted(reached[name].keys() & reached[other].keys()):
        ours, theirs = reached[name][seed]["seconds"], reached[other][seed]["seconds"]
        if ours and theirs:
            ratios.append(np.log(ours / theirs))
    mean, interval = estimate_mean(ratios) if ratios else (None, None)
    return {
        "strategy": name,
        "against": other,
        "seeds": len(shared),
        **_with_interval("area", [areas[name][seed] - areas[other][seed] for seed in shared]),
        "seconds_ratio": None if mean is None else float(np.exp(mean)),
        "seconds_ratio_interval": None if interval is None else np.exp(interval).tolist(),
        "seconds_ratio_seeds": len(ratios),
    }


def _with_interval(name: str, values: Sequence[float]) -> dict[str, Any]:
    mean, interval = estimate_mean(values) if values else (None, None)
    return {name: mean, f"{name}_interval": None if interval is None else list(interval)}
