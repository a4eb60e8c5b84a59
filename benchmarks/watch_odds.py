"""How often a promotion is rolled back because of the edits after it, by the size of their rise.

    uv run python benchmarks/watch_odds.py

Simulated with the product's own rule (`ml_backend.promotion.rollback_test`). Edits a task are drawn
from a negative binomial distribution: most tasks need few, some need many. `mean` is that under
the champion before, `spread` its shape (0.7: a few tasks hold most of the edits; 2: more even).
"""

from __future__ import annotations

import argparse

import numpy as np

from ml_backend.dataset.corrections import Correction, Edit
from ml_backend.promotion.rollback_test import AFTER, judge_promotion
from ml_backend.registry.champions import ChampionChange

RISES = (0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
CHANGE = ChampionChange("after", "before", "promotion", 0.0, "cytoloop", "")
EDIT = Edit("added", "cell")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=400)
    rounds = options.parse_args().rounds
    rng = np.random.default_rng(0)
    print(f"share of {rounds} promotions rolled back after {AFTER} tasks, by the rise of edits")
    print("mean  spread  tasks before " + "".join(f"   x{rise:<5}" for rise in RISES))
    for mean in (0.5, 2.0, 5.0):
        for spread in (0.7, 2.0):
            for before in (20, 50):
                shares = [share(rng, rounds, mean, spread, before, rise) for rise in RISES]
                cells = "".join(f"{value:8.1%} " for value in shares)
                print(f"{mean:4.1f}  {spread:6.1f}  {before:12d} {cells}", flush=True)


def share(
    rng: np.random.Generator, rounds: int, mean: float, spread: float, before: int, rise: float
) -> float:
    worse = 0
    for _ in range(rounds):
        made = [
            Correction(number, number, version, None, (EDIT,) * count)
            for version, tasks, expected in (
                ("before", before, mean),
                ("after", AFTER, mean * rise),
            )
            for number, count in enumerate(edits(rng, expected, spread, tasks))
        ]
        verdict = judge_promotion(CHANGE, made)
        assert verdict is not None
        worse += verdict.worse
    return worse / rounds


def edits(rng: np.random.Generator, mean: float, spread: float, tasks: int) -> list[int]:
    return rng.poisson(rng.gamma(spread, mean / spread, tasks)).tolist()


if __name__ == "__main__":
    main()
