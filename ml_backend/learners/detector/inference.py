"""Finding the objects of a version's classes in images.

A version has one scale, so an image is resampled by it and never fitted into a frame: a
cell has the size that the network learned, in a field, a tile of it or a stitched slide.
What would be larger than WINDOW input pixels after that is looked at through overlapping
`sliding_windows`, which bounds memory whatever the image; `merge_detections` makes one object of
what several of them show.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.merge_detections import Objects, WindowDetections, merge_windows
from ml_backend.imaging.nms import suppress_overlaps
from ml_backend.imaging.sliding_windows import InMemoryPlane, Plane, Window
from ml_backend.learners.base import Picture, Prediction
from ml_backend.learners.detector.preprocess import (
    compute_input_size,
    compute_scale,
    count_halvings,
    prepare_input,
)
from ml_backend.learners.model_file import FILE_NAME, ModelCard, read_card
from ml_backend.learners.openvino_runtime import (
    IR_NAME,
    OpenVinoRuntime,
    Runtime,
    count_cuda_devices,
)

log = logging.getLogger(__name__)

WINDOW = 2048  # input px a side; a YOLOv5n in OpenVINO then takes 0.2 GB
OVERLAP = 256  # input px; a cell larger than that may be whole in no window
MOST_BOXES = 300  # of an image, the most confident ones; what a person can still review
EDGE = 2  # input px; a box that ends so close to a window's edge is cut by it


def _note_size(pixels: np.ndarray, sizes: deque[tuple[int, int]]) -> np.ndarray:
    sizes.append((pixels.shape[1], pixels.shape[0]))
    return pixels


def choose_runtime(folder: Path, threads: int | None = None) -> Runtime:
    """Choose the fastest runtime of this machine.

    Runtimes take batches of `prepare_input` images, uint8 (B, H, W, 3) RGB, and answer float32
    (B, 4 + classes, anchors) in the same order: centre x, centre y, width and height in input
    pixels, then a probability for each class. They may be called from several threads.

    Args:
        folder: Of the version.
        threads: See `OpenVinoRuntime`; torch on CUDA takes no notice of it.
    """
    if count_cuda_devices():
        from ml_backend.learners.detector.torch_runtime import TorchRuntime, is_cuda_usable

        if is_cuda_usable():
            return TorchRuntime(folder / FILE_NAME, "cuda", half=True)
        log.warning("there is a CUDA device but torch cannot use it; detecting on the CPU")
    return OpenVinoRuntime(folder / IR_NAME, threads)


@dataclass(frozen=True)
class _WindowPlace:
    """Where an input came from.

    Attributes:
        plane: The number of its plane.
        left: Of the window in the plane, px; likewise top, right and bottom.
        ratio: Input px for each px of the plane, across and down.
    """

    plane: int
    left: int
    top: int
    right: int
    bottom: int
    ratio: tuple[float, float]


class _PendingPlane:
    """A plane with windows that are still to be read or to be answered for."""

    def __init__(self, plane: Plane) -> None:
        self.width, self.height = plane.width, plane.height
        self.missing = 0
        self.handed_out = False
        self.found: list[WindowDetections] = []

    def is_complete(self) -> bool:
        return self.handed_out and not self.missing


class Detector:
    """A version ready to detect. May be used by several threads at a time.

    Args:
        card: Of the version.
        runtime: Runs its network.
        scale: Input pixels for each image pixel; the card's where not given.

    Attributes:
        card: The same.
        scale: Input pixels for each image pixel.
        side: Of the sliding windows over larger planes, image px.
        overlap: Of neighbouring windows, image px.
        margin: A box that ends so close to a window's edge is cut by it, image px.
        halvings: How often the pixels of such windows may be halved before they come here.
    """

    def __init__(self, card: ModelCard, runtime: Runtime, scale: float | None = None) -> None:
        self.card = card
        self.scale = scale or card.scale
        self.side = max(2, int(WINDOW / self.scale))
        self.overlap = int(OVERLAP / self.scale)
        self.margin = EDGE / self.scale
        self.halvings = count_halvings(self.scale)
        self._runtime = runtime
        self._names = np.array(card.classes)

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> Detector:
        """Load a version's folder: weights.safetensors with model.xml and model.bin.

        Args:
            folder: Of the version.
            threads: Of the CPU, that detecting may take; all where not given.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: The file is not ours.
        """
        weights = folder / FILE_NAME
        if not weights.exists():
            raise FileNotFoundError(f"{weights} is missing")
        return cls(read_card(weights), choose_runtime(folder, threads))

    def adapt_to(self, pixel_size: float | None) -> Detector:
        """Return the detector for images of so many µm a pixel.

        It resamples them so that objects are as large as those that it learned; where either
        size is not known, by the card's scale.
        """
        scale = compute_scale(self.card.scale, self.card.input_um, pixel_size)
        return self if scale == self.scale else Detector(self.card, self._runtime, scale)

    def predict(
        self, pictures: Iterable[Picture], floor: float | None = None
    ) -> Iterator[Prediction]:
        """Find the objects of each picture, in order; see `learners.base.Model`.

        Pictures of one pixel size in a row go through the network together.
        """
        for pixel_size, members in groupby(pictures, key=lambda picture: picture.pixel_size):
            sizes: deque[tuple[int, int]] = deque()
            images = (_note_size(picture.pixels, sizes) for picture in members)
            for boxes in self.adapt_to(pixel_size).stream(images, floor):
                yield Prediction(sizes.popleft(), boxes)

    def detect(self, images: Iterable[np.ndarray], floor: float | None = None) -> list[Boxes]:
        """Run `stream` with all images and answers in memory."""
        return list(self.stream(images, floor))

    def stream(self, images: Iterable[np.ndarray], floor: float | None = None) -> Iterator[Boxes]:
        """Yield the boxes of each image in order, the most confident first, at most MOST_BOXES.

        Args:
            images: (H, W, 3) uint8 RGB, of any sizes.
            floor: The lowest confidence, 0..1; the card's threshold where not given.
        """
        for found in self.find_objects(map(InMemoryPlane, images), floor):
            best = found.select(slice(MOST_BOXES))
            yield Boxes(best.xyxy, best.label, best.confidence)

    def find_objects(
        self, planes: Iterable[Plane], floor: float | None = None
    ) -> Iterator[Objects]:
        """Yield the objects of each plane in order, each object once; labels are class names.

        A few windows are read ahead of what was answered, so that the network always has work
        while the next window is read and the last one's boxes are used. A plane's pixels are
        asked for once, window by window.

        Args:
            planes: Of any sizes.
            floor: The lowest confidence, 0..1; the card's threshold where not given.
        """
        floor = self.card.threshold if floor is None else floor
        submitted: deque[_WindowPlace] = deque()  # to the runtime, in order
        pending: dict[int, _PendingPlane] = {}
        following = 0
        for answer in self._runtime.infer(self._batches(planes, submitted, pending)):
            for output in answer:
                place = submitted.popleft()
                plane = pending[place.plane]
                plane.found.append(self._decode(output, place, floor))
                plane.missing -= 1
            while following in pending and pending[following].is_complete():
                yield self._merge(pending.pop(following))
                following += 1
        for plane in pending.values():  # a plane is known to be complete one window later
            yield self._merge(plane)

    def _batches(
        self,
        planes: Iterable[Plane],
        submitted: deque[_WindowPlace],
        pending: dict[int, _PendingPlane],
    ) -> Iterator[np.ndarray]:
        """Yield inputs of one shape together, as many as the runtime prefers."""
        gathered: dict[tuple[int, ...], list[tuple[_WindowPlace, np.ndarray]]] = {}

        def batch(shape: tuple[int, ...]) -> np.ndarray:
            members = gathered.pop(shape)
            submitted.extend(place for place, _ in members)
            return np.stack([pixels for _, pixels in members])

        for number, plane in enumerate(planes):
            current = pending[number] = _PendingPlane(plane)
            for window in plane.read_windows(self.side, self.overlap):
                current.missing += 1
                pixels = prepare_input(window.pixels, self.scale, window.halved)
                if np.may_share_memory(pixels, window.pixels):
                    pixels = pixels.copy()  # the next window may overwrite it
                place = self._locate(number, plane, window)
                gathered.setdefault(pixels.shape, []).append((place, pixels))
                if len(gathered[pixels.shape]) == self._runtime.batch:
                    yield batch(pixels.shape)
                elif sum(map(len, gathered.values())) >= 4 * self._runtime.batch:
                    yield batch(next(iter(gathered)))  # a rare shape does not wait for ever
            current.handed_out = True
        while gathered:
            yield batch(next(iter(gathered)))

    def _locate(self, number: int, plane: Plane, window: Window) -> _WindowPlace:
        height, width = compute_input_size(window.height, window.width, self.scale)
        return _WindowPlace(
            number,
            window.left,
            window.top,
            min(window.left + window.width, plane.width),
            min(window.top + window.height, plane.height),
            # Resampling rounds the sides to whole pixels: go back by what came out.
            (width / window.width, height / window.height),
        )

    def _decode(self, output: np.ndarray, place: _WindowPlace, floor: float) -> WindowDetections:
        """Decode one output (4 + classes, anchors) to boxes in pixels of the whole plane."""
        scaling = self.card.calibration
        confidence = output[4:].max(axis=0)
        confident = np.flatnonzero(confidence >= (scaling.invert(floor) if scaling else floor))
        label, confidence = output[4:, confident].argmax(axis=0), confidence[confident]
        if scaling:
            confidence = scaling.scale(confidence).astype(np.float32)
        centre, size = output[:2, confident].T, output[2:4, confident].T
        corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1)

        view = [place.left, place.top, place.right, place.bottom]
        corner = np.tile(view[:2], 2)
        xyxy = np.clip(corners / np.tile(place.ratio, 2) + corner, corner, np.tile(view[2:], 2))
        kept = suppress_overlaps(xyxy, label, confidence, self.card.nms_iou)[:MOST_BOXES]
        return WindowDetections(
            xyxy[kept], label[kept], confidence[kept], np.tile(view, (len(kept), 1))
        )

    def _merge(self, plane: _PendingPlane) -> Objects:
        """Merge the boxes of a plane's windows to objects."""
        if not plane.found:
            nothing = np.zeros(0)
            return Objects(np.zeros((0, 4)), self._names[:0], nothing, nothing.astype(bool))
        found = merge_windows(
            WindowDetections.join(plane.found), plane.width, plane.height, self.margin
        )
        return Objects(found.xyxy, self._names[found.label], found.confidence, found.partial)
