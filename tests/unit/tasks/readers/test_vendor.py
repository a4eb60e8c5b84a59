"""Microscopes' own files: planes, scenes, channels and pixel size of a real CZI."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ml_backend.imaging.decode import UnreadableImage, stretch_contrast
from tasks.detection.scan_detector import ScanDetector
from tasks.readers import vendor
from tasks.readers.open import open_scan, read_pixel_size
from tasks.readers.planes import Rendering
from tasks.sources.scan_source import SourceOptions
from tests.unit.tasks.detection.test_scan_detector import detector
from tests.unit.tasks.readers.test_open import put_together


@pytest.fixture(scope="module")
def stack() -> np.ndarray:
    """(C, Z, H, W) of 16 bits."""
    shades = np.random.default_rng(0).gamma(2, 300, (2, 3, 130, 170))
    return (shades * np.arange(1, 7).reshape(2, 3, 1, 1)).astype(np.uint16)


@pytest.fixture(scope="module")
def czi(tmp_path_factory: pytest.TempPathFactory, stack: np.ndarray) -> Path:
    """Two scenes: a stack of two channels, and one plane of colours."""
    writing = pytest.importorskip("pylibCZIrw.czi")
    path = tmp_path_factory.mktemp("czi") / "scan.czi"
    with writing.create_czi(str(path)) as file:
        for channel, depths in enumerate(stack):
            for depth, pixels in enumerate(depths):
                plane = {"C": channel, "Z": depth, "T": 0}
                file.write(data=pixels[..., None], plane=plane, location=(0, 0))
        file.write_metadata("scan", scale_x=0.25e-6, scale_y=0.25e-6, scale_z=1e-6)
    return path


def test_a_stack_of_channels_is_read_exactly(czi: Path, stack: np.ndarray) -> None:
    for channel in (None, 1):
        planes = open_scan(czi, Rendering(channel))
        assert [(one.number, one.stack) for one in planes] == [(0, 0), (1, 0), (2, 0)]
        expected = stretch_contrast(stack[channel or 0].reshape(-1, 170, 1)).reshape(3, 130, 170, 3)
        for plane, pixels in zip(planes, expected, strict=True):
            read = put_together(plane).astype(int)
            assert np.abs(read - pixels).max() <= 1  # black and white are of some of the px
    with pytest.raises(UnreadableImage, match="there is no channel 2; it has 2"):
        open_scan(czi, Rendering(channel=2))


def test_its_metadata_say_how_large_a_pixel_is(czi: Path) -> None:
    assert read_pixel_size(czi) == pytest.approx(0.25)


def test_scenes_follow_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By OME-TIFF through bioio, as there is nothing that writes scenes of the others."""
    pytest.importorskip("bioio_ome_tiff")
    monkeypatch.setitem(vendor.READERS, ".lif", "bioio_ome_tiff")
    with tifffile.TiffWriter(tmp_path / "scan.lif", ome=True) as file:
        for size, x in ((96, 20), (120, 50)):  # two places of a slide
            pixels = np.zeros((2, 80, size), np.uint8)
            pixels[1, 30:50, x : x + 20] = 250
            file.write(pixels, photometric="minisblack", metadata={"axes": "ZYX"})
    planes = open_scan(tmp_path / "scan.lif")
    assert [(one.number, one.stack, one.width) for one in planes] == [
        (0, 0, 96), (1, 0, 96), (2, 1, 120), (3, 1, 120),
    ]  # fmt: skip
    sheets = list(ScanDetector(tmp_path, detector(), SourceOptions()).detect_scans())
    assert [sheet.objects.xyxy[0, 0] for sheet in sheets] == [20, 50]
    assert [sheet.best.tolist() for sheet in sheets] == [[1], [3]]


def test_scenes_that_cannot_be_told_apart_are_listed(tmp_path: Path) -> None:
    writing = pytest.importorskip("pylibCZIrw.czi")
    with writing.create_czi(str(tmp_path / "scan.czi")) as file:
        for scene in (0, 1):  # which write_metadata does not describe
            pixels = np.full((80, 96, 3), 50, np.uint8)
            pixels[30:50, 20:40] = 250
            file.write(data=pixels, location=(500 * scene, 0), scene=scene)
    finder = ScanDetector(tmp_path, detector(), SourceOptions())
    (sheet,) = finder.detect_scans()
    assert sheet.mosaic.name == "scan.czi" and len(sheet.objects) == 1
    assert "some of its scenes" in finder.skipped[0]["reason"]


@pytest.mark.parametrize("ending", sorted(vendor.READERS))
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path: Path, ending: str) -> None:
    pytest.importorskip(vendor.READERS[ending])
    for content in (b"", b"no image at all" * 100):
        path = tmp_path / f"bad{ending}"
        path.write_bytes(content)
        with pytest.raises(UnreadableImage) as caught:
            open_scan(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_without_the_extra_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scan.nd2"
    path.write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "bioio_nd2", None)
    with pytest.raises(ImportError):
        importlib.import_module("bioio_nd2")
    with pytest.raises(UnreadableImage, match="ND2 files need the extra bioio: uv sync --extra"):
        open_scan(path)
