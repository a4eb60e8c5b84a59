"""How long each strategy takes to rank a long queue, and how much memory.

    uv run python benchmarks/rank_queue.py [--tasks 100000]

Most tasks are empty, as in a scan; the others hold one to six boxes with features of 192 numbers
and, for the committee, what two more models found. A strategy runs in a process of its own; what is
counted is what it takes beside the queue, and the whole of it.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.table import STRATEGIES
from ml_backend.imaging.boxes import Boxes

FEATURES = 192
FULL = 0.15  # share of the tasks that show anything


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tasks", type=int, default=100_000)
    arguments.add_argument("--strategy", choices=STRATEGIES)
    asked = arguments.parse_args()
    if asked.strategy:
        measure(asked.strategy, asked.tasks)
        return
    print(f"{'strategy':12}{'seconds':>9}{'MB more':>9}{'MB in all':>11}")
    for name in STRATEGIES:
        command = [sys.executable, __file__, "--tasks", str(asked.tasks), "--strategy", name]
        subprocess.run(command, check=True)


def measure(name: str, tasks: int) -> None:
    strategy = STRATEGIES[name]
    queue = make_queue(tasks, strategy.needs)
    exemplars = np.eye(3, FEATURES, dtype=np.float32)
    context = Context(0.25, 3, {"Anaphase": 0.7}, exemplars)
    before = peak()
    started = time.perf_counter()
    scores = strategy.score(queue, context)
    seconds = time.perf_counter() - started
    assert len(scores) == tasks
    print(f"{name:12}{seconds:9.2f}{peak() - before:9.0f}{peak():11.0f}", flush=True)


def make_queue(tasks: int, needs: frozenset[str]) -> list[Candidate]:
    rng = np.random.default_rng(0)
    nothing = Boxes()

    def draw() -> Boxes:
        number = int(rng.integers(1, 7))
        corner = rng.uniform(0, 900, (number, 2))
        labels = rng.choice(["Metaphase", "Anaphase"], number, p=[0.9, 0.1])
        return Boxes(np.hstack([corner, corner + 40]), labels, rng.uniform(0.05, 1, number))

    queue = []
    for number in range(tasks):
        full = rng.random() < FULL
        boxes = draw() if full else nothing
        features = None
        if "features" in needs:
            features = rng.normal(size=(len(boxes), FEATURES)).astype(np.float32)
        committee = (draw(), draw()) if "committee" in needs and full else ()
        queue.append(Candidate(f"{number:064}", boxes, features, committee))
    return queue


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
