"""Scans: windows of every layout hold the pixels of the file, in the right place."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pyvips
import tifffile

from ml_backend.imaging.decode import UnreadableImage, decode, stretch_contrast
from ml_backend.imaging.sliding_windows import halve
from tasks.readers import open, planes, tiff, tiff_pages
from tasks.readers.open import open_scan, read_pixel_size
from tasks.readers.planes import Rendering, ScanPlane

SIDE, OVERLAP = 90, 20


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large here: so that small files are read as large ones are."""
    monkeypatch.setattr(open, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(planes, "STRIP", 32)


def picture(height: int = 211, width: int = 173, bands: int = 3, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, bands), np.uint8)
    return pixels if bands > 1 else pixels[..., 0]


def put_together(plane: ScanPlane, side: int = SIDE, overlap: int = OVERLAP) -> np.ndarray:
    """The plane from its windows, which must agree wherever they overlap."""
    pixels = np.zeros((plane.height, plane.width, 3), np.uint8)
    seen = np.zeros((plane.height, plane.width), bool)
    for window in plane.read_windows(side, overlap):
        rows, columns = window.pixels.shape[:2]
        part = np.s_[window.top : window.top + rows, window.left : window.left + columns]
        np.testing.assert_array_equal(pixels[part][seen[part]], window.pixels[seen[part]])
        pixels[part], seen[part] = window.pixels, True
    assert plane.failure is None
    assert seen.all()
    return pixels


def vips(path: Path, pixels: np.ndarray, **options: Any) -> None:
    kind = "srgb" if pixels.ndim == 3 else "b-w"
    pyvips.Image.new_from_array(pixels).copy(interpretation=kind).write_to_file(
        str(path), **options
    )


LAYOUTS: dict[str, dict[str, Any]] = {
    "raw": {},
    "stripped": {"compression": "deflate"},
    "tiled": {"compression": "deflate", "tile": True, "tile_width": 32, "tile_height": 32},
    "pyramid": {
        **{"compression": "deflate", "tile": True, "tile_width": 32, "tile_height": 32},
        "pyramid": True,
    },
    "bigtiff": {"compression": "lzw", "bigtiff": True},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bands", [1, 3])
def test_a_tiff_of_every_layout_is_read_exactly(tmp_path: Path, layout: str, bands: int) -> None:
    path = tmp_path / "scan.tif"
    vips(path, picture(bands=bands), **LAYOUTS[layout])
    (plane,) = open_scan(path)
    np.testing.assert_array_equal(put_together(plane), decode(path))


@pytest.mark.parametrize("layout", ["stripped", "tiled", "wide, tiled", "raw"])
@pytest.mark.parametrize("halved", [1, 2])
def test_windows_can_be_halved_while_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, halved: int
) -> None:
    if layout.startswith("wide"):  # no band of it is kept
        monkeypatch.setattr(planes, "BAND_BYTES", 1)
        monkeypatch.setattr(tiff, "TILES_BYTES", 1)
    path = tmp_path / "scan.tif"
    vips(path, picture(), **LAYOUTS[layout.split()[-1]])  # of odd sides
    (plane,) = open_scan(path)
    expected = halve(decode(path), halved)
    seen = np.zeros(expected.shape[:2], bool)
    for window in plane.read_windows(SIDE, OVERLAP, halved):
        rows, columns = window.pixels.shape[:2]
        top, left = window.top >> halved, window.left >> halved
        assert (top << halved, left << halved) == (window.top, window.left)
        part = np.s_[top : top + rows, left : left + columns]
        np.testing.assert_array_equal(window.pixels, expected[part])
        seen[part] = True
    assert seen.all() and window.halved == halved and plane.failure is None


@pytest.mark.parametrize("name", ["scan.png", "scan.jpg", "wrong_ending.tif"])
def test_large_images_are_read_from_top_to_bottom(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    options = [int(cv2.IMWRITE_JPEG_QUALITY), 90]
    ending = ".jpg" if name.endswith("jpg") else ".png"
    path.write_bytes(cv2.imencode(ending, picture(), options if ending == ".jpg" else [])[1])
    (plane,) = open_scan(path)
    np.testing.assert_array_equal(put_together(plane), decode(path))


def test_a_wide_plane_is_read_in_lower_bands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "BAND_BYTES", 3 * 400 * 50)
    path = tmp_path / "wide.png"
    cv2.imwrite(str(path), picture(300, 400))
    (plane,) = open_scan(path)
    heights = {window.pixels.shape[0] for window in plane.read_windows(SIDE, OVERLAP)}
    assert heights == {40}  # as high as windows are there
    monkeypatch.setattr(planes, "BAND_BYTES", 3 * 400 * 30)
    heights = {window.pixels.shape[0] for window in plane.read_windows(SIDE, 10)}
    assert heights == {30}
    np.testing.assert_array_equal(put_together(plane), decode(path))


@pytest.mark.parametrize("layout", ["stripped", "tiled"])
def test_of_a_very_wide_plane_only_what_windows_need_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setattr(planes, "BAND_BYTES", 1_000_000)
    path = tmp_path / "wide.tif"
    width, height, overlap = 9000, 500, 80
    vips(path, np.tile(picture(height, 100), (1, width // 100, 1)), **LAYOUTS[layout])
    (plane,) = open_scan(path)
    tracemalloc.start()
    try:
        seen = sum(window.pixels.size for window in plane.read_windows(500, overlap, 1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert plane.failure is None and seen >= width * height * 3 // 4
    band = 3 * (width // 2) * (overlap + 1)  # the least that shows a window's rows
    assert peak < 2 * band + 4 * 3 * width * planes.STRIP < 3 * width * height / 2


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("bands", [1, 3])
def test_large_strips_are_read_as_libvips_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str, dtype: type, bands: int
) -> None:
    path = tmp_path / "wide.tif"
    pixels = (picture(211, 173, bands) * (1 if dtype is np.uint8 else 3.5)).astype(dtype)
    options: dict[str, Any] = {"photometric": "rgb" if bands == 3 else "minisblack"}
    options |= {"compression": compression, "predictor": compression != "packbits"}
    tifffile.imwrite(path, pixels, rowsperstrip=50, bigtiff=True, **options)
    (expected,) = open_scan(path)
    assert isinstance(expected.plane, tiff.VipsPlane)
    monkeypatch.setattr(tiff_pages, "LEAST", 1)
    for channel in (None, *range(bands)):
        for rendering in (
            Rendering(channel),
            Rendering(channel, ((np.dtype(dtype).name, 20.0, 700.0),)),
        ):
            (plane,) = open_scan(path, rendering)
            assert isinstance(plane.plane, tiff_pages.StripsPlane)
            with monkeypatch.context() as libvips:
                libvips.setattr(tiff_pages, "LEAST", tiff_pages.MOST)
                (expected,) = open_scan(path, rendering)
            np.testing.assert_array_equal(put_together(plane), put_together(expected))


@pytest.mark.parametrize("options", [{}, {"tile": (32, 32)}], ids=["stripped", "tiled"])
def test_a_compression_that_libvips_may_lack_is_read_at_once(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "zstd.tif"
    tifffile.imwrite(path, picture(), photometric="rgb", compression="zstd", **options)
    (plane,) = open_scan(path, Rendering(channel=1))
    np.testing.assert_array_equal(put_together(plane), picture()[..., [1, 1, 1]])


def test_a_large_strip_that_is_cut_off_ends_the_plane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "wide.tif"
    tifffile.imwrite(path, picture(), compression="lzw", rowsperstrip=50)
    with tifffile.TiffFile(path) as file:
        start, size = file.pages[0].dataoffsets[2], file.pages[0].databytecounts[2]  # type: ignore
    content = bytearray(path.read_bytes())
    content[start + size // 2 : start + size] = bytes(size - size // 2)
    path.write_bytes(content)
    monkeypatch.setattr(tiff_pages, "LEAST", 1)
    (plane,) = open_scan(path)
    seen = [window.top + len(window.pixels) for window in plane.read_windows(SIDE, OVERLAP)]
    assert plane.failure == planes.CUT_OFF and 50 < max(seen) <= 100


def test_a_turned_image_is_shown_upright(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    image = pyvips.Image.new_from_array(picture()).copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.write_to_file(str(path))
    (plane,) = open_scan(path)
    assert (plane.width, plane.height) == (211, 173)
    np.testing.assert_array_equal(put_together(plane), decode(path))


@pytest.mark.parametrize("layout", ["raw", "deflate", "large strips", "tiled"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_contrast_is_that_of_the_whole_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, dtype: type
) -> None:
    if layout == "large strips":
        monkeypatch.setattr(tiff_pages, "LEAST", 1)
    rng = np.random.default_rng(0)
    stack = (rng.gamma(2, 300, (4, 150, 130)) * np.arange(1, 5)[:, None, None]).astype(dtype)
    options: dict[str, Any] = {"raw": {}, "tiled": {"compression": "zlib", "tile": (32, 32)}}.get(
        layout, {"compression": "zlib"}
    )
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack", **options)
    planes = open_scan(tmp_path / "stack.tif")
    every = stretch_contrast(stack.reshape(-1, 130, 1)).reshape(4, 150, 130, 3)
    for plane, expected in zip(planes, every, strict=True):
        np.testing.assert_array_equal(put_together(plane), expected)


def test_planes_of_a_z_stack_are_one_stack_and_times_are_not(tmp_path: Path) -> None:
    pixels = np.stack([picture(64, 80, 1, seed) for seed in range(6)])
    for name in ("a.tif", "b.ome.tif"):
        path = tmp_path / name
        axes, shape = ("TZYX", (2, 3, 64, 80))
        tifffile.imwrite(
            path,
            pixels.reshape(shape),
            metadata={"axes": axes},
            imagej=name == "a.tif",
            photometric="minisblack",
        )
        planes = open_scan(path)
        assert [plane.number for plane in planes] == list(range(6))
        assert [plane.stack for plane in planes] == [0, 0, 0, 1, 1, 1]
        for plane, expected in zip(planes, pixels, strict=True):
            np.testing.assert_array_equal(put_together(plane)[..., 0], expected)


def test_pages_of_different_sizes_are_no_stack(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(picture(64, 80), photometric="rgb", compression="zlib")
        file.write(picture(50, 40, seed=1), photometric="rgb", compression="zlib")
    one, two = open_scan(tmp_path / "two.tif")
    assert one.stack != two.stack and [one.number, two.number] == [0, 1]
    np.testing.assert_array_equal(put_together(two), picture(50, 40, seed=1))


def test_small_images_are_decoded_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open, "WHOLE_PIXELS", 10**6)
    for name in ("a.png", "b.tif"):
        cv2.imwrite(str(tmp_path / name), picture())
        (plane,) = open_scan(tmp_path / name)
        np.testing.assert_array_equal(put_together(plane), decode(tmp_path / name))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}], ids=["raw", "compressed"])
def test_of_a_stack_that_is_cut_off_the_first_planes_are_kept(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "stack.tif"
    pixels = np.stack([picture(64, 80, 1, seed) for seed in range(5)])
    with tifffile.TiffWriter(path) as file:
        for page in pixels:
            file.write(page, photometric="minisblack", contiguous=False, **options)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.55)])
    planes = open_scan(path)
    np.testing.assert_array_equal(put_together(planes[0])[..., 0], pixels[0])
    np.testing.assert_array_equal(put_together(planes[1])[..., 0], pixels[1])
    failures = []
    for plane in planes[2:]:
        list(plane.read_windows(SIDE, OVERLAP))
        failures.append(plane.failure)
    assert failures and all(failures)


def test_a_map_that_is_cut_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    pixels = np.stack([picture(64, 80, 1, seed) for seed in range(5)])
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "ZYX"}, truncate=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size - 64 * 80 - 1000])
    planes = open_scan(path)
    failures = []
    for plane in planes:
        list(plane.read_windows(SIDE, OVERLAP))
        failures.append(plane.failure)
    assert failures[0] is None and failures[-1]


def test_a_large_image_that_is_cut_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    cv2.imwrite(str(path), picture())
    path.write_bytes(path.read_bytes()[:40_000])
    (plane,) = open_scan(path)
    list(plane.read_windows(SIDE, OVERLAP))
    assert plane.failure == planes.CUT_OFF


@pytest.mark.parametrize("content", [b"", b"no image", b"II*\0\1\2\3", b"\x89PNG\r\n\x1a\nxx"])
def test_what_is_no_image_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.tif"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage) as caught:
        open_scan(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_tiff_cut_off_before_its_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.tif"
    vips(path, picture(), compression="lzw")  # libvips writes the directory last
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(UnreadableImage, match="cut off"):
        open_scan(path)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ome_zarr_is_read_window_by_window(tmp_path: Path, version: int, dtype: type) -> None:
    zarr = pytest.importorskip("zarr")
    pixels = np.random.default_rng(0).integers(0, 250, (2, 3, 211, 173)).astype(dtype)
    path = tmp_path / "scan.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=version)
    for name, part in (("0", pixels), ("1", pixels[..., ::2, ::2])):
        array = group.create_array(name, shape=part.shape, chunks=(1, 1, 64, 64), dtype=dtype)
        array[:] = part
    image = {
        "axes": [{"name": name} for name in "czyx"],
        "datasets": [{"path": "0"}, {"path": "1"}],
    }
    ome = {"multiscales": [image]}
    group.attrs.update(ome if version == 2 else {"ome": {"version": "0.5", **ome}})
    scan = open_scan(path, Rendering(channel=1))
    assert [(plane.number, plane.stack) for plane in scan] == [(0, 0), (1, 0), (2, 0)]
    for plane, expected in zip(scan, pixels[1], strict=True):
        read = put_together(plane)[..., 0].astype(float)
        if dtype == np.uint16:  # black and white are guessed from the coarser copy
            expected = np.clip(expected / 249 * 255, 0, 255)
        assert np.abs(read - expected).max() <= (0 if dtype == np.uint8 else 3)
    with pytest.raises(UnreadableImage, match="there is no channel 2; it has 2"):
        open_scan(path, Rendering(channel=2))
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(UnreadableImage, match="OME-Zarr"):
        open_scan(tmp_path / "empty.zarr")


def _image_of_zarr(group: Any, pixels: np.ndarray, image: dict[str, Any]) -> None:
    group.create_array("0", data=pixels, chunks=(64, 64))
    group.attrs.update(image)


@pytest.mark.parametrize("version", [2, 3])
def test_a_converted_file_of_several_images_is_read_image_by_image(
    tmp_path: Path, version: int
) -> None:
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "scan.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=version)

    def described(what: dict[str, Any]) -> dict[str, Any]:
        return what if version == 2 else {"ome": {"version": "0.5", **what}}

    root.attrs.update(described({"bioformats2raw.layout": 3}))
    axes = [{"name": "y"}, {"name": "x", "unit": "micrometer"}]
    scale = [{"type": "scale", "scale": [0.25, 0.25]}]
    data = [{"path": "0", "coordinateTransformations": scale}]
    image = described({"multiscales": [{"axes": axes, "datasets": data}]})
    for number, width in enumerate((70, 90)):
        _image_of_zarr(
            root.create_group(str(number)), np.full((80, width), 9 + number, np.uint8), image
        )
    for _ in range(2):  # without a list of its images, and with one
        scan = open_scan(path)
        assert [(one.number, one.stack, one.width) for one in scan] == [(0, 0, 70), (1, 1, 90)]
        assert [put_together(one).max() for one in scan] == [9, 10]
        root.require_group("OME").attrs.update(described({"series": ["0", "1"]}))
    assert read_pixel_size(path) == read_pixel_size(path / "1") == 0.25
    (one,) = open_scan(path / "1")
    assert one.width == 90


def test_a_chunk_that_cannot_be_decoded_is_told(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "scan.zarr", mode="w", zarr_format=2)
    image = {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]}
    _image_of_zarr(group, np.arange(6400, dtype=np.uint16).reshape(80, 80), image)
    (tmp_path / "scan.zarr" / "0" / "0.0").write_bytes(b"no chunk")
    (plane,) = open_scan(tmp_path / "scan.zarr", Rendering(limits=(("uint16", 0, 1),)))
    assert list(plane.read_windows(SIDE, OVERLAP)) == []
    assert plane.failure == "a chunk of it is cut off or corrupt"
    zarr.create_array(tmp_path / "array.zarr", data=np.zeros((8, 8)))
    with pytest.raises(UnreadableImage, match=r"an array of Zarr, and no image of OME-Zarr"):
        open_scan(tmp_path / "array.zarr")
