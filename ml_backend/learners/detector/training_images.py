"""Labelled images made ready for training: decoded, brought to one scale, kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import shown_size
from ml_backend.imaging.decode import UnreadableImage, decode
from ml_backend.learners.detector.augmentation import DELETED, TrainingImage
from ml_backend.learners.detector.hyperparameters import Recipe
from ml_backend.learners.detector.preprocess import STRIDE, compute_scale, resample


def choose_scale(
    examples: Iterable[Example], imgsz: int | None, recipe: Recipe, known: float | None = None
) -> float:
    """Input pixels per image pixel; 1 when no image can be read.

    imgsz: what the longest side of the median image becomes. Without it the scale that the
    base knows is kept (`known`), else the recipe's size is taken; but images are not enlarged
    for it, and objects stay large enough to be told apart: in a large field of small objects
    the size of the field says nothing.
    """
    longest, sides = [], [np.zeros(0)]
    for example in examples:
        try:
            longest.append(max(shown_size(example.image)))
        except (ValueError, OSError):
            continue  # told when its pixels are read
        if example.boxes is not None:
            xyxy = example.boxes.xyxy
            sides.append(np.sqrt((xyxy[:, 2:] - xyxy[:, :2]).clip(0).prod(axis=1)))
    if not longest:
        return 1.0
    field = float(np.median(longest))
    if imgsz is not None:
        return imgsz / field
    side = max(float(np.median(all_sides)), 1.0) if len(all_sides := np.hstack(sides)) else field
    return min(1.0, max(known or recipe.imgsz / field, recipe.object_side / side))


def compute_median_pixel_size(examples: Sequence[Example]) -> float | None:
    """The median µm that a pixel shows; None where it is not known of most examples."""
    sizes = [example.pixel_size for example in examples if example.pixel_size]
    return float(np.median(sizes)) if 2 * len(sizes) > len(examples) else None


def read_training_images(
    examples: Sequence[Example],
    classes: Sequence[str],
    scale: float,
    progress: Callable[[dict[str, Any]], None],
    input_um: float | None = None,
) -> Iterator[TrainingImage]:
    """The views of labelled examples; an image that cannot be read is told and left out.

    scale, input_um: of the version that is trained, see `ModelCard`.
    """

    def read(example: Example) -> TrainingImage | str:
        try:
            own = compute_scale(scale, input_um, example.pixel_size)
            return prepare_training_image(decode(example.image), example, classes, own)
        except UnreadableImage as error:
            return error.reason

    with ThreadPoolExecutor(2) as pool:
        for example, view in zip(examples, pool.map(read, examples), strict=True):
            if isinstance(view, str):
                progress({"skipped": str(example.image), "reason": view})
            else:
                yield view


def prepare_training_image(
    pixels: np.ndarray, example: Example, classes: Sequence[str], scale: float
) -> TrainingImage:
    """The view of one image, (H, W, 3) uint8 RGB, at `scale`.

    Boxes of a class that is not among `classes` neither count nor punish; those that a
    person removed are objects of the class NOTHING.
    """
    assert example.boxes is not None
    resampled = resample(pixels, scale)
    # Sides are rounded to whole pixels; boxes follow what became of the pixels.
    ratio = np.tile(np.divide(resampled.shape[1::-1], pixels.shape[1::-1]), 2)
    limits = np.tile(np.array(resampled.shape[1::-1], np.float32), 2)
    index = {name: i for i, name in enumerate(classes)}
    label = np.array([index.get(str(name), -1) for name in example.boxes.label], np.int64)
    xyxy = np.clip(example.boxes.xyxy * ratio, 0, limits).astype(np.float32)
    real = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
    known = real & (label >= 0)
    ignored = np.concatenate([example.ignored * ratio, xyxy[real & (label < 0)]])
    nothing = np.clip(example.deleted * ratio, 0, limits).astype(np.float32)
    return TrainingImage(
        resampled,
        np.concatenate([xyxy[known], nothing]),
        np.concatenate([label[known], np.full(len(nothing), DELETED)]),
        ignored.astype(np.float32),
    )


def choose_canvas(views: Sequence[TrainingImage], largest: int) -> tuple[int, int]:
    """Height and width of the training input: the median view's, no side above `largest`.

    Both are multiples of STRIDE, at least 64; larger views are seen through windows.
    """
    sides = np.sort([view.pixels.shape[:2] for view in views], axis=1)
    short, long = np.minimum(np.median(sides, axis=0), largest)
    height, width = (max(64, int(np.ceil(side / STRIDE)) * STRIDE) for side in (short, long))
    return height, width
