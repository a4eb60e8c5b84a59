"""Do the intervals of a count hold the truth as often as they say, and what do they cost?

    uv run python benchmarks/estimation_coverage.py [--scans 1000] [--out FOLDER] [--only very]

Scans are simulated: tiles with few cells, and a detector that claims cells on them. Tiles are
drawn, 'reviewed' and estimated by the product's own code, in rounds of 50, with a look after
every 10. The detectors: good, biased (nearly blind in a third of the scan, and takes clutter for
cells in a fifth), useless (its claims belong to other tiles), and one that learns (useless at
first, good from the third round on). Beside them, in the same run, uniform drawing and the naive
count (the sum of the detector's claims).

With the real data beside the project, the same on its tiles, and the mitotic index over time:
true value, estimate and interval, with --out as a picture. There the counts are real, the
detector is not.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from ml_backend.estimation.count import Expected, estimate_ratio, estimate_total
from ml_backend.estimation.estimate import Estimate
from ml_backend.estimation.plan import plan_reviews
from ml_backend.estimation.prediction_powered import Refusal, estimate_powered_total
from ml_backend.estimation.sampling import (
    UNIFORM_SHARE,
    draw_tiles,
    expect_counts,
    weigh_tiles,
)

DATA = Path(__file__).parents[2] / "shared" / "data" / "phase_contrast"
TILES = 2000
ROUND = 50
REVIEWS = 700
LOOKS = np.arange(50, REVIEWS + 1, 10)
FIXED = (100, 200, 300, 600)
# Who stops when the interval is this narrow, each side, of the estimate.
NARROW_ENOUGH = 0.25

Truth = Callable[[np.random.Generator], np.ndarray]
Claims = Callable[[np.random.Generator, np.ndarray], Iterator[np.ndarray]]


def make_clumped(mean: float, shape: float) -> Truth:
    """Cells a tile: Poisson around a rate that differs from tile to tile (negative binomial)."""
    return lambda random: random.poisson(random.gamma(shape, mean / shape, TILES))


def claim(random: np.random.Generator, truth: np.ndarray, recall, wrong) -> np.ndarray:
    """The sum of confidences on each tile, and a haze of boxes of low confidence."""
    found = random.binomial(truth, recall) * random.beta(6, 2, truth.shape)
    false = random.poisson(wrong, truth.shape) * random.beta(3, 4, truth.shape)
    return found + false + random.gamma(0.1, 0.05, truth.shape)


def good(random: np.random.Generator, truth: np.ndarray) -> Iterator[np.ndarray]:
    claimed = claim(random, truth, 0.88, 0.25 * truth.mean())
    while True:
        yield claimed


def biased(random: np.random.Generator, truth: np.ndarray) -> Iterator[np.ndarray]:
    place = np.arange(len(truth)) / len(truth)
    recall, wrong = np.where(place < 1 / 3, 0.1, 0.7), np.where(place > 0.8, 4.0, 0.2)
    claimed = claim(random, truth, recall, wrong * truth.mean())
    while True:
        yield claimed


def useless(random: np.random.Generator, truth: np.ndarray) -> Iterator[np.ndarray]:
    return good(random, random.permutation(truth))


def learns(random: np.random.Generator, truth: np.ndarray) -> Iterator[np.ndarray]:
    before, after = useless(random, truth), good(random, truth)
    yield next(before)
    yield next(before)
    yield from after


DETECTORS: dict[str, Claims | None] = {
    "uniform": None,
    "good": good,
    "biased": biased,
    "useless": useless,
    "learns": learns,
}


@dataclass(frozen=True)
class Review:
    """The tiles in the order of their review, what is known of their draws, the naive count."""

    index: np.ndarray
    probability: np.ndarray
    expected: Expected
    naive: float

    def estimate(self, truth: np.ndarray, reviews: int) -> Estimate:
        return estimate_total(
            truth[self.index[:reviews]],
            self.probability[:reviews],
            len(truth),
            self.expect(reviews),
        )

    def expect(self, reviews: int) -> Expected:
        return Expected(self.expected.own[:reviews], self.expected.left[:reviews])


def review(
    random: np.random.Generator, truth: np.ndarray, detector: Claims | None, reviews: int
) -> Review:
    claims = detector(random, truth) if detector else None
    index, then, naive = np.zeros(0, int), np.zeros(0), np.nan
    drawn = np.zeros((3, 0))
    left = np.ones(len(truth), bool)
    while len(index) < reviews:
        if claims is None:
            draws = draw_tiles(random, np.ones(len(truth)), left, ROUND)
        else:
            claimed = next(claims)
            naive = float(claimed.sum())
            expected = expect_counts(claimed, then, truth[index])
            weight = weigh_tiles(expected)
            draws = draw_tiles(random, weight, left, ROUND, UNIFORM_SHARE, expected)
            then = np.r_[then, claimed[draws.index]]
        index = np.r_[index, draws.index]
        drawn = np.c_[drawn, [draws.probability, draws.expected, draws.expected_left]]
        left[draws.index] = False
    probability, own, left_over = drawn
    return Review(index, probability, Expected(own, left_over), naive)


@dataclass
class Record:
    """What the looks at many scans showed; each list has an entry a scan."""

    held: list[np.ndarray] = field(default_factory=list)
    sequence_held: list[np.ndarray] = field(default_factory=list)
    width: list[np.ndarray] = field(default_factory=list)
    sequence_width: list[np.ndarray] = field(default_factory=list)
    error: list[np.ndarray] = field(default_factory=list)
    index_held: list[bool] = field(default_factory=list)
    index_sequence_held: list[bool] = field(default_factory=list)
    stopped_held: list[bool] = field(default_factory=list)
    stopped_sequence_held: list[bool] = field(default_factory=list)
    planned: list[float] = field(default_factory=list)
    naive: list[float] = field(default_factory=list)

    def add_scan(
        self, random: np.random.Generator, truth: np.ndarray, detector: Claims | None
    ) -> None:
        done = review(random, truth, detector, REVIEWS)
        index, probability = done.index, done.probability
        counts, total = truth[index], truth.sum()
        looks = [done.estimate(truth, n) for n in LOOKS]
        self.held.append(np.array([holds(look.interval, total) for look in looks]))
        self.sequence_held.append(np.array([holds(look.sequence, total) for look in looks]))
        self.width.append(np.array([np.ptp(look.interval) for look in looks]) / total)
        self.sequence_width.append(np.array([np.ptp(look.sequence) for look in looks]) / total)
        self.error.append(np.array([float(look.value) for look in looks]) / total - 1)
        self.stopped_held.append(holds(stop(looks, "interval").interval, total))
        self.stopped_sequence_held.append(holds(stop(looks, "sequence").sequence, total))
        self.naive.append(done.naive / total)
        plan = plan_reviews(counts[:200], probability[:200], len(truth), expected=done.expect(200))
        self.planned.append(float(plan.width_then) / np.ptp(looks[at(250)].interval))
        # Cells that do not divide, about 8 a tile: what the index is a share of.
        cells = truth + random.poisson(8, len(truth))
        shares = [
            estimate_ratio(
                counts[:n],
                cells[index[:n]],
                probability[:n],
                len(truth),
                done.expect(n),
                done.expect(n),
            )
            for n in LOOKS[LOOKS % ROUND == 0]
        ]
        true = total / cells.sum()
        self.index_held.append(holds(shares[300 // ROUND - 1].interval, true))
        self.index_sequence_held.append(all(holds(share.sequence, true) for share in shares))


def at(reviews: int) -> int:
    """The place of the look after so many reviews."""
    return int(np.flatnonzero(reviews == LOOKS)[0])


def holds(limits: np.ndarray, truth: float) -> bool:
    return bool(limits[0] <= truth <= limits[1])


def stop(looks: list[Estimate], limits: str) -> Estimate:
    """The first look at which the interval is narrow enough, else the last."""
    for look in looks:
        if np.ptp(getattr(look, limits)) <= 2 * NARROW_ENOUGH * look.value:
            return look
    return looks[-1]


def reviews_for(width: float, widths: np.ndarray) -> str:
    """How many reviews reach a mean width, as a number; linear between looks."""
    mean = np.mean(widths, axis=0)
    if mean.min() > width:
        return f">{REVIEWS}"
    return f"{np.interp(-width, -mean, LOOKS):.0f}"


def show_world(name: str, truth: Truth, scans: int, seed: int) -> None:
    records = {}
    for detector, claims in DETECTORS.items():
        records[detector] = Record()
        random = np.random.default_rng(seed)
        for _ in range(scans):
            records[detector].add_scan(random, truth(random), claims)
    example = truth(np.random.default_rng(seed))
    print(
        f"\n{name}: {len(example)} tiles, {np.mean(example > 0):.0%} not empty, "
        f"{example.sum()} cells in the first of {scans} scans"
    )
    print(
        "| drawn by | naive / true | bias at 300 | 95 % interval at "
        + " / ".join(map(str, FIXED))
        + " | index: interval at 300, sequence at all 14 rounds "
        "| at all 66 looks: interval, sequence | stopped when narrow: interval, sequence "
        "| width at 300: interval, sequence "
        "| plan / came |"
    )
    print("| --- " * 9 + "|")
    for detector, record in records.items():
        fixed = " / ".join(f"{np.mean(record.held, axis=0)[at(n)]:.1%}" for n in FIXED)
        bias = np.array(record.error)[:, at(300)]
        naive = f"{np.mean(record.naive):.2f}" if DETECTORS[detector] else ""
        print(
            f"| {detector} | {naive} "
            f"| {bias.mean():+.1%} ± {1.96 * bias.std() / np.sqrt(scans):.1%} | {fixed} "
            f"| {np.mean(record.index_held):.1%}, {np.mean(record.index_sequence_held):.1%} "
            f"| {np.all(record.held, axis=1).mean():.1%}, "
            f"{np.all(record.sequence_held, axis=1).mean():.1%} "
            f"| {np.mean(record.stopped_held):.1%}, "
            f"{np.mean(record.stopped_sequence_held):.1%} "
            f"| {np.mean(record.width, axis=0)[at(300)]:.2f}, "
            f"{np.mean(record.sequence_width, axis=0)[at(300)]:.2f} "
            f"| {np.median(record.planned):.2f} |"
        )
    print("\nReviews to the width that uniform drawing has after so many:")
    print("| drawn by | interval: 200 / 300 / 600 | sequence: 200 / 300 / 600 |")
    print("| --- | --- | --- |")
    uniform = records["uniform"]
    for detector, record in records.items():
        row = []
        for widths, base in (
            (record.width, uniform.width),
            (record.sequence_width, uniform.sequence_width),
        ):
            goals = [float(np.mean(base, axis=0)[at(n)]) for n in (200, 300, 600)]
            row.append(" / ".join(reviews_for(goal, np.array(widths)) for goal in goals))
        print(f"| {detector} | {row[0]} | {row[1]} |", flush=True)


def show_powered(name: str, truth: Truth, scans: int, seed: int) -> None:
    """Projects that were reviewed at random, 200 tiles: with the detector's counts, and without."""
    print(f"\n{name}, 200 tiles reviewed at random, then estimated with the detector's counts:")
    print("| detector | refused | 95 % interval holds | bias | its width / without the detector |")
    print("| --- | --- | --- | --- | --- |")
    for detector in (good, biased, useless):
        random = np.random.default_rng(seed)
        held, errors, widths = [], [], []
        for _ in range(scans):
            counts = truth(random)
            claimed = next(detector(random, counts))
            order = random.permutation(len(counts))
            seen, left = order[:200], order[200:]
            found = estimate_powered_total(random, counts[seen], claimed[seen], claimed[left])
            if isinstance(found, Refusal):
                continue
            alone = estimate_total(counts[seen], 1 / (len(counts) - np.arange(200)), len(counts))
            held.append(holds(found.interval, counts.sum()))
            errors.append(float(found.value) / counts.sum() - 1)
            widths.append(np.ptp(found.interval) / np.ptp(alone.interval))
        figures = " | | "
        if held:
            figures = f"{np.mean(held):.1%} | {np.mean(errors):+.1%} | {np.median(widths):.2f}"
        refused = 1 - len(held) / scans
        print(f"| {detector.__name__} | {refused:.1%} | {figures} |", flush=True)


def read_tiles(rows: int = 4, columns: int = 6) -> np.ndarray:
    """(N,) dividing cells on each tile of the real frames; a cell is where its centre is."""
    coco = json.loads((DATA / "annotations.json").read_text())
    frames = {image["id"]: (place, image) for place, image in enumerate(coco["images"])}
    counts = np.zeros((len(frames), rows, columns), int)
    for annotation in coco["annotations"]:
        place, image = frames[annotation["image_id"]]
        x, y, width, height = annotation["bbox"]
        row = min(rows - 1, int((y + height / 2) / image["height"] * rows))
        column = min(columns - 1, int((x + width / 2) / image["width"] * columns))
        counts[place, row, column] += 1
    return counts.ravel()


def show_index(scans: int, seed: int, out: Path | None) -> None:
    """The mitotic index in five periods of the recording, half of its frames reviewed."""
    with (DATA / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    cells, mitotic = (np.array([int(row[name]) for row in rows]) for name in ("cells", "mitotic"))
    number = np.array([int(row["image"].split("_")[1].split(".")[0]) for row in rows])
    period = np.arange(len(rows)) * 5 // len(rows)
    inside = period == np.arange(5)[:, None]
    true = (mitotic * inside).sum(1) / (cells * inside).sum(1)
    held, sequence_held = [], []
    random = np.random.default_rng(seed)
    for scan in range(scans):
        done = review(random, mitotic, good, 50)
        share = estimate_ratio(
            (mitotic * inside)[:, done.index],
            (cells * inside)[:, done.index],
            done.probability,
            len(rows),
        )
        held.append((share.interval[:, 0] <= true) & (true <= share.interval[:, 1]))
        sequence_held.append((share.sequence[:, 0] <= true) & (true <= share.sequence[:, 1]))
        if not scan:
            first = share
    print(
        f"\nphase_contrast, mitotic index in five periods, 50 of {len(rows)} frames reviewed "
        f"({scans} draws; the sequence looked at once):"
    )
    print("| frames | true | estimate | 95 % interval | interval holds | sequence holds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for each in range(5):
        low, high = first.interval[each]
        print(
            f"| {number[inside[each]].min()} to {number[inside[each]].max()} "
            f"| {true[each]:.2%} | {first.value[each]:.2%} | {low:.2%} to {high:.2%} "
            f"| {np.mean(held, axis=0)[each]:.1%} | {np.mean(sequence_held, axis=0)[each]:.1%} |"
        )
    if out:
        out.mkdir(parents=True, exist_ok=True)
        draw_index(number, inside, true, first, out / "mitotic-index.png")
        print(f"The picture: {out / 'mitotic-index.png'}")


def draw_index(
    number: np.ndarray, inside: np.ndarray, true: np.ndarray, share: Estimate, path: Path
) -> None:
    middle = np.array([number[each].mean() for each in inside])
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for limits, width, label in (
        (share.sequence, 1.5, "valid whenever you stop"),
        (share.interval, 5, "valid if the number was fixed before"),
    ):
        axes.vlines(middle, *(100 * limits.T), lw=width, color="tab:blue", alpha=0.6, label=label)
    axes.plot(middle, 100 * share.value, "o", color="tab:blue", label="estimate, 50 frames")
    steps = np.r_[[number[each].min() for each in inside], number[inside[-1]].max()]
    axes.stairs(100 * true, steps, color="black", baseline=None, label="true, all 100 frames")
    axes.set(xlabel="frame", ylabel="mitotic index, %", ylim=(0, None))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="the first words of one kind of scans")
    parser.add_argument("--out", type=Path, help="a folder for the picture")
    arguments = parser.parse_args()
    started = time.perf_counter()
    worlds = {
        "few cells, in clumps": make_clumped(0.12, 0.08),
        "few cells, evenly spread": make_clumped(0.1, 10),
        "very few cells": make_clumped(0.03, 0.05),
    }
    only = arguments.only or ""
    for name, truth in worlds.items():
        if name.startswith(only):
            show_world(name, truth, arguments.scans, arguments.seed)
            show_powered(name, truth, arguments.scans, arguments.seed)
    if DATA.is_dir() and "phase_contrast".startswith(only):
        tiles = read_tiles()
        show_world("phase_contrast", lambda _: tiles, arguments.scans, arguments.seed)
        show_index(arguments.scans, arguments.seed, arguments.out)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
