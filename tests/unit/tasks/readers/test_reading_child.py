"""The reading child: a library that crashes, hangs or wants too much memory harms one file."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from ml_backend.imaging.decode import UnreadableImage
from tasks.readers import reading_child
from tasks.readers.open import open_scan
from tasks.readers.reading_child import CRASHES, ReadingChild
from tests.unit.tasks.readers.test_open import put_together


@pytest.fixture
def child() -> Iterator[ReadingChild]:
    """One that nobody else uses; it ends with the test."""
    before = set(psutil.Process().children())
    yield ReadingChild()
    for process in set(psutil.Process().children()) - before:
        process.kill()
        process.wait()


@pytest.fixture
def store(tmp_path: Path) -> tuple[str, np.ndarray]:
    """A Zarr store with one array "0", and its pixels."""
    zarr = pytest.importorskip("zarr")
    pixels = np.random.default_rng(0).integers(0, 999, (3, 50, 70)).astype(np.uint16)
    group = zarr.open_group(str(tmp_path / "scan.zarr"), mode="w", zarr_format=2)
    group.create_array("0", data=pixels, chunks=(1, 32, 32))
    return str(tmp_path / "scan.zarr"), pixels


def read(child: ReadingChild, root: str) -> Any:
    return child.call("zarr", root, "0", [2, [10, 40], [5, 69]])


def test_parts_of_arrays_are_what_was_stored(child: ReadingChild, store: tuple[str, Any]) -> None:
    root, pixels = store
    for _ in range(2):  # in the same process
        assert np.array_equal(read(child, root), pixels[2, 10:40, 5:69])


def test_threads_take_turns(child: ReadingChild, store: tuple[str, np.ndarray]) -> None:
    root, pixels = store
    read_parts: dict[int, np.ndarray] = {}

    def read_row(row: int) -> None:
        read_parts[row] = child.call("zarr", root, "0", [0, [row, row + 1]])

    threads = [threading.Thread(target=read_row, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(part[0], pixels[0, row]) for row, part in read_parts.items())
    assert len(read_parts) == 8


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_file_on_which_the_child_hangs_is_given_up_and_others_are_read(
    child: ReadingChild,
    store: tuple[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("bioio_czi")
    root, pixels = store
    read(child, root)  # so that starting it is not timed
    pipe = tmp_path / "scan.czi"
    os.mkfifo(pipe)  # whoever opens it waits for ever
    monkeypatch.setattr(reading_child, "SECONDS", 1.0)
    started = time.monotonic()
    with pytest.raises(UnreadableImage, match="no answer within 1 s"):
        child.call("vendor-header", str(pipe), "bioio_czi")
    assert time.monotonic() - started < 20
    monkeypatch.setattr(reading_child, "SECONDS", 60.0)
    assert np.array_equal(read(child, root), pixels[2, 10:40, 5:69])


def test_a_file_that_kills_the_child_is_not_tried_for_ever(
    child: ReadingChild, store: tuple[str, np.ndarray]
) -> None:
    root, pixels = store
    before = set(psutil.Process().children())
    for _ in range(CRASHES):
        child.call("zarr", root, "0", [0])
        (process,) = set(psutil.Process().children()) - before
        process.kill()
        process.wait()
        with pytest.raises(UnreadableImage, match="what reads it crashed"):
            child.call("zarr", root, "0", [0])
    with pytest.raises(UnreadableImage, match="is not tried again"):
        child.call("zarr", root, "0", [0])
    assert len(set(psutil.Process().children()) - before) == 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded on Linux")
def test_more_memory_than_was_allowed_is_refused(
    child: ReadingChild,
    store: tuple[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    zarr = pytest.importorskip("zarr")
    root, pixels = store
    group = zarr.open_group(str(tmp_path / "large.zarr"), mode="w", zarr_format=2)
    large = np.ones((16_000, 16_000), np.uint8)
    group.create_array("0", data=large, chunks=large.shape)  # a few hundred kB on the disk
    read(child, root)  # so that its libraries are there already
    monkeypatch.setattr(reading_child, "MEMORY", 100_000_000)
    with pytest.raises(UnreadableImage, match="memory|corrupt|crashed"):
        child.call("zarr", str(tmp_path / "large.zarr"), "0", [[0, 4], [0, 4]])
    assert np.array_equal(read(child, root), pixels[2, 10:40, 5:69])


def test_an_image_is_read_anew_when_its_file_was_replaced(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    for shade in (40, 90):
        group = zarr.open_group(str(tmp_path / "scan.zarr"), mode="w", zarr_format=2)
        group.create_array("0", data=np.full((40, 48 + shade), shade, np.uint8))
        group.attrs["multiscales"] = [
            {"axes": ["y", "x"], "datasets": [{"path": "0"}]},
        ]
        (plane,) = open_scan(tmp_path / "scan.zarr")
        pixels = put_together(plane)
        assert pixels.shape == (40, 48 + shade, 3) and (pixels == shade).all()
