"""Small pictures of single cells: cut from their images when first asked for, and kept.

All cells of an image are cut when one of them is: decoding it takes longer than cutting a hundred.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from ml_backend.imaging.decode import UnreadableImage, decode, measure_decoded
from ml_backend.imaging.decode_budget import BUDGET
from ml_backend.serving.catalogue.cells import Cell
from ml_backend.serving.catalogue.likeness import describe_look
from ml_backend.serving.catalogue.store import Catalogue, CellFilter
from ml_backend.system.atomic_files import replace_file

SIDE = 160  # of a picture, px
# What a picture shows, in longer sides of its cell: the cell and what lies around it.
AROUND = 1.6
# The shortest side that is shown, in px of the image: a smaller one would be blurred.
_LEAST = 24.0
_QUALITY = 82
# Seconds that cutting waits for memory that other images hold.
_PATIENCE = 20.0

Fetch = Callable[[str], bytes | Exception]


class Crops:
    """The pictures of one project's cells; safe among threads.

    Args:
        folder: Keeps them.
        catalogue: The cells.
        fetch: Returns an image by its address, or why it cannot be had.
    """

    def __init__(self, folder: Path, catalogue: Catalogue, fetch: Fetch) -> None:
        self._folder = folder
        self._catalogue = catalogue
        self._fetch = fetch
        self._cutting: dict[int, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, cell: Cell) -> bytes:
        """Return the picture of a cell, a JPEG.

        Raises:
            UnreadableImage: Its image cannot be had or decoded.
        """
        path = self._find_file(cell)
        if not path.exists():
            with self._hold(cell.task):
                if not path.exists():
                    self._cut_task(cell)
        return path.read_bytes()

    def _find_file(self, cell: Cell) -> Path:
        # A folder of 200,000 files is slow to look into on some systems.
        return self._folder / f"{cell.number % 256:02x}" / f"{cell.number}.jpg"

    @contextmanager
    def _hold(self, task: int) -> Iterator[None]:
        """Let one thread cut a task's cells; the others find the pictures then."""
        with self._lock:
            lock = self._cutting.setdefault(task, threading.Lock())
        try:
            with lock:
                yield
        finally:
            with self._lock:
                self._cutting.pop(task, None)

    def _cut_task(self, wanted: Cell) -> None:
        found = self._catalogue.get_task(wanted.task)
        if found is None or not found[0]:
            raise UnreadableImage("the task has no image")
        content = self._fetch(found[0])
        if isinstance(content, Exception):
            raise content
        taken = measure_decoded(content)
        if not BUDGET.take(taken, _PATIENCE):
            raise UnreadableImage("the memory for images is in use; try again")
        try:
            pixels = decode(content)
            cells = self._catalogue.find_cells(CellFilter(task=wanted.task), limit=2000)
            looks = []
            for cell in cells:
                crop = cut_crop(pixels, cell.box)
                looks.append((cell.number, describe_look(crop)))
                self._keep(self._find_file(cell), crop)
        finally:
            BUDGET.give_back(taken)
        with self._catalogue.write() as database:
            database.executemany("insert or replace into look values (?, ?)", looks)

    def _keep(self, path: Path, crop: np.ndarray) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        _, content = cv2.imencode(".jpg", crop[..., ::-1], options)
        with replace_file(path) as temporary:
            temporary.write_bytes(content.tobytes())

    def look_at(self, cells: Sequence[Cell], seconds: float, clock: Callable[[], float]) -> None:
        """Cut cells until a time is over, so that they can be compared; unreadable ones are left.

        Args:
            cells: Those that nobody has seen yet.
            seconds: How long.
            clock: Tells the time in seconds.
        """
        until = clock() + seconds
        for cell in cells:
            if clock() > until:
                return
            try:
                self.get(cell)
            except (UnreadableImage, OSError):
                continue


def cut_crop(pixels: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Cut a square around a cell; what lies beyond the image is grey.

    Args:
        pixels: (H, W, 3) uint8.
        box: Left, top, right, bottom of the cell, px.

    Returns:
        (SIDE, SIDE, 3) uint8.
    """
    x1, y1, x2, y2 = box
    side = max(AROUND * max(x2 - x1, y2 - y1), _LEAST)
    scale = SIDE / side
    left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
    # The part of the image that is seen, whole pixels, so that shrinking averages over all of it.
    height, width = pixels.shape[:2]
    near, above = max(0, int(left)), max(0, int(top))
    far, below = min(width, int(left + side) + 1), min(height, int(top + side) + 1)
    canvas = np.full((SIDE, SIDE, 3), 128, np.uint8)
    if far <= near or below <= above:
        return canvas
    size = max(1, round((far - near) * scale)), max(1, round((below - above) * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    part = cv2.resize(pixels[above:below, near:far], size, interpolation=interpolation)
    x, y = max(0, round((near - left) * scale)), max(0, round((above - top) * scale))
    part = part[: SIDE - y, : SIDE - x]
    canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
    return canvas
