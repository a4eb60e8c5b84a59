"""A model's predictions for labelled examples, by the same model files that serve."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode
from ml_backend.learners.base import Model, Picture, Prediction
from ml_backend.system.batching import make_batches

# The curve behind AP50 needs predictions far below any threshold; below this they change nothing.
FLOOR = 0.01
# Images decoded ahead of the model; bounds the memory.
_AHEAD = 8


def predict_examples(
    model: Model,
    examples: Sequence[Example],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Example], list[Prediction], list[tuple[str, str]]]:
    """Predict each example as it would be served: by its pixel size, where that is known.

    Args:
        model: It predicts everything from the confidence FLOOR on.
        examples: The model sees their pixels and pixel size, and their boxes without labels, which
            only a classifier of regions answers for; it does not see their truth.
        progress: Called with how many are done, and how many there are.

    Returns:
        The examples that could be read, with their size; the prediction of each; and (file,
        reason) of those that could not be read.
    """
    kept: list[Example] = []
    skipped: list[tuple[str, str]] = []
    waiting: deque[Example] = deque()

    def read() -> Iterator[Picture]:
        with ThreadPoolExecutor(2) as pool:
            for chunk in make_batches(examples, _AHEAD):
                for example, future in [(item, pool.submit(decode, item.image)) for item in chunk]:
                    try:
                        pixels = future.result()
                    except ValueError as error:
                        skipped.append((str(example.image), str(error)))
                    else:
                        waiting.append(example)
                        yield Picture(pixels, example.pixel_size, _hide_labels(example.boxes))

    predictions = []
    for prediction in model.predict(read(), FLOOR):
        kept.append(replace(waiting.popleft(), size=prediction.size))
        predictions.append(prediction)
        progress(len(predictions) + len(skipped), len(examples))
    return kept, predictions, skipped


def _hide_labels(boxes: Boxes | None) -> Boxes:
    return Boxes() if boxes is None else replace(boxes, label=np.full(len(boxes), ""))
