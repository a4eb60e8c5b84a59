"""What a header says before pixels are read: the stage's position, and µm asked for once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.readers.header import Header


def make_ome(size: float, unit: str, x: float, y: float, stage_unit: str) -> str:
    return (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels PhysicalSizeX="{size}" PhysicalSizeXUnit="{unit}" PhysicalSizeY="{size}" '
        f'PhysicalSizeYUnit="{unit}"><Plane TheZ="0" PositionX="{x}" PositionXUnit="{stage_unit}" '
        f'PositionY="{y}" PositionYUnit="{stage_unit}"/></Pixels></Image></OME>'
    )


@given(
    size=st.floats(0.05, 20),
    x=st.floats(-1e4, 1e4),
    y=st.floats(-1e4, 1e4),
    thousands=st.booleans(),
)
def test_the_stage_s_position_is_in_px_whatever_the_units(
    size: float, x: float, y: float, thousands: bool
) -> None:
    places = (x / 1000, y / 1000, "mm") if thousands else (x, y, "µm")
    header = Header(Path("a.tif"), "tiff", ome=make_ome(size, "µm", *places))
    assert header.stage_position == pytest.approx((x / size, y / size), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("ome", ["", "<OME", "<OME/>", make_ome(0.5, "µm", 1, 1, "furlong")])
def test_a_header_that_does_not_say_gives_none(ome: str) -> None:
    assert Header(Path("a.tif"), "tiff", ome=ome).stage_position is None
    assert Header(Path("a.tif"), "tiff", ome=ome).pixel_size is None


def test_the_pixel_size_is_looked_for_once_and_only_when_it_is_asked_for() -> None:
    asked: list[int] = []

    def find() -> float:
        asked.append(1)
        return 0.25

    header = Header(Path("a.czi"), "vendor", find_pixel_size=find)
    assert not asked
    assert header.pixel_size == header.pixel_size == 0.25 and len(asked) == 1
