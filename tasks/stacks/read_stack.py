"""A stack with two channels, read as one array with the size of its voxels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from ml_backend.imaging.decode import UnreadableImage, stretch_contrast
from ml_backend.imaging.pixel_size import parse_ome_pixels, read_ome_length
from ml_backend.imaging.projections import Voxel
from ml_backend.system.numbers import parse_number
from tasks.readers.open import examine, open_scan
from tasks.readers.planes import Rendering, ScanPlane

# Of a stack that is read at once.
MOST_BYTES = 2_000_000_000


@dataclass(frozen=True)
class CellStack:
    """A stack.

    Attributes:
        pixels: (Z, Y, X, 2) uint8: DNA, membrane.
        voxel: Its size along z, y and x, µm.
    """

    pixels: np.ndarray
    voxel: Voxel


def read_stack(
    path: Path,
    channels: tuple[int, int],
    voxel: Voxel | None = None,
    axes: str | None = None,
) -> CellStack:
    """Read two channels of a stack.

    Args:
        path: TIFF, OME-Zarr or a microscope's own file.
        channels: Those of DNA and membrane, from 0.
        voxel: Its size, µm; None where the file says it.
        axes: Of a TIFF that does not say what its axes are: C, Z, Y and X in their order.

    Raises:
        UnreadableImage: It cannot be read, lacks a channel, or is a single plane.
        ValueError: Neither the file nor the caller says how large a voxel is.
    """
    if axes is None:
        found = [_read_channel(path, channel) for channel in channels]
    else:
        found = _read_by_axes(path, channels, axes)
    if found[0].shape != found[1].shape:
        shapes = " and ".join(str(stack.shape) for stack in found)
        raise UnreadableImage(f"its two channels differ in shape: {shapes}", str(path))
    if len(found[0]) < 2:
        raise UnreadableImage("it has a single plane: there is nothing to project", str(path))
    size = voxel or read_voxel(path)
    if size is None:
        raise ValueError(f"{path}: it does not say how large a voxel is; give --voxel Z,Y,X in µm")
    return CellStack(np.stack(found, axis=3), size)


def _read_channel(path: Path, channel: int) -> np.ndarray:
    """(Z, Y, X) uint8 of the first stack in the file."""
    planes = open_scan(path, Rendering(channel=channel))
    of_stack = [plane for plane in planes if plane.stack == planes[0].stack]
    shapes = {(plane.height, plane.width) for plane in of_stack}
    if len(shapes) > 1:
        raise UnreadableImage("its planes differ in size, so it is no stack", str(path))
    return np.stack([_read_plane(plane, path) for plane in of_stack])


def _read_by_axes(path: Path, channels: tuple[int, int], axes: str) -> list[np.ndarray]:
    """(Z, Y, X) uint8 of each channel of a TIFF whose axes are told."""
    if sorted(axes) != sorted("CZYX"):
        raise ValueError(f"axes {axes}: name C, Z, Y and X once each, in their order in the file")
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            if series.nbytes > MOST_BYTES:
                raise UnreadableImage(f"it has {series.nbytes:,} bytes, too many", str(path))
            pixels = series.asarray()
    except (tifffile.TiffFileError, OSError, IndexError) as error:
        raise UnreadableImage(f"it is no TIFF that can be read: {error}", str(path)) from error
    if pixels.ndim != len(axes):
        raise UnreadableImage(f"its shape {pixels.shape} is none of the axes {axes}", str(path))
    pixels = pixels.transpose([axes.index(axis) for axis in "CZYX"])
    missing = [channel for channel in channels if channel >= len(pixels)]
    if missing:
        raise UnreadableImage(
            f"there is no channel {missing[0]}; it has {len(pixels)}, from 0 on", str(path)
        )
    return [_show(pixels[channel]) for channel in channels]


def _show(stack: np.ndarray) -> np.ndarray:
    """(Z, Y, X) in 8 bits: deeper samples are stretched by the percentiles of the whole stack."""
    if stack.dtype == np.uint8:
        return stack
    depth, height, width = stack.shape
    flat = stretch_contrast(stack.reshape(depth * height, width, 1))
    return flat[..., 0].reshape(depth, height, width)


def _read_plane(plane: ScanPlane, path: Path) -> np.ndarray:
    for _, pixels in plane.read_parts([(0, 0, plane.width, plane.height)]):
        return pixels[..., 0].copy()
    raise UnreadableImage(plane.failure or "it cannot be read", str(path))


def read_voxel(path: Path) -> Voxel | None:
    """Read the size of a voxel from a file's metadata, OME's or ImageJ's; None without one."""
    header = examine(path)
    pixels = parse_ome_pixels(header.ome)
    if pixels is not None:
        sides = [read_ome_length(pixels, f"PhysicalSize{axis}") for axis in "ZYX"]
        if all(sides):
            return sides[0] or 0.0, sides[1] or 0.0, sides[2] or 0.0
    if header.kind == "tiff" and header.pixel_size:
        with tifffile.TiffFile(path) as file:
            spacing = parse_number((file.imagej_metadata or {}).get("spacing"), 1e-6)
        if spacing:
            return spacing, header.pixel_size, header.pixel_size
    return None
