"""The mitotic index over time of a real recording, from an eighth of its tiles.

    uv run python benchmarks/index_over_time.py [--tiles 300] [--out docs/images]

The frames of ../shared/data/phase_contrast, cut into 24 tiles each. A detector is trained on some
frames of the first half of the recording and claims cells on the second, and the other way round,
so no version claims anything on a frame that it saw or that lies near one. Tiles are drawn by
these claims, counted by the annotations, and estimated, all by the product's own code. How many
cells each frame has in all is known from `cells.csv`, as from any cell counter. The picture shows
the index in five periods: the true one, the estimate of the first drawing, and its intervals; the
table says how often the intervals hold in 1,000 drawings.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from ml_backend.counting.drawing import AHEAD, FEW_AHEAD, draw_further
from ml_backend.counting.sample import Claim, DrawnTile
from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder, read_shown_size
from ml_backend.estimation.count import estimate_total
from ml_backend.estimation.estimate import Estimate
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.kinds import load_model
from ml_backend.learners.training_child import run_in_child
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion.predict_examples import predict_examples
from ml_backend.registry.starters import find_starter_weights

DATA = Path(__file__).parents[2] / "shared" / "data" / "phase_contrast"
ROWS, COLUMNS = 4, 6
PERIODS = 5
LEARNED = 25  # frames that each detector is trained on
FLOOR = 0.05
CELL = "Mitotic cell"


def claim_tiles(boxes: Boxes, size: tuple[int, int]) -> np.ndarray:
    """(ROWS * COLUMNS,) the confidences of the boxes, summed where their middles are."""
    middle = (boxes.xyxy[:, :2] + boxes.xyxy[:, 2:]) / 2
    column, row = (middle / np.array(size) * (COLUMNS, ROWS)).astype(int).T
    place = np.clip(row, 0, ROWS - 1) * COLUMNS + np.clip(column, 0, COLUMNS - 1)
    return np.bincount(place, boxes.confidence, minlength=ROWS * COLUMNS)


def claim_by_others(examples: list[Example], epochs: int | None) -> np.ndarray:
    """(frames, tiles) cells that a detector of the other half of the recording claims."""
    half = len(examples) // 2
    sides = examples[:half], examples[half:]
    claims = []
    for judged, learned in (sides, sides[::-1]):
        with tempfile.TemporaryDirectory() as folder:
            job = TrainingJob(
                learned[:: half // LEARNED],
                (CELL,),
                (CELL,),
                find_starter_weights("starter:mitosis"),
                Path(folder, "model"),
                epochs=epochs,
            )
            run_in_child(job, lambda step: None)
            found, predictions, skipped = predict_examples(load_model(job.out), judged)
            assert not skipped and len(found) == len(judged)
        for prediction in predictions:
            sure = prediction.boxes.select(prediction.boxes.confidence >= FLOOR)
            claims.append(claim_tiles(sure, prediction.size))
    return np.array(claims)


def count_tiles(examples: list[Example]) -> np.ndarray:
    """(frames, tiles) dividing cells by the annotations."""
    counts = []
    for example in examples:
        assert example.boxes is not None and example.size is not None
        sure = Boxes(example.boxes.xyxy, example.boxes.label, np.ones(len(example.boxes)))
        counts.append(claim_tiles(sure, example.size))
    return np.array(counts)


def review(
    random: np.random.Generator, claims: dict[int, Claim], truth: np.ndarray, number: int
) -> list[DrawnTile]:
    """The tiles in the order of their draws, drawn ahead as the product does."""
    drawn: list[DrawnTile] = []
    reviewed = 0
    while len(drawn) < number:
        counts = {tile.task: float(truth[tile.task]) for tile in drawn[:reviewed]}
        drawn += draw_further(random, drawn, claims, counts, min(AHEAD, number - len(drawn)))
        reviewed = len(drawn) - FEW_AHEAD
    return drawn


def estimate(drawn: list[DrawnTile], counts: np.ndarray, inside: np.ndarray) -> Estimate:
    """(PERIODS,) dividing cells in each period. inside: (PERIODS, tiles) the tiles of each."""
    index = [tile.task for tile in drawn]
    probability = np.array([tile.probability for tile in drawn])
    return estimate_total((counts * inside)[:, index], probability, len(counts))


def draw_picture(
    number: np.ndarray, true: np.ndarray, found: Estimate, cells: np.ndarray, path: Path, title: str
) -> None:
    middle = np.arange(len(true)) + 0.5
    figure, axes = plt.subplots(figsize=(7.5, 4), layout="constrained")
    for limits, width, label in (
        (found.sequence, 1.5, "95 %, valid whenever you stop"),
        (found.interval, 5, "95 %, if the number of tiles was fixed"),
    ):
        share = 100 * limits.T / cells
        axes.vlines(middle, *share, lw=width, color="tab:blue", alpha=0.6, label=label)
    axes.plot(middle, 100 * found.value / cells, "o", color="tab:blue", label=f"estimate, {title}")
    steps = np.arange(len(true) + 1)
    axes.stairs(100 * true, steps, color="black", baseline=None, label="true, all tiles")
    axes.set(xlabel="frame", ylabel="mitotic index, %", ylim=(0, None))
    axes.set_xticks(steps, [*number[:: len(number) // len(true)], number[-1]])
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=300)
    parser.add_argument("--drawings", type=int, default=1000)
    parser.add_argument("--epochs", type=int, help="of the trainings; the recipe's by default")
    parser.add_argument("--claims", type=Path, help="JSON: read where it is, else made")
    parser.add_argument("--out", type=Path, help="a folder for the picture")
    asked = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the recording is not at {DATA}")
    started = time.perf_counter()
    with (DATA / "cells.csv").open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["image"])
    by_name = {example.image.name: example for example in read_folder(DATA).examples}
    examples = [
        replace(by_name[row["image"]], size=read_shown_size(by_name[row["image"]].image))
        for row in rows
    ]
    if asked.claims and asked.claims.exists():
        claimed = np.array(json.loads(asked.claims.read_text()))
    else:
        claimed = claim_by_others(examples, asked.epochs)
        if asked.claims:
            asked.claims.write_text(json.dumps(claimed.tolist()))
        print(f"trained and claimed in {time.perf_counter() - started:.0f} s")
    counts = count_tiles(examples)
    truth = counts.ravel()
    assert truth.sum() == sum(int(row["mitotic"]) for row in rows)
    period = np.repeat(np.arange(len(rows)) * PERIODS // len(rows), ROWS * COLUMNS)
    inside = period == np.arange(PERIODS)[:, None]
    cells = np.array([int(row["cells"]) for row in rows]).reshape(PERIODS, -1).sum(axis=1)
    true = (truth * inside).sum(axis=1) / cells
    claims = {tile: Claim("other half", cell) for tile, cell in enumerate(claimed.ravel().tolist())}
    held, sequence_held, total_held, width, naive_width = [], [], [], [], []
    first: list[DrawnTile] = []
    for seed in range(asked.drawings):
        random = np.random.default_rng(seed)
        drawn = review(random, claims, truth, asked.tiles)
        found = estimate(drawn, truth, inside)
        share = found.interval / cells[:, None]
        held.append((share[:, 0] <= true) & (true <= share[:, 1]))
        wide = found.sequence / cells[:, None]
        sequence_held.append((wide[:, 0] <= true) & (true <= wide[:, 1]))
        whole = estimate(drawn, truth, np.ones((1, len(truth)), bool))
        total_held.append(whole.interval[0, 0] <= truth.sum() <= whole.interval[0, 1])
        width.append(np.ptp(whole.interval[0]))
        even = random.permutation(len(truth))[: asked.tiles]
        plain = estimate_total(truth[even], 1 / (len(truth) - np.arange(asked.tiles)), len(truth))
        naive_width.append(np.ptp(plain.interval))
        first = first or drawn
    found = estimate(first, truth, inside)
    number = np.array([int(row["image"].split("_")[1].split(".")[0]) for row in rows])
    seen = truth[[tile.task for tile in first]].sum()
    correlation = np.corrcoef(claimed.ravel(), truth)[0, 1]
    print(
        f"\n{len(truth)} tiles, {truth.sum():.0f} dividing of {cells.sum()} cells; claimed "
        f"{claimed.sum():.0f}, correlation with the counts {correlation:.2f}"
    )
    print(
        f"{asked.tiles} tiles drawn ({asked.drawings} times): the first show {seen:.0f} cells; the "
        f"total's interval is {np.mean(width):.0f} wide, with evenly drawn tiles "
        f"{np.mean(naive_width):.0f}, and holds in {np.mean(total_held):.1%}"
    )
    print("\n| frames | true | estimate | 95 % interval | interval holds | sequence holds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for each in range(PERIODS):
        low, high = found.interval[each] / cells[each]
        frames = number.reshape(PERIODS, -1)[each]
        print(
            f"| {frames[0]} to {frames[-1]} | {true[each]:.2%} "
            f"| {found.value[each] / cells[each]:.2%} | {low:.2%} to {high:.2%} "
            f"| {np.mean(held, axis=0)[each]:.1%} | {np.mean(sequence_held, axis=0)[each]:.1%} |"
        )
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        path = asked.out / "mitotic-index.png"
        title = f"{asked.tiles} of {len(truth)} tiles"
        draw_picture(number, true, found, cells, path, title)
        print(f"\nThe picture: {path}")


if __name__ == "__main__":
    main()
