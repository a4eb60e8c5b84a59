"""How many µm a pixel shows: read from tasks and from image files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ml_backend.system.markup import parse_xml
from ml_backend.system.numbers import parse_number

# µm: an electron microscope's pixel, and more than any image of a slide shows.
SMALLEST, LARGEST = 1e-6, 1e6

# µm in a unit, as OME, OME-Zarr and ImageJ write it.
UNITS = {
    "µm": 1.0, "um": 1.0, "μm": 1.0, "\\u00b5m": 1.0, "micron": 1.0, "microns": 1.0,
    "micrometer": 1.0, "nm": 1e-3, "nanometer": 1e-3, "mm": 1e3, "millimeter": 1e3, "cm": 1e4,
    "m": 1e6,
}  # fmt: skip


def read_task_pixel_size(data: Mapping[str, Any]) -> float | None:
    """Read the pixel size in µm from a task's data; None where it has none.

    Args:
        data: Of a task; a table of tasks may have turned the number into text.
    """
    return parse_pixel_size(data.get("pixel_size"))


def parse_pixel_size(value: Any) -> float | None:
    """Parse a pixel size in µm; None where the value is not a number that can be one."""
    return parse_number(value, SMALLEST, LARGEST)


def read_file_pixel_size(path: Path) -> float | None:
    """Read the pixel size in µm from a TIFF's OME metadata, or from ImageJ's.

    The plain resolution of TIFFs and other files is more often that of a printer than that of a
    microscope, so it is not used.

    Returns:
        None where the file does not tell.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as opened:
            ome = opened.ome_metadata
            return parse_ome_pixel_size(ome) if ome else read_imagej_pixel_size(opened)
    except Exception:  # tifffile raises whatever it stumbles over; the image is read later
        return None


def read_imagej_pixel_size(opened: Any) -> float | None:
    """Read what ImageJ wrote into a TIFF that tifffile has opened; None where it does not say."""
    unit = UNITS.get(str((opened.imagej_metadata or {}).get("unit")).lower())
    resolution = opened.pages[0].tags.get("XResolution")
    if unit is None or resolution is None:
        return None
    dots, length = resolution.value
    return parse_pixel_size(length / dots * unit) if dots else None


def parse_ome_pixels(ome: str) -> ElementTree.Element | None:
    """Return the element Pixels of the first image in OME-XML; None where there is none."""
    try:
        return parse_xml(ome).find(".//{*}Pixels") if ome else None
    except ValueError:
        return None


def parse_ome_pixel_size(ome: str) -> float | None:
    """Return µm a pixel by OME-XML; None where it does not say."""
    pixels = parse_ome_pixels(ome)
    return None if pixels is None else parse_pixel_size(read_ome_length(pixels, "PhysicalSizeX"))


def read_ome_length(element: ElementTree.Element, name: str) -> float | None:
    """Read a length of an OME element in µm; None where it is missing or not a number."""
    length = parse_number(element.get(name))
    unit = UNITS.get(element.get(f"{name}Unit", "µm"))
    return None if length is None or unit is None else length * unit
