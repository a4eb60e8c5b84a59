"""Stacks of two channels, whatever the order of their axes; what is no such stack is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from ml_backend.imaging.decode import UnreadableImage
from tasks.stacks.read_stack import read_stack, read_voxel

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (2, 6, 20, 30)).astype(np.uint8)  # C, Z, Y, X


def write_ome(path: Path, pixels: np.ndarray, axes: str, **metadata: Any) -> Path:
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": axes, **metadata})
    return path


@pytest.mark.parametrize(("axes", "order"), [("CZYX", (0, 1, 2, 3)), ("ZCYX", (1, 0, 2, 3))])
def test_the_order_of_axes_does_not_matter(tmp_path: Path, axes: str, order: tuple) -> None:
    path = write_ome(tmp_path / "a.ome.tif", PIXELS.transpose(order), axes)
    stack = read_stack(path, (0, 1), (0.3, 0.1, 0.1))
    np.testing.assert_array_equal(stack.pixels, PIXELS.transpose(1, 2, 3, 0))
    swapped = read_stack(path, (1, 0), (0.3, 0.1, 0.1))
    np.testing.assert_array_equal(swapped.pixels[..., 0], PIXELS[1])


def test_voxels_are_what_the_file_says(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeZ": 0.29, "PhysicalSizeY": 0.11, "PhysicalSizeX": 0.1}
    units = {f"{key}Unit": "µm" for key in sizes}
    path = write_ome(tmp_path / "a.ome.tif", PIXELS, "CZYX", **sizes, **units)
    assert read_stack(path, (0, 1)).voxel == pytest.approx((0.29, 0.11, 0.1))
    imagej = tmp_path / "b.tif"
    tifffile.imwrite(
        imagej,
        PIXELS.transpose(1, 0, 2, 3),
        imagej=True,
        resolution=(10, 10),
        metadata={"axes": "ZCYX", "spacing": 0.5, "unit": "um"},
    )
    assert read_voxel(imagej) == pytest.approx((0.5, 0.1, 0.1))
    bare = write_ome(tmp_path / "c.ome.tif", PIXELS, "CZYX")
    with pytest.raises(ValueError, match="how large a voxel is; give --voxel"):
        read_stack(bare, (0, 1))


@pytest.mark.parametrize(
    ("pixels", "axes", "words"),
    [
        (PIXELS[0], "ZYX", "no channel 1"),
        (PIXELS[:, :1], "CZYX", "a single plane"),
        (PIXELS[:, 0], "CYX", "a single plane"),
    ],
)
def test_what_is_no_stack_of_two_channels_is_said(
    tmp_path: Path, pixels: np.ndarray, axes: str, words: str
) -> None:
    path = write_ome(tmp_path / "a.ome.tif", pixels, axes)
    with pytest.raises(UnreadableImage, match=words):
        read_stack(path, (0, 1), (1, 1, 1))


def test_of_a_time_lapse_the_first_stack_is_read(tmp_path: Path) -> None:
    both = np.stack([PIXELS, 255 - PIXELS])
    path = write_ome(tmp_path / "a.ome.tif", both, "TCZYX")
    np.testing.assert_array_equal(
        read_stack(path, (0, 1), (1, 1, 1)).pixels, PIXELS.transpose(1, 2, 3, 0)
    )


def test_axes_can_be_told_where_the_file_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS.transpose(1, 0, 2, 3), photometric="minisblack")
    found = read_stack(path, (0, 1), (1, 1, 1), axes="ZCYX")
    np.testing.assert_array_equal(found.pixels, PIXELS.transpose(1, 2, 3, 0))
    deep = tmp_path / "b.tif"
    tifffile.imwrite(deep, PIXELS.astype(np.uint16) * 100, photometric="minisblack")
    shown = read_stack(deep, (0, 1), (1, 1, 1), axes="CZYX").pixels
    assert shown.dtype == np.uint8 and shown.min() == 0 and shown.max() == 255
    for axes, words in (("ZCY", "once each"), ("ZZYX", "once each")):
        with pytest.raises(ValueError, match=words):
            read_stack(path, (0, 1), (1, 1, 1), axes=axes)
    with pytest.raises(UnreadableImage, match="no channel 4"):
        read_stack(deep, (0, 4), (1, 1, 1), axes="CZYX")
    tifffile.imwrite(path, PIXELS[0], photometric="minisblack")
    with pytest.raises(UnreadableImage, match="is none of the axes"):
        read_stack(path, (0, 1), (1, 1, 1), axes="ZCYX")
