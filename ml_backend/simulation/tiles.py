"""Labelled images cut into tiles, as a scan comes: most of them empty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.matching import compute_coverage
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode, encode_png
from ml_backend.imaging.sliding_windows import plan_spans
from ml_backend.system.atomic_files import replace_file

# A box of which a tile shows less than this share is ignored there: another tile shows more of it.
SEEN = 0.5


def cut_into_tiles(
    examples: Sequence[Example],
    side: int,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Example], list[tuple[str, str]]]:
    """Cut labelled images into tiles that cover them; the last ones of a row overlap.

    Args:
        examples: With boxes.
        side: Of the tiles, px; smaller images stay whole.
        folder: Gets the tiles as PNG, those that are not there yet.
        progress: Called with how many images are done, and of how many.

    Returns:
        The tiles with what they show, each of the group of its image; and (file, reason) of the
        images that could not be read.
    """
    tiles, unread = [], []
    for number, example in enumerate(examples):
        try:
            pixels = decode(example.image)
        except ValueError as error:
            unread.append((str(example.image), str(error)))
            continue
        height, width = pixels.shape[:2]
        for top, bottom in plan_spans(height, side, 0):
            for left, right in plan_spans(width, side, 0):
                path = folder / f"{number:05}-{example.image.stem}-{top}-{left}.png"
                if not path.exists():
                    with replace_file(path) as temporary:
                        temporary.write_bytes(encode_png(pixels[top:bottom, left:right]))
                tiles.append(_show(example, path, np.array([left, top, right, bottom])))
        progress(number + 1, len(examples))
    return tiles, unread


def _show(example: Example, path: Path, window: np.ndarray) -> Example:
    """What a window (left, top, right, bottom) of an example shows."""
    assert example.boxes is not None
    boxes = example.boxes
    seen = compute_coverage(boxes.xyxy, window[None])[:, 0]
    ignored = example.ignored[compute_coverage(example.ignored, window[None])[:, 0] > 0]
    cut = boxes.xyxy[(seen > 0) & (seen < SEEN)]

    def move(xyxy: np.ndarray) -> np.ndarray:
        corner = np.tile(window[:2], 2)
        return np.clip(xyxy - corner, 0, np.tile(window[2:] - window[:2], 2)).astype(np.float32)

    whole = boxes.select(seen >= SEEN)
    return replace(
        example,
        image=path,
        boxes=Boxes(move(whole.xyxy), whole.label, whole.confidence),
        ignored=move(np.concatenate([ignored, cut])),
        image_label=None,
        size=None,
    )
