"""Which tiles show nothing but background: by fields of known noise, and in scans."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.decode import decode
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import ModelCard
from tasks.detection import background_filter
from tasks.detection.background_filter import Background, EmptyWindows, is_spot_check, measure_noise
from tasks.detection.scan_detector import ScanDetector
from tasks.review.checkpoint import Checkpoint
from tasks.sources.scan_source import SourceOptions
from tests.blobs import Blobs
from tests.conftest import SHARED_DATA


def detector() -> Detector:
    card = ModelCard("yolov5n", ("Mitotic cell", "Other"), ("Mitotic cell",), 1.0, 0.3)
    return Detector(card, Blobs())


def field(seed: int, sigma: float, level: float = 60, side: int = 256) -> np.ndarray:
    """Normal noise around one grey."""
    grey = np.random.default_rng(seed).normal(level, sigma, (side, side))
    return np.clip(grey.round(), 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 12), st.floats(60, 180))
def test_noise_is_measured_and_is_empty(seed: int, sigma: float, level: float) -> None:
    tile = field(seed, sigma, level)
    if sigma > 2:
        assert measure_noise(tile) == pytest.approx(sigma, rel=0.25)
    assert Background.measure([tile], 5).is_empty(tile)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.5, 6), st.integers(24, 60), st.booleans())
def test_an_object_that_stands_out_is_not_empty(
    seed: int, sigma: float, size: int, dark: bool
) -> None:
    background = Background.measure((field(i, sigma, 120) for i in range(3)), 5)
    tile = field(seed, sigma, 120)
    step = round(12 * sigma + 6)
    left = seed % (256 - size)
    part = tile[left : left + size, 40 : 40 + size].astype(int)
    tile[left : left + size, 40 : 40 + size] = part - step if dark else part + step
    assert not background.is_empty(tile)


def test_the_real_cells_are_not_empty() -> None:
    """Every mitotic cell of the real images, cut out with some room, among its own background."""
    folder = SHARED_DATA / "plant_mitosis"
    if not folder.is_dir():
        pytest.skip(f"the real images are not at {folder}")
    examples = read_folder(folder).examples[::6]
    images = [decode(example.image) for example in examples]
    background = Background.measure(images, 5)
    cells = 0
    for example, pixels in zip(examples, images, strict=True):
        assert example.boxes is not None
        for x1, y1, x2, y2, *_ in example.boxes.to_rows():
            part = pixels[max(0, int(y1) - 20) : int(y2) + 20, max(0, int(x1) - 20) : int(x2) + 20]
            assert not background.is_empty(part)
            cells += 1
    assert cells > 30


def test_one_in_a_hundred_is_run_and_always_the_same() -> None:
    chosen = [is_spot_check(str(number)) for number in range(20_000)]
    assert 150 < sum(chosen) < 250
    assert chosen == [is_spot_check(str(number)) for number in range(20_000)]


def test_the_summary_says_what_may_be_missing() -> None:
    assert EmptyWindows().describe() == ""
    assert "nothing was missed" in EmptyWindows(990, 10).describe()
    assert "about 198 of the skipped" in EmptyWindows(990, 10, 2).describe()


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    folder = tmp_path / "tiles"
    folder.mkdir()
    for number in range(40):
        tile = field(number, 2, 20, 96)
        if number % 10 == 0:
            cv2.rectangle(tile, (30, 30), (60, 60), (200, 200, 200), -1)
        cv2.imwrite(str(folder / f"tile {number}.png"), tile)
    return folder


def test_empty_tiles_are_skipped_counted_and_remembered(
    sparse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_filter, "RUN", 0.25)
    everything = ScanDetector(sparse, detector(), SourceOptions())
    expected = [sheet.objects.xyxy.tolist() for sheet in everything.detect_scans()]
    assert everything.emptied == EmptyWindows()
    runs = []
    for _ in range(2):  # the second one knows it all from the checkpoint
        checkpoint = Checkpoint(tmp_path / "checkpoint.sqlite")
        finder = ScanDetector(
            sparse, detector(), SourceOptions(), skip_empty=True, memory=checkpoint
        )
        found = [sheet.objects.xyxy.tolist() for sheet in finder.detect_scans()]
        checkpoint.close()
        assert found == expected
        assert finder.tiles == 40
        assert finder.emptied.skipped + finder.emptied.run == 36
        assert 0 < finder.emptied.run < 20
        assert finder.emptied.missed == 0
        runs.append(finder.emptied)
    assert runs[0] == runs[1]


def test_what_was_missed_is_reported(sparse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes everything for empty learns it from the ones that are run."""
    monkeypatch.setattr(background_filter, "RUN", 0.5)
    monkeypatch.setattr(Background, "is_empty", lambda *_: True)
    finder = ScanDetector(sparse, detector(), SourceOptions(), skip_empty=True)
    found = sum(len(sheet.objects) for sheet in finder.detect_scans())
    assert finder.emptied.skipped + finder.emptied.run == 40
    assert finder.emptied.missed == found
