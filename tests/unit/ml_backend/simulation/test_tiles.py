"""Tiles cover an image, and each box is in the tile that shows most of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode, encode_png
from ml_backend.simulation.tiles import cut_into_tiles


def test_cuts_pixels_and_boxes_together(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (100, 150, 3), np.uint8)
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    boxes = Boxes.from_rows(
        [
            (10, 10, 30, 30, "Mitotic cell"),
            (62, 10, 90, 30, "Mitotic cell"),
            (140, 90, 150, 100, "x"),
        ]
    )
    example = Example(tmp_path / "a.png", "sample", boxes)
    broken = Example(tmp_path / "none.png", "sample", Boxes())
    tiles, unread = cut_into_tiles([example, broken], 80, tmp_path / "tiles")
    assert [source for source, _ in unread] == [str(tmp_path / "none.png")]
    assert len(tiles) == 4 and {tile.group for tile in tiles} == {"sample"}
    assert sum(len(tile.boxes) for tile in tiles) == len(boxes)
    for tile in tiles:
        top, left = map(int, tile.image.stem.split("-")[-2:])
        shown = decode(tile.image)
        assert np.array_equal(shown, pixels[top : top + len(shown), left : left + shown.shape[1]])
    # The second box is seen by a half and a bit in one tile, and ignored in the other.
    whole = [tile for tile in tiles if (tile.boxes.xyxy[:, 2] == 15).any()]
    assert len(whole) == 1 and whole[0].boxes.xyxy[0].tolist() == [0, 10, 15, 30]
    assert sum(len(tile.ignored) for tile in tiles) == 1


def test_ignores_a_sliver(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(np.zeros((50, 100, 3), np.uint8)))
    example = Example(tmp_path / "a.png", "a", Boxes.from_rows([(40, 0, 55, 20, "Mitotic cell")]))
    left, right = cut_into_tiles([example], 50, tmp_path / "tiles")[0]
    assert left.boxes.xyxy.tolist() == [[40, 0, 50, 20]] and not len(left.ignored)
    assert not len(right.boxes) and right.ignored.tolist() == [[0, 0, 5, 20]]
