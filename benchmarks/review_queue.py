"""Which strategy of the review queue saves most, on four sets that people labelled.

    uv run python benchmarks/review_queue.py [--sets phase_contrast plant_mitosis] [--seeds 5]

Each set is reviewed by a program with its labels hidden, as `cytoloop simulate` does, in
--data-dir, where it goes on after a stop. Printed for the page docs/review-queue.md: the mean F1
over the modelled seconds, and the difference to random and to foreground-aware random, seed by
seed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_backend.cli.console import show_progress
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.simulation.simulate import Plan, simulate

DATA = Path(__file__).parents[2] / "shared" / "data"
STRATEGIES = ("random", "foreground", "certainty", "clasp")
SETS = {
    "phase_contrast": Plan(DATA / "phase_contrast", STRATEGIES, tile=346, batch=15, rounds=3),
    "plant_mitosis": Plan(DATA / "plant_mitosis", STRATEGIES, tile=480, batch=15, rounds=3),
    "blood_cells": Plan(DATA / "blood_cells", STRATEGIES, batch=5, rounds=3),
    "chromatid_cohesion": Plan(
        DATA / "chromatid_cohesion", STRATEGIES, tile=360, batch=5, rounds=3
    ),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    arguments.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--epochs", type=int)
    arguments.add_argument("--data-dir", type=Path, required=True)
    asked = arguments.parse_args()
    settings = Settings(data_dir=asked.data_dir.resolve())
    registry = Registry(settings.versions, settings.champions)
    for name in asked.sets:
        plan = replace(
            SETS[name],
            strategies=tuple(asked.strategies),
            seeds=asked.seeds,
            epochs=asked.epochs,
        )
        if not plan.dataset.is_dir():
            sys.exit(f"the real images are not at {plan.dataset}")
        with show_progress(name) as bar:
            result = simulate(plan, registry, settings.simulations, bar)
        print_table(name, plan, result)


def print_table(name: str, plan: Plan, result: dict[str, Any]) -> None:
    print(f"\n{name}: {result['images']} images, {plan.seeds} seeds, {result['folder']}\n")
    print("| strategy | F1 by round | mean F1 over the seconds | against random | foreground |")
    print("| --- | --- | --- | --- | --- |")
    pairs = {(row["strategy"], row["against"]): row for row in result["differences"]}
    for strategy, values in result["strategies"].items():
        by_round = ", ".join(f"{row['f1'] or 0:.2f}" for row in values["rounds"])
        cells = [
            write(pairs[strategy, other]) if (strategy, other) in pairs else ""
            for other in ("random", "foreground")
        ]
        print(f"| `{strategy}` | {by_round} | {write(values)} | {' | '.join(cells)} |")


def write(values: dict[str, Any]) -> str:
    interval = values["area_interval"]
    return f"{values['area']:.3f}" + (
        f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    )


if __name__ == "__main__":
    main()
