"""How much of damaged labels size and brightness alone find, without a model.

    uv run python benchmarks/odd_cells.py [--seeds 5]

Cells of mitocheck_cells (16 classes), one label in ten replaced by another class, several ways.
Listed are the cells that stand out in their class or look like another one, the likeliest error
first: how many there are, which share of the damage they hold, and how many of the first 80 are
damaged.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from second_look import SHARE

from ml_backend.dataset.folder import read_folder
from ml_backend.learners.base import Prediction
from ml_backend.promotion.second_look import find_doubtful

DATA = Path(__file__).parents[2] / "shared" / "data" / "mitocheck_cells"
FIRST = 80


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=5)
    asked = arguments.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the cells are not at {DATA}")
    examples = [example for example in read_folder(DATA).examples if example.choices]
    classes = sorted({example.choices[0] for example in examples})
    rows = []
    for seed in range(asked.seeds):
        rng = np.random.default_rng(seed)
        damaged = set(rng.permutation(len(examples))[: round(SHARE * len(examples))].tolist())
        labelled = []
        for place, example in enumerate(examples):
            if place in damaged:
                others = [name for name in classes if name != example.choices[0]]
                example = replace(example, choices=(str(rng.choice(others)),))
            labelled.append((example, Prediction((64, 64))))
        listed = [place for place, _ in find_doubtful(labelled, 0.5)]
        found = len(damaged & set(listed)) / len(damaged)
        right = sum(place in damaged for place in listed[:FIRST]) / FIRST
        rows.append((len(listed), found, right))
        print(f"seed {seed}: {len(listed)} listed, {found:.2f} of the damage, {right:.2f}")
    number, found, right = np.mean(rows, axis=0)
    print(
        f"{len(examples)} cells: {number:.0f} listed, which hold {found:.2f} of the damage; of "
        f"the first {FIRST}, {right:.2f} are damaged"
    )


if __name__ == "__main__":
    main()
