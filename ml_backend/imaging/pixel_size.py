"""How many µm a pixel shows: what tasks and image files say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

# µm in a unit, as OME, OME-Zarr and ImageJ write it.
UNITS = {
    "µm": 1.0, "um": 1.0, "μm": 1.0, "\\u00b5m": 1.0, "micron": 1.0, "microns": 1.0,
    "micrometer": 1.0, "nm": 1e-3, "nanometer": 1e-3, "mm": 1e3, "millimeter": 1e3, "cm": 1e4,
    "m": 1e6,
}  # fmt: skip


def read_task_pixel_size(data: Mapping[str, Any]) -> float | None:
    """By a task's data, also where a table of tasks made it a text; None where it has none."""
    return parse_pixel_size(data.get("pixel_size"))


def parse_pixel_size(value: Any) -> float | None:
    """A size that can be one, as a number."""
    try:
        size = float(value)
    except (TypeError, ValueError):
        return None
    return size if math.isfinite(size) and size > 0 else None


def read_file_pixel_size(path: Path) -> float | None:
    """By the OME metadata of a TIFF, or what ImageJ wrote into it; None where it does not say.

    The plain resolution of TIFFs and other files is that of a printer more often than that
    of a microscope, and does not count.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as opened:
            if text := opened.ome_metadata:
                pixels = ElementTree.fromstring(text).find(".//{*}Pixels")
                return (
                    None
                    if pixels is None
                    else parse_pixel_size(read_ome_length(pixels, "PhysicalSizeX"))
                )
            unit = UNITS.get(str((opened.imagej_metadata or {}).get("unit")).lower())
            resolution = opened.pages[0].tags.get("XResolution")  # type: ignore[union-attr]
            if unit is None or resolution is None:
                return None
            dots, length = resolution.value
            return parse_pixel_size(length / dots * unit)
    except Exception:  # tifffile raises whatever it stumbles over; the image is read later
        return None


def read_ome_length(element: ElementTree.Element, name: str) -> float | None:
    """A length of an OME element, in µm; None where it is not there or no length."""
    try:
        return float(element.attrib[name]) * UNITS[element.get(f"{name}Unit", "µm")]
    except (KeyError, ValueError):
        return None
