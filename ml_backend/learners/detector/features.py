"""How a version's own network sees a box: the means, over the box, of the maps that feed its head.

The maps are inner nodes of the exported model, so nothing else has to be exported, and no torch is
needed. The first two of the three levels are taken, of strides 8 and 16: a cell covers several of
their places. Each level's mean has length 1 before they are joined, so that both count alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.base import Picture
from ml_backend.learners.detector.preprocess import (
    compute_input_size,
    compute_scale,
    prepare_input,
)
from ml_backend.learners.model_file import FILE_NAME, read_card
from ml_backend.learners.openvino_runtime import IR_NAME

# The convolutions of ultralytics' Detect that read the maps, as the export names them.
_READERS = tuple(f"cv2.{level}.0.conv/aten::_convolution/Convolution" for level in range(2))


def describe_boxes(
    folder: Path, pictures: Iterable[Picture], boxes: Iterable[Boxes]
) -> Iterator[np.ndarray]:
    """Describe each box of each picture by the features of a version.

    Args:
        folder: Of the version.
        pictures: The images.
        boxes: Of each, in pixels of the image.

    Yields:
        (N, D) float32 for the N boxes of a picture, each row of length 1.

    Raises:
        ValueError: The version's network has another kind of head.
    """
    import openvino as ov

    core = ov.Core()
    network = core.read_model(folder / IR_NAME)
    nodes = {node.get_friendly_name(): node for node in network.get_ordered_ops()}
    found = [node for name, node in nodes.items() if name.endswith(_READERS)]
    if len(found) != len(_READERS):
        raise ValueError(f"{folder.name} has another kind of head; no features are known of it")
    maps = [node.input(0).get_source_output() for node in found]
    part = ov.Model(maps, network.get_parameters(), "features")
    compiled = core.compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    card = read_card(folder / FILE_NAME)
    for picture, marked in zip(pictures, boxes, strict=True):
        scale = compute_scale(card.scale, card.input_um, picture.pixel_size)
        height, width = picture.pixels.shape[:2]
        pixels = prepare_input(picture.pixels, scale)
        answer = compiled(pixels[None])
        rows, columns = compute_input_size(height, width, scale)
        ratio = np.array([columns / width, rows / height] * 2)
        levels = [_average(answer[place][0], marked.xyxy * ratio, pixels) for place in range(2)]
        yield _normalize(np.concatenate(levels, axis=1))


def _average(grid: np.ndarray, xyxy: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Average a map (C, H, W) over boxes (N, 4) in input px, at least over one place: (N, C)."""
    stride = pixels.shape[1] / grid.shape[2]
    means = np.zeros((len(xyxy), len(grid)), np.float32)
    limits = np.array([grid.shape[2], grid.shape[1]])
    for row, box in enumerate(xyxy / stride):
        left, top = np.clip(np.floor(box[:2]).astype(int), 0, limits - 1)
        right, bottom = np.maximum(np.ceil(box[2:]).astype(int), [left + 1, top + 1])
        means[row] = grid[:, top:bottom, left:right].mean(axis=(1, 2))
    return _normalize(means)


def _normalize(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
