"""Figures of a version on labelled examples: the artefact that serves is what is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.metrics import Figures, evaluate
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import ModelCard
from ml_backend.system.batching import chunks

# The curve behind AP50 needs boxes far below any threshold; below this they change nothing.
FLOOR = 0.01
# Images decoded ahead of the detector; bounds the memory.
_AHEAD = 8


def detect_all(
    detector: Detector,
    examples: Sequence[Example],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Example], list[Boxes], list[tuple[str, str]]]:
    """The examples that could be read, their boxes, and (file, reason) of those that could not.

    Each is looked at as it would be served: by its pixel size, where that is known.
    """
    kept: list[Example] = []
    skipped: list[tuple[str, str]] = []

    def images(members: Iterable[Example]) -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(2) as pool:
            for chunk in chunks(members, _AHEAD):
                for example, future in [(e, pool.submit(decode, e.image)) for e in chunk]:
                    try:
                        image = future.result()
                    except ValueError as error:
                        skipped.append((str(example.image), str(error)))
                    else:
                        kept.append(replace(example, size=(image.shape[1], image.shape[0])))
                        yield image

    found = []
    for size, members in groupby(examples, key=lambda one: one.pixel_size):
        for boxes in detector.at(size).stream(images(members), FLOOR):
            found.append(boxes)
            progress(len(found) + len(skipped), len(examples))
    return kept, found, skipped


def judge(card: ModelCard, examples: Sequence[Example], found: Sequence[Boxes]) -> Figures:
    """The figures of what a version found in the examples, at its own stored threshold."""
    return evaluate(examples, found, threshold=card.threshold, headline=card.headline)
