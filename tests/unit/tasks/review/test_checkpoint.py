"""What a scan remembers is what it was told, also in the next process."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.imaging.merge_detections import WindowDetections
from tasks.detection.background_filter import EmptyWindows
from tasks.detection.window_detector import PlaneDetections
from tasks.review.checkpoint import Checkpoint, read_progress

sides = st.floats(0, 1e6, allow_nan=False)


@st.composite
def detections(draw: st.DrawFn) -> WindowDetections:
    number = draw(st.integers(0, 3))
    rows = st.lists(st.tuples(sides, sides, sides, sides), min_size=number, max_size=number)
    return WindowDetections(
        np.array(draw(rows), np.float64).reshape(-1, 4),
        np.array(
            draw(
                st.lists(st.sampled_from(["Zelle, „groß“", "b"]), min_size=number, max_size=number)
            ),
            np.str_,
        ),
        np.array(
            draw(st.lists(st.floats(0, 1, width=32), min_size=number, max_size=number)), np.float32
        ),
        np.tile(np.array([0, 0, 9, 9], np.int64), (number, 1)),
    )


counts = st.integers(0, 9)
planes = st.builds(
    PlaneDetections,
    *(counts, counts, counts, counts, detections()),
    emptied=st.builds(EmptyWindows, counts, counts, counts),
)


def assert_same(found: WindowDetections, expected: WindowDetections) -> None:
    for name in ("xyxy", "label", "confidence", "view"):
        got, wanted = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(got, wanted)
        assert got.shape == wanted.shape


@settings(max_examples=25, deadline=None)
@given(seen=st.lists(planes, max_size=3), window=detections())
def test_what_was_detected_is_recalled(
    seen: list[PlaneDetections], window: WindowDetections
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.sqlite"
        with closing(Checkpoint(path)) as checkpoint:
            assert checkpoint.recall("file") is None
            checkpoint.keep_window("file", 2, (0, 5, 10, 15), window)
        with closing(Checkpoint(path)) as checkpoint:
            ((place, found),) = checkpoint.recall_windows("file").items()
            assert place == (2, (0, 5, 10, 15))
            assert_same(found, window)
            checkpoint.keep("file", seen)
            # The whole file is known now, so its windows are not needed.
            assert checkpoint.recall_windows("file") == {}
        with closing(Checkpoint(path)) as checkpoint:
            recalled = checkpoint.recall("file")
        assert recalled is not None
        for got, wanted in zip(recalled, seen, strict=True):
            assert (got.number, got.stack, got.width, got.height, got.emptied) == (
                *(wanted.number, wanted.stack, wanted.width, wanted.height),
                wanted.emptied,
            )
            assert_same(got.found, wanted.found)


def test_what_was_on_its_way_is_known_until_it_arrived(tmp_path: Path) -> None:
    path = tmp_path / "scan.sqlite"
    with closing(Checkpoint(path)) as checkpoint:
        assert checkpoint.list_sending()[0] == set()
        checkpoint.mark_sending(["a", "b"])
        checkpoint.mark_sending(["b", "c"])
    with closing(Checkpoint(path)) as checkpoint:
        keys, age = checkpoint.list_sending()
        assert keys == {"a", "b", "c"} and 0 <= age < 60
        checkpoint.mark_arrived()
        assert checkpoint.list_sending()[0] == set()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan.sqlite"
    path.write_bytes(b"no database, but long enough to look at" * 30)
    with pytest.raises(sqlite3.Error):
        Checkpoint(path)
    with pytest.raises(sqlite3.Error):
        read_progress(path)
    with pytest.raises(OSError):
        read_progress(tmp_path / "none.sqlite")
