"""What the names that microscopes give say, and what a pattern of the user's reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.sources.filename_patterns import compile_pattern, ignore_numbers, parse_name


@pytest.mark.parametrize(
    ("name", "row", "column", "plane", "channel"),
    [
        ("Image_XY01_00012_Z003_CH4.tif", None, None, 3, 4),  # Keyence
        ("TileScan 1_s03_z07_ch00.tif", None, None, 7, 0),  # Leica LAS X
        ("image--L0000--J15--X02--Y05--T0000--Z01--C03.ome.tif", 5, 2, 1, 3),  # Matrix Screener
        ("tile_r003_c012.png", 3, 12, None, None),
        ("slide2 row 4 col 11.jpg", 4, 11, None, None),
        ("tile_x07_y02_z1.tif", 2, 7, 1, None),
        ("tile10.png", None, None, None, None),
        ("AtCell1.png", None, None, None, None),
        ("mitosis_c3.png", None, None, None, None),
        ("brick7.png", None, None, None, None),
    ],
)
def test_what_usual_names_say(
    name: str, row: int | None, column: int | None, plane: int | None, channel: int | None
) -> None:
    found = parse_name(name)
    assert found is not None
    assert (found.row, found.column, found.plane, found.channel) == (row, column, plane, channel)


def test_a_pattern_that_a_user_gives() -> None:
    given = compile_pattern("img_{row}-{column}_*p{plane}")
    found = parse_name("img_03-11_day2 p5.tif", given)
    assert found is not None and (found.row, found.column, found.plane) == (3, 11, 5)
    assert parse_name("thumbnail.tif", given) is None
    for wrong in ("tile*", "{row}", "{row}_{row}", "{line}_{column}", "{plane}_{row}"):
        with pytest.raises(ValueError, match="--pattern"):
            compile_pattern(wrong)


numbers = st.integers(0, 9999)


@pytest.mark.parametrize(
    "form",
    [
        "slide_r{row}_c{column}_z{plane}",
        "x{column}-y{row}, Z{plane}",
        "row {row} col {column} z{plane:03}",
    ],
)
@given(row=numbers, column=numbers, plane=numbers)
def test_numbers_of_a_usual_name_come_back_and_leave_one_rest(
    form: str, row: int, column: int, plane: int
) -> None:
    found = parse_name(form.format(row=row, column=column, plane=plane) + ".tif")
    other = parse_name(form.format(row=1, column=2, plane=3) + ".tif")
    assert found is not None and other is not None
    assert (found.row, found.column, found.plane, found.channel) == (row, column, plane, None)
    assert found.rest == other.rest and ignore_numbers(found.rest).rest == found.rest


@given(row=numbers, column=numbers)
def test_a_given_pattern_reads_what_it_writes(row: int, column: int) -> None:
    given_pattern = compile_pattern("field ({row}|{column})*")
    found = parse_name(f"FIELD ({row}|{column}) of 9.png", given_pattern)
    assert found is not None and (found.row, found.column) == (row, column)
