"""Finding the objects of a version's classes in images.

A version knows one scale, so an image is resampled by it and never fitted into a frame: a
cell has the size that the network learned, in a field, a tile of it or a stitched slide.
What would be larger than WINDOW input pixels after that is looked at through overlapping
windows, which bounds memory whatever the image. An object no larger than the overlap lies
whole in one of the windows; a piece of it seen at the edge of another is recognised by
lying inside the whole one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.boxes import Boxes
from ml_backend.learners.model_file import FILE_NAME, ModelCard, read_card
from ml_backend.learners.nms import suppress
from ml_backend.learners.preprocess import input_size, to_input
from ml_backend.learners.runtime import Runtime, runtime

WINDOW = 1536  # input px a side; a YOLOv5n in OpenVINO then takes 0.3 GB
OVERLAP = 256  # input px; objects are a tenth to a fifth of that
MOST_BOXES = 300  # of an image, the most confident ones; what a person can still review
EDGE = 2  # input px; a box that ends so close to a window's edge is cut by it
INSIDE = 0.5  # share of a cut box that must lie in a whole one to be a piece of it


@dataclass(frozen=True)
class Window:
    """A part of an image, in image pixels: `pixels` (H, W, 3) is a view of it.

    cut: whether the left, top, right and bottom edge run through the image.
    """

    image: int
    left: int
    top: int
    pixels: np.ndarray
    cut: tuple[bool, bool, bool, bool]


@dataclass(frozen=True)
class Found:
    """Boxes of a window in pixels of the whole image; label: (N,) class indices.

    cut: (N,) bool, whether a box ends where its window does and the image does not.
    """

    xyxy: np.ndarray
    label: np.ndarray
    confidence: np.ndarray
    cut: np.ndarray

    def where(self, keep: np.ndarray) -> Found:
        return Found(self.xyxy[keep], self.label[keep], self.confidence[keep], self.cut[keep])

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        return cls(
            np.concatenate([part.xyxy for part in parts]),
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.confidence for part in parts]),
            np.concatenate([part.cut for part in parts]),
        )


class Detector:
    """A version ready to detect. May be used by several threads at a time."""

    def __init__(self, card: ModelCard, runtime: Runtime) -> None:
        self.card = card
        self._runtime = runtime
        self._names = np.array(card.classes)

    @classmethod
    def load(cls, folder: Path) -> Detector:
        """From a version's folder: weights.safetensors with model.xml and model.bin.

        Raises FileNotFoundError when a file is missing, ValueError when it is not ours.
        """
        weights = folder / FILE_NAME
        if not weights.exists():
            raise FileNotFoundError(f"{weights} is missing")
        return cls(read_card(weights), runtime(folder))

    def predict(self, images: Iterable[np.ndarray], floor: float | None = None) -> list[Boxes]:
        """`stream`, with all images and answers in memory."""
        return list(self.stream(images, floor))

    def stream(self, images: Iterable[np.ndarray], floor: float | None = None) -> Iterator[Boxes]:
        """The boxes of each image in order, the most confident first, at most MOST_BOXES.

        Takes a few images ahead of what it has answered, so that the network always has
        work while the next image is read and the last one's boxes are used.

        images: (H, W, 3) uint8 RGB, of any sizes. floor: the lowest confidence, 0..1; the
        card's threshold where it is not given.
        """
        floor = self.card.threshold if floor is None else floor
        handed: deque[Window] = deque()  # to the runtime, in order
        missing: dict[int, int] = {}  # windows of an image that are not answered yet
        found: dict[int, list[Found]] = {}
        following = 0
        for answer in self._runtime.infer(self._batches(images, handed, missing)):
            for output in answer:
                window = handed.popleft()
                found.setdefault(window.image, []).append(self._found(output, window, floor))
                missing[window.image] -= 1
            while missing.get(following) == 0:
                del missing[following]
                yield self._merged(found.pop(following))
                following += 1

    def _windows(self, index: int, image: np.ndarray) -> Iterator[Window]:
        height, width = image.shape[:2]
        side = max(1, int(WINDOW / self.card.scale))
        step = max(1, int((WINDOW - OVERLAP) / self.card.scale))
        for top, bottom in _spans(height, side, step):
            for left, right in _spans(width, side, step):
                pixels = image[top:bottom, left:right]
                cut = (left > 0, top > 0, right < width, bottom < height)
                yield Window(index, left, top, pixels, cut)

    def _batches(
        self, images: Iterable[np.ndarray], handed: deque[Window], missing: dict[int, int]
    ) -> Iterator[np.ndarray]:
        """Inputs of one shape together, as many as the runtime likes."""
        gathered: dict[tuple[int, ...], list[tuple[Window, np.ndarray]]] = {}

        def batch(shape: tuple[int, ...]) -> np.ndarray:
            members = gathered.pop(shape)
            handed.extend(window for window, _ in members)
            return np.stack([pixels for _, pixels in members])

        for index, image in enumerate(images):
            windows = list(self._windows(index, image))
            missing[index] = len(windows)
            for window in windows:
                pixels = to_input(window.pixels, self.card.scale)
                gathered.setdefault(pixels.shape, []).append((window, pixels))
                if len(gathered[pixels.shape]) == self._runtime.batch:
                    yield batch(pixels.shape)
                elif sum(map(len, gathered.values())) >= 4 * self._runtime.batch:
                    yield batch(next(iter(gathered)))  # a rare shape does not wait for ever
        while gathered:
            yield batch(next(iter(gathered)))

    def _found(self, output: np.ndarray, window: Window, floor: float) -> Found:
        """Decode one output (4 + classes, anchors) to boxes in pixels of the whole image."""
        label = output[4:].argmax(axis=0)
        confidence = np.take_along_axis(output[4:], label[None], axis=0)[0]
        sure = np.flatnonzero(confidence >= floor)
        label, confidence = label[sure], confidence[sure]
        centre, size = output[:2, sure].T, output[2:4, sure].T
        corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1)

        height, width = window.pixels.shape[:2]
        scaled_height, scaled_width = input_size(height, width, self.card.scale)
        # Resampling rounds the sides to whole pixels: go back by the ratio that came out.
        ratio = np.array([scaled_width / width, scaled_height / height] * 2)
        xyxy = np.clip(corners / ratio, 0, [width, height] * 2)
        margin = EDGE / self.card.scale
        near = np.abs(xyxy - [0, 0, width, height]) < margin
        cut = (near & np.array(window.cut)).any(axis=1)
        xyxy += [window.left, window.top] * 2
        kept = suppress(xyxy, label, confidence, self.card.nms_iou)[:MOST_BOXES]
        return Found(xyxy[kept], label[kept], confidence[kept], cut[kept])

    def _merged(self, parts: Sequence[Found]) -> Boxes:
        """The boxes of one image from those of its windows."""
        found = parts[0]
        if len(parts) > 1:
            found = Found.joined(parts)
            found = found.where(~_pieces(found))
            kept = suppress(found.xyxy, found.label, found.confidence, self.card.nms_iou)
            found = found.where(kept[:MOST_BOXES])
        return Boxes(found.xyxy, self._names[found.label], found.confidence)


def _spans(length: int, side: int, step: int) -> list[tuple[int, int]]:
    """Starts and ends of the windows along one side; the last one ends with the image."""
    if length <= side:
        return [(0, length)]
    starts = [*range(0, length - side, step), length - side]
    return [(start, start + side) for start in starts]


def _pieces(found: Found) -> np.ndarray:
    """Which boxes, cut by a window's edge, lie inside a whole box of their class: a mask."""
    pieces = np.zeros(len(found.xyxy), bool)
    whole = found.where(~found.cut)
    for index in np.flatnonzero(found.cut):
        box = found.xyxy[index]
        low = np.maximum(whole.xyxy[:, :2], box[:2])
        high = np.minimum(whole.xyxy[:, 2:], box[2:])
        inside = np.clip(high - low, 0, None).prod(axis=1)
        same = whole.label == found.label[index]
        area = max((box[2:] - box[:2]).prod(), 1e-9)
        pieces[index] = bool((same & (inside / area > INSIDE)).any())
    return pieces
