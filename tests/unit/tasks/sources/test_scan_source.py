"""A source is examined once: how often its files are opened, and what is known of them then."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import ModelCard
from tasks.detection.detect_files import detect
from tasks.mosaic.layout import Layout
from tasks.readers.open import open_scan
from tasks.readers.planes import Rendering
from tasks.sources import scan_source
from tasks.sources.scan_source import ScanSource, SourceOptions

HEIGHT, WIDTH = 48, 64
OPENED: list[str] = []  # by anyone in this process, Python's audit hook says
_counting = False


def _hook(event: str, details: tuple) -> None:
    if _counting and event == "open" and isinstance(details[0], str | os.PathLike):
        OPENED.append(os.fspath(details[0]))


sys.addaudithook(_hook)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Counter[str]]:
    """How often each file of the test's folder was opened, filled when it is asked for."""
    global _counting
    OPENED.clear()
    _counting = True

    class Opened(Counter):
        def __missing__(self, key: str) -> int:
            return sum(path == str(tmp_path / key) for path in OPENED)

    yield Opened()
    _counting = False


class Blind:
    """A network that finds nothing."""

    batch = 1

    def infer(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for _ in batches:
            yield np.zeros((1, 5, 1), np.float32)


def run(source: Path, options: SourceOptions = SourceOptions()) -> None:
    detector = Detector(ModelCard("yolov5n", ("Cell",), ("Cell",), 1.0, 0.3), Blind())
    out = source.parent / "found.csv"
    summary = detect(source, detector, out, "none", lambda *at: None, options)
    assert not summary["skipped"] and summary["tiles"] == len(list(source.iterdir()))


def write(path: Path, dtype: type = np.uint8, **options: object) -> None:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 200, (HEIGHT, WIDTH, 3)).astype(dtype)
    tifffile.imwrite(path, pixels, photometric="rgb", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", ["image{0}.tif", "r{1}_c{2}.tif"], ids=["files", "tiles"])
def test_the_header_of_a_file_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, dtype: type
) -> None:
    folder = tmp_path / "scan"
    for number in range(40):
        write(folder / name.format(number, *divmod(number, 8)), dtype)
    headers: Counter[str] = Counter()
    read = tifffile.TiffFile.__init__

    def count(self: tifffile.TiffFile, file: object, **options: object) -> None:
        read(self, file, **options)  # type: ignore[arg-type]
        headers[self.filehandle.name] += 1

    monkeypatch.setattr(tifffile.TiffFile, "__init__", count)
    run(folder, SourceOptions(tile_overlap=8))
    assert headers == {path.name: 1 for path in folder.iterdir()}


def test_a_small_file_is_opened_once_for_its_header_and_its_pixels(
    tmp_path: Path, opened: Counter[str]
) -> None:
    folder = tmp_path / "scan"
    for number in range(100):
        write(folder / f"image{number}.tif", compression="zlib")
    OPENED.clear()
    run(folder)
    times = Counter(opened[f"scan/{path.name}"] for path in folder.iterdir())
    # Of up to 17 files the header was read ahead, for the contrast and the pixel size.
    assert set(times) == {1, 2} and times[2] <= 17


def test_what_was_found_out_ahead_is_not_read_again(tmp_path: Path, opened: Counter[str]) -> None:
    for column in range(2):
        stage = {"PositionX": 60 * 0.5 * column, "PositionY": 0.0}
        metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Plane": stage}
        write(tmp_path / f"r0_c{column}.ome.tif", metadata=metadata)
    OPENED.clear()
    source = ScanSource(tmp_path, SourceOptions())
    assert source.pixel_size == 0.5
    (group,) = source.groups
    first, second = Layout(source).place_tiles(group)
    assert (first.x, second.x) == (0, 60)
    rendering = source.choose_rendering(group)
    assert source.choose_rendering(group) is rendering and rendering == Rendering()
    assert opened["r0_c0.ome.tif"] == opened["r0_c1.ome.tif"] == 1
    for tile in group.tiles:
        file = tile.files[0]
        (plane,), (expected,) = source.open(file, rendering), open_scan(file.path)
        whole = [(0, 0, WIDTH, HEIGHT)]
        ((_, pixels),), ((_, others),) = plane.read_parts(whole), expected.read_parts(whole)
        np.testing.assert_array_equal(pixels, others)


def test_no_more_headers_are_kept_than_there_is_room_for(
    tmp_path: Path, opened: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_source, "KEPT", 2)
    for number in range(3):
        write(tmp_path / f"image{number}.tif")
    source = ScanSource(tmp_path, SourceOptions(pixel_size=0.25))
    files = [group.tiles[0].files[0] for group in source.groups]
    OPENED.clear()
    for file in [*files, files[2], files[1], files[0]]:
        assert source.examine(file, None).size == (WIDTH, HEIGHT)
    assert [opened[file.name] for file in files] == [2, 1, 1]


def test_a_file_that_cannot_be_read_says_so_whenever_it_is_opened(tmp_path: Path) -> None:
    write(tmp_path / "good.tif")
    (tmp_path / "bad.tif").write_bytes(b"no image")
    source = ScanSource(tmp_path, SourceOptions())
    bad, good = (group.tiles[0].files[0] for group in source.groups)
    rendering = source.choose_rendering(source.groups[0])
    for opening in (source.open_ahead, source.open, source.open):
        with pytest.raises(UnreadableImage, match="not an image"):
            opening(bad, rendering)
    assert len(source.open(good, rendering)) == 1
    with pytest.raises(UnreadableImage, match="there is no channel 7; it has 3"):
        source.open(good, Rendering(7))


def test_the_channel_of_a_file_s_name_is_not_looked_for_within_the_file(tmp_path: Path) -> None:
    for channel in (1, 4):
        write(tmp_path / f"field_CH{channel}.tif")
    source = ScanSource(tmp_path, SourceOptions(channel=4))
    (group,) = source.groups
    assert group.channelled and source.choose_rendering(group).channel is None
    assert source.notes == ["channel 4 of 1, 4 (--channel)"]
