"""What a strategy is told of the images that wait, gathered by its needs, and what it chooses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ml_backend.active_learning.difficulty import measure_difficulty
from ml_backend.active_learning.strategies.base import Candidate, Context, Strategy
from ml_backend.dataset.example import Example
from ml_backend.dataset.split import hash_to_unit
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode
from ml_backend.learners.base import Picture
from ml_backend.learners.kinds import find_learner
from ml_backend.learners.model_file import DETECTOR
from ml_backend.serving.preannotation import FLOOR
from ml_backend.simulation.lab import Lab, Named

# Models beside the version itself, each of which learned from all but one part of the images.
MEMBERS = 2


def choose_images(
    lab: Lab,
    strategy: Strategy,
    version: Path,
    reviewed: Named,
    waiting: Named,
    number: int,
    batch: int,
) -> dict[str, Boxes]:
    """Let a strategy choose a batch of the waiting images.

    Args:
        lab: Of the seed.
        strategy: Chooses.
        version: The folder of the version that marks the images.
        reviewed: What it learned from, by name.
        waiting: The images to choose from, by name.
        number: How many rounds were reviewed before.
        batch: How many images to choose.

    Returns:
        The boxes that are shown on each chosen image, by name, first the one reviewed first.
    """
    marked = lab.mark(version, waiting)
    names = list(marked)
    answers = [lab.list_answers(boxes, FLOOR) for boxes in marked.values()]
    features: Sequence[np.ndarray | None] = [None] * len(names)
    if "features" in strategy.needs:
        features = list(_describe(version, [waiting[name] for name in names], answers))
    members: list[dict[str, Boxes]] = []
    if "committee" in strategy.needs and reviewed:
        members = [lab.mark(member, waiting) for member in _train_members(lab, reviewed)]
    candidates = [
        Candidate(
            f"{lab.seed}/{name}",
            boxes,
            described,
            tuple(lab.list_answers(member[name], FLOOR) for member in members),
        )
        for name, boxes, described in zip(names, answers, features, strict=True)
    ]
    threshold = lab.read_threshold(version)
    context = Context(
        threshold,
        number,
        _find_difficulty(lab, version, reviewed) if "difficulty" in strategy.needs else {},
        _find_exemplars(lab, version, reviewed) if "exemplars" in strategy.needs else None,
    )
    scores = strategy.score(candidates, context)
    ties = np.array([hash_to_unit(candidate.key) for candidate in candidates])
    chosen = [names[place] for place in np.lexsort((ties, scores))[:batch]]
    return {name: marked[name].select(marked[name].confidence >= threshold) for name in chosen}


def _describe(
    version: Path, examples: Sequence[Example], boxes: Sequence[Boxes]
) -> Iterator[np.ndarray]:
    pictures = (Picture(decode(example.image), example.pixel_size) for example in examples)
    return find_learner(DETECTOR).describe(version, pictures, boxes)


def _train_members(lab: Lab, reviewed: Named) -> Iterator[Path]:
    """Train models that each lack one part of the images, parts by hash."""
    for member in range(MEMBERS):
        kept = [
            example
            for name, example in reviewed.items()
            if int(hash_to_unit(f"cytoloop committee/{name}") * MEMBERS) != member
        ]
        if kept:
            yield lab.train(kept, lab.folder / f"member-{member}")


def _find_difficulty(lab: Lab, version: Path, reviewed: Named) -> dict[str, float]:
    marked = lab.mark(version, reviewed)
    pairs = ((example.boxes, marked[n]) for n, example in reviewed.items() if n in marked)
    return measure_difficulty((true, boxes) for true, boxes in pairs if true is not None)


def _find_exemplars(lab: Lab, version: Path, reviewed: Named) -> np.ndarray | None:
    """The features of the marked objects of the rarest headline class: more of these are wanted."""
    boxed = [example for example in reviewed.values() if example.boxes is not None]
    labels = [str(name) for e in boxed if e.boxes is not None for name in e.boxes.label]
    there = [name for name in lab.headline if name in labels]
    if not there:
        return None
    rarest = min(there, key=labels.count)
    rare = [
        example.boxes.select(example.boxes.label == rarest)
        for example in boxed
        if example.boxes is not None
    ]
    return np.concatenate(list(_describe(version, boxed, rare)))
