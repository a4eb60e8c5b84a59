"""What the first batch of each strategy holds where the starter has never seen such images.

    uv run python benchmarks/first_batch.py [--batch 15] [--draws 50]

The frames of phase_contrast, as tiles of 346 px and whole, marked by the mitosis starter. Nothing
is trained: counted is what a person would be shown first, over draws of the chance that a strategy
takes, with standard errors. `exemplar` is given one marked cell, of another image, at random.
`foreground, any box` counts every box that is shown as foreground, not only those that are sure.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np

from ml_backend.active_learning.strategies import foreground_random
from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.table import STRATEGIES
from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode
from ml_backend.learners.base import Picture
from ml_backend.learners.kinds import find_learner
from ml_backend.learners.model_file import DETECTOR, FILE_NAME
from ml_backend.registry import resolve
from ml_backend.registry.versions import Registry
from ml_backend.serving.preannotation import FLOOR
from ml_backend.simulation.lab import Lab
from ml_backend.simulation.tiles import cut_into_tiles

DATA = Path(__file__).parents[2] / "shared" / "data" / "phase_contrast"
TILE = 346  # px
ANY_BOX = "foreground, any box"
ASKED = ("random", "stratified", "foreground", ANY_BOX, "certainty", "clasp", "exemplar")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--batch", type=int, default=15)
    arguments.add_argument("--draws", type=int, default=50)
    asked = arguments.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the real images are not at {DATA}")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        found = read_folder(DATA)
        tiles, _ = cut_into_tiles(found.examples, TILE, scratch / "tiles")
        registry = Registry(scratch / "versions", scratch / "champions")
        version = registry.get_folder(resolve.resolve_model("starter:mitosis", registry).name)
        for title, images in ((f"tiles of {TILE} px", tiles), ("whole frames", found.examples)):
            pool = {image.image.name: image for image in images if image.boxes is not None}
            lab = Lab(pool, [], found.classes, version / FILE_NAME, version, None, 0, scratch)
            print_table(title, lab, version, asked.batch, asked.draws)


def print_table(title: str, lab: Lab, version: Path, batch: int, draws: int) -> None:
    marked = lab.mark(version, lab.pool)
    answers = {key: lab.list_answers(boxes, FLOOR) for key, boxes in marked.items()}
    seen = describe(version, lab.pool, answers)
    threshold = lab.read_threshold(version)
    cells = np.array([len(boxes_of(lab.pool[key])) for key in answers])
    print(f"\n{len(cells)} {title}, {(cells > 0).sum()} with a cell, {cells.sum()} cells\n")
    print("| strategy | images with a cell | cells |\n| --- | --- | --- |")
    for name in ASKED:
        strategy = STRATEGIES[name.split(",")[0]]
        sure = 0.0 if name == ANY_BOX else foreground_random.SURE
        counts = []
        for draw in range(draws):
            rng = np.random.default_rng(draw)
            given = int(rng.choice(np.flatnonzero(cells)))
            rows = [row if n != given else row[:0] for n, row in enumerate(seen.found)]
            queue = [
                Candidate(f"{draw}/{key}", boxes.select(np.arange(len(row))), row)
                for (key, boxes), row in zip(answers.items(), rows, strict=True)
            ]
            context = Context(threshold, exemplars=seen.true[given][:1])
            with patch.object(foreground_random, "SURE", sure):
                order = np.argsort(strategy.score(queue, context), kind="stable")
            first = cells[[place for place in order if place != given][:batch]]
            counts.append(((first > 0).sum(), first.sum()))
        means, errors = np.mean(counts, axis=0), np.std(counts, axis=0, ddof=1) / draws**0.5
        shown = [f"{m:.1f} ± {e:.1f}" for m, e in zip(means, errors, strict=True)]
        print(f"| `{name}` | {' | '.join(shown)} |", flush=True)


class Seen:
    """Features of what was found and of what is there, a list for each image."""

    def __init__(self, found: list[np.ndarray], true: list[np.ndarray]) -> None:
        self.found, self.true = found, true


def describe(version: Path, pool: dict[str, Example], answers: dict[str, Boxes]) -> Seen:
    both = []
    for key, boxes in answers.items():
        truth = boxes_of(pool[key])
        xyxy = np.concatenate([boxes.xyxy, truth.xyxy])
        both.append(Boxes(xyxy, [""] * len(xyxy), np.zeros(len(xyxy))))
    pictures = (Picture(decode(pool[key].image)) for key in answers)
    rows = list(find_learner(DETECTOR).describe(version, pictures, both))
    counts = list(map(len, answers.values()))
    return Seen(
        [row[:count] for row, count in zip(rows, counts, strict=True)],
        [row[count:] for row, count in zip(rows, counts, strict=True)],
    )


def boxes_of(example: Example) -> Boxes:
    assert example.boxes is not None
    return example.boxes


if __name__ == "__main__":
    main()
