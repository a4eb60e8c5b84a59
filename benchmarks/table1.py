"""Table 1 of Nagaki et al. (2021) redone: images by whether whole, partial or no mitotic cells
are in them, before and after 20 corrected tasks.

    uv run python benchmarks/table1.py [--tasks 20] [--seed 0]

The images are those of the samples Os, Asa and Ta beside the project, which the shipped
starter never saw, with their checked boxes. They are parted in two halves, each with images
of every sample. On 20 tiles of 960 × 720 px of one half, corrected, the starter is trained as
the product trains it; tiles of 640 × 480 px of the other half are called positive or not, by
the starter and by what it became; then the halves change places, so that every image is
judged once and none by a version that saw it. Tiles on which less than a quarter of a cell is
seen, or a doubtful one, are left out. Intervals (95 %) are over images.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from corrections_help import CELL, REAL, learned, taken, tiles
from starter import ready

from ml_backend.dataset.example import Example
from ml_backend.evaluation.metrics import evaluate
from ml_backend.evaluation.summary_tables import ImageRow
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode
from ml_backend.learners.detector.inference import Detector
from ml_backend.promotion.predict_examples import predict_examples

WIDTH, HEIGHT = 640, 480
SEEN = 0.25  # of a cell that is seen counts as a part of it,
TRACE = 0.02  # so much as nothing; tiles with something between are left out


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tasks", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=0)
    asked = arguments.parse_args()
    if not REAL.is_dir():
        sys.exit(f"the real images are not at {REAL}")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        starter = Detector.load(ready(scratch))
        images = taken(scratch / "images", False)
        judged: list[Example] = []
        called: dict[str, list[bool]] = {"before": [], "after": []}
        for number, (first, second) in enumerate(halves(images, asked.seed)):
            tasks = tiles(first, scratch / f"tasks-{number}", asked.seed)[: asked.tasks]
            trained = learned(tasks, scratch / f"trained-{number}", asked.seed)
            pieces = cut(second, scratch / f"pieces-{number}")
            judged += pieces
            for when, detector in (("before", starter), ("after", trained)):
                called[when] += positive(detector, pieces)
            print(
                f"trained on {len(tasks)} tiles of {len(first)} images, "
                f"judged on {len(pieces)} tiles of {len(second)} others",
                flush=True,
            )
        report(judged, called, asked.tasks)


def halves(images: Sequence[Example], seed: int) -> list[tuple[list[Example], list[Example]]]:
    """Every second image of each sample, in an order that the seed draws; both ways round."""
    order = np.random.default_rng(seed).permutation(len(images))
    by_sample = sorted((images[i] for i in order), key=lambda image: image.group)
    return [(by_sample[::2], by_sample[1::2]), (by_sample[1::2], by_sample[::2])]


def cut(images: Sequence[Example], folder: Path) -> list[Example]:
    """Nine tiles of every image, which reach its edges, with the cells that are seen there."""
    folder.mkdir()
    made = []
    for image in images:
        assert image.boxes is not None
        pixels = decode(image.image)
        cells = image.boxes.xyxy[image.boxes.label == CELL]
        high, wide = pixels.shape[:2]
        for top in np.linspace(0, high - HEIGHT, 3).round().astype(int).tolist():
            for left in np.linspace(0, wide - WIDTH, 3).round().astype(int).tolist():
                seen, share = clipped(cells, left, top)
                _, doubtful = clipped(image.ignored, left, top)
                some = share >= SEEN
                if not some.any() and ((share > TRACE).any() or (doubtful > TRACE).any()):
                    continue
                path = folder / f"{image.image.stem}-{left}-{top}.png"
                cv2.imwrite(str(path), pixels[top : top + HEIGHT, left : left + WIDTH, ::-1])
                boxes = Boxes.from_rows((*box, CELL) for box in seen[some].tolist())
                # What the whole image shows says nothing of its tile; the boxes do.
                group = image.image.stem
                made.append(replace(image, image=path, group=group, boxes=boxes, image_label=None))
    return made


def clipped(xyxy: np.ndarray, left: int, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) as a tile shows them, in its px, and the share (N,) of each that it shows."""
    inside = np.clip(xyxy - np.tile([left, top], 2), 0, np.tile([WIDTH, HEIGHT], 2))
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
    return inside, (inside[:, 2:] - inside[:, :2]).prod(axis=1) / np.maximum(area, 1e-9)


def positive(detector: Detector, pieces: Sequence[Example]) -> list[bool]:
    """Whether a mitotic cell is found in each tile, at the detector's own threshold."""
    _, found, skipped = predict_examples(detector, pieces)
    if skipped:
        sys.exit(f"{skipped[0][0]}: {skipped[0][1]}")
    sure = detector.card.threshold
    drawn = [example.boxes for example in found]
    return [bool(((boxes.label == CELL) & (boxes.confidence >= sure)).any()) for boxes in drawn]


def report(judged: Sequence[Example], called: dict[str, list[bool]], tasks: int) -> None:
    sized = [replace(example, size=(WIDTH, HEIGHT), ignored=np.zeros((0, 4))) for example in judged]
    table = {when: rows(sized, answers) for when, answers in called.items()}
    print(f"\n{'':26}{'before: called, right':>36}{f'after {tasks} tasks':>36}")
    for before, after in zip(table["before"], table["after"], strict=True):
        print(
            f"{before.shows:10}{before.images:6} tiles    "
            f"{describe_row(before):>36}{describe_row(after):>36}"
        )
    changed = np.array(called["before"]) != np.array(called["after"])
    images = {example.group for example in judged}
    print(f"{len(images)} images; {changed.sum()} tiles called otherwise")


def rows(judged: Sequence[Example], answers: Sequence[bool]) -> tuple[ImageRow, ...]:
    """The product's own table, of answers that are one box of all the tile, or none."""
    everywhere = np.array([[0, 0, WIDTH, HEIGHT]], np.float32)
    boxes = [
        Boxes(everywhere[:n], np.array([CELL])[:n], np.ones(n, np.float32))
        for n in map(int, answers)
    ]
    return evaluate(judged, boxes, threshold=0.5, headline=(CELL,)).image_table


def describe_row(row: ImageRow) -> str:
    value, interval = row.accuracy.value, row.accuracy.interval
    around = f" ({100 * interval[0]:.0f} to {100 * interval[1]:.0f})" if interval else ""
    return f"{row.called:5} called, {100 * (value or 0):5.1f} %{around}"


if __name__ == "__main__":
    main()
