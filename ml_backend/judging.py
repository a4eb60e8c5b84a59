"""Figures of a version on labelled examples: the artefact that serves is what is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ml_backend.boxes import Boxes
from ml_backend.dataset import Example
from ml_backend.evaluation import Figures, evaluate
from ml_backend.images import decode
from ml_backend.learners.detector import Detector

# The curve behind AP50 needs boxes far below any threshold; below this they change nothing.
FLOOR = 0.01
_BATCH = 8


def detect_all(
    detector: Detector,
    examples: Sequence[Example],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Example], list[Boxes], list[tuple[str, str]]]:
    """The examples that could be read, their boxes, and (file, reason) of those that could not."""
    kept: list[Example] = []
    found: list[Boxes] = []
    skipped: list[tuple[str, str]] = []
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(examples), _BATCH):
            batch = examples[start : start + _BATCH]
            images = []
            for example, future in [(e, pool.submit(decode, e.image)) for e in batch]:
                try:
                    images.append(future.result())
                    kept.append(example)
                except ValueError as error:
                    skipped.append((str(example.image), str(error)))
            found.extend(detector.predict(images, FLOOR) if images else [])
            progress(min(start + _BATCH, len(examples)), len(examples))
    return kept, found, skipped


def judge(detector: Detector, examples: Sequence[Example], **options: object) -> Figures:
    """The detector's figures on the examples, at its own stored threshold."""
    kept, found, _ = detect_all(detector, examples)
    return evaluate(kept, found, threshold=detector.card.threshold, headline=detector.card.headline)
