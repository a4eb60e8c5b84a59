"""Labelled images prepared for training: decoded, brought to one scale, kept in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_shown_size
from ml_backend.imaging.decode import UnreadableImage, decode
from ml_backend.learners.base import Progress
from ml_backend.learners.detector.hyperparameters import Recipe
from ml_backend.learners.detector.preprocess import STRIDE, compute_scale, resample
from ml_backend.learners.detector.training_data.augmentation import DELETED, TrainingImage


def choose_scale(
    examples: Iterable[Example], imgsz: int | None, recipe: Recipe, known: float | None = None
) -> float:
    """Choose the input pixels for each image pixel.

    Images are not enlarged by the choice, and objects stay large enough to be told apart: in a
    large field of small objects the size of the field does not matter.

    Args:
        examples: Labelled or not.
        imgsz: What the longest side of the median image becomes; chosen here where None.
        recipe: The hyperparameters.
        known: The scale that the base learned; without it the recipe's size is taken.

    Returns:
        The scale; 1 when no image can be read.
    """
    longest, sides = [], [np.zeros(0)]
    for example in examples:
        try:
            longest.append(max(read_shown_size(example.image)))
        except (ValueError, OSError):
            continue  # reported when its pixels are read
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
    """Compute the median µm that a pixel shows; None where most examples have no pixel size."""
    sizes = [example.pixel_size for example in examples if example.pixel_size]
    return float(np.median(sizes)) if 2 * len(sizes) > len(examples) else None


def read_training_images(
    examples: Sequence[Example],
    classes: Sequence[str],
    scale: float,
    progress: Progress,
    input_um: float | None = None,
) -> Iterator[TrainingImage]:
    """Read labelled examples; an image that cannot be read is reported and left out.

    Args:
        examples: With boxes.
        classes: The names, in the order of the labels.
        scale: Of the version that is trained, see `ModelCard`.
        progress: Called with {"skipped", "reason"} for an image that cannot be read.
        input_um: Of the version that is trained, see `ModelCard`.
    """

    def read(example: Example) -> TrainingImage | str:
        try:
            own_scale = compute_scale(scale, input_um, example.pixel_size)
            return prepare_training_image(decode(example.image), example, classes, own_scale)
        except UnreadableImage as error:
            return error.reason

    with ThreadPoolExecutor(2) as pool:
        for example, image in zip(examples, pool.map(read, examples), strict=True):
            if isinstance(image, str):
                progress({"skipped": str(example.image), "reason": image})
            else:
                yield image


def prepare_training_image(
    pixels: np.ndarray, example: Example, classes: Sequence[str], scale: float
) -> TrainingImage:
    """Bring an image and its boxes to the input scale.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        example: Its boxes; those of a class that is not among `classes` are ignored, deleted ones
            get the label DELETED.
        classes: The names, in the order of the labels.
        scale: Input pixels for each image pixel.
    """
    assert example.boxes is not None
    resampled = resample(pixels, scale)
    # Sides are rounded to whole pixels; boxes are scaled by what the sides became.
    ratio = np.tile(np.divide(resampled.shape[1::-1], pixels.shape[1::-1]), 2)
    limits = np.tile(np.array(resampled.shape[1::-1], np.float32), 2)
    index = {name: i for i, name in enumerate(classes)}
    label = np.array([index.get(str(name), -1) for name in example.boxes.label], np.int64)
    xyxy = np.clip(example.boxes.xyxy * ratio, 0, limits).astype(np.float32)
    real = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
    known = real & (label >= 0)
    ignored = np.concatenate([example.ignored * ratio, xyxy[real & (label < 0)]])
    deleted = np.clip(example.deleted * ratio, 0, limits).astype(np.float32)
    return TrainingImage(
        resampled,
        np.concatenate([xyxy[known], deleted]),
        np.concatenate([label[known], np.full(len(deleted), DELETED)]),
        ignored.astype(np.float32),
    )


def choose_canvas(images: Sequence[TrainingImage], largest: int) -> tuple[int, int]:
    """Choose the size of the training input: the median image's, no side above `largest`.

    Returns:
        Height and width, multiples of STRIDE, at least 64; of larger images crops are shown.
    """
    sides = np.sort([image.pixels.shape[:2] for image in images], axis=1)
    short, long = np.minimum(np.median(sides, axis=0), largest)
    height, width = (max(64, int(np.ceil(side / STRIDE)) * STRIDE) for side in (short, long))
    return height, width
