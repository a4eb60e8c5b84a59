"""The options of a source: what cannot be is refused before any file is opened."""

from __future__ import annotations

import pytest

from tasks.cli.source_options import parse_source_options


def test_each_option_is_kept() -> None:
    options = parse_source_options("r{row}_c{column}", 2, "max", 96, 0.25)
    assert (options.pattern, options.channel, options.depth) == ("r{row}_c{column}", 2, "max")
    assert (options.tile_overlap, options.pixel_size) == (96, 0.25)


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_a_pixel_size_that_cannot_be_is_refused(size: float) -> None:
    with pytest.raises(ValueError, match="--pixel-size"):
        parse_source_options(None, None, "each", None, size)


def test_a_pattern_that_names_no_place_is_refused() -> None:
    with pytest.raises(ValueError, match="pattern"):
        parse_source_options("{row", None, "each", None)
