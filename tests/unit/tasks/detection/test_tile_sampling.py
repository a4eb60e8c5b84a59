"""Tiles are sampled evenly, and always the same."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tasks.detection.tile_sampling import TileSampler
from tasks.sources.scan_source import ScanSource, SourceOptions


def test_tiles_are_sampled_evenly_and_apart(tmp_path: Path) -> None:
    """Tile i is i grey; a large image is cut, and both halves of the sample share nothing."""
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8), number, np.uint8))
    sampler = TileSampler(ScanSource(tmp_path, SourceOptions()), 64)
    assert [int(tile[0, 0, 0]) for tile in sampler.read_tiles(4)] == [0, 3, 6, 9]
    every = [int(tile[0, 0, 0]) for tile in sampler.read_tiles(100)]
    assert every == list(range(10))
    alone = tmp_path / "alone"
    alone.mkdir()
    ramp = np.arange(256, dtype=np.uint8).repeat(2)[None].repeat(32, axis=0)
    cv2.imwrite(str(alone / "wide.png"), ramp)
    sampler = TileSampler(ScanSource(alone, SourceOptions()), 64)
    even = [int(tile[0, 0, 0]) for tile in sampler.read_tiles(100, lambda number: number % 2 == 0)]
    odd = [int(tile[0, 0, 0]) for tile in sampler.read_tiles(100, lambda number: number % 2 == 1)]
    assert (even, odd) == ([0, 64, 128, 192], [32, 96, 160, 224])


def test_what_cannot_be_read_is_listed_once_however_often_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    cv2.imwrite(str(tmp_path / "grey.png"), np.zeros((8, 8), np.uint8))
    sampler = TileSampler(ScanSource(tmp_path, SourceOptions()), 64)
    assert [len(list(sampler.read_tiles(100))) for _ in range(2)] == [1, 1]
    assert sampler.skipped == [{"source": "empty.png", "reason": "the file is empty"}]
