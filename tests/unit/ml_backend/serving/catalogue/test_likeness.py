"""A picture looks like itself, however it lies; and less like another one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ml_backend.serving.catalogue.likeness import compare_looks, describe_look, join_looks


def draw_rods(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    picture = np.zeros((96, 96, 3), np.uint8)
    for _ in range(4):
        ends = random.integers(10, 86, (2, 2)).tolist()
        cv2.line(picture, ends[0], ends[1], (200, 200, 200), 5)
    return cv2.GaussianBlur(picture, (7, 7), 0)


def compare(wanted: np.ndarray, *others: np.ndarray) -> np.ndarray:
    return compare_looks(describe_look(wanted), join_looks(list(map(describe_look, others))))


@pytest.mark.parametrize("seed", range(5))
def test_turned_and_mirrored_it_is_the_same(seed: int) -> None:
    picture = draw_rods(seed)
    turned = [np.rot90(picture, k) for k in range(4)]
    mirrored = [np.rot90(picture[:, ::-1], k) for k in range(4)]
    same = compare(picture, *map(np.ascontiguousarray, [*turned, *mirrored]))
    others = compare(picture, *(draw_rods(100 + i) for i in range(8)))
    assert same[0] == pytest.approx(1, abs=1e-6)
    assert same.min() > 0.97 and others.max() < same.min()


def test_brighter_or_flat_pictures_are_no_trouble() -> None:
    picture = draw_rods(1)
    assert compare(picture, picture // 2 + 60)[0] > 0.97
    flat = np.full((32, 32, 3), 7, np.uint8)
    assert np.isfinite(compare(flat, flat, picture)).all()


def test_many_are_compared_as_few_are() -> None:
    pictures = [draw_rods(i) for i in range(30)]
    many = compare(pictures[0], *(pictures[i % 30] for i in range(600)))
    assert many == pytest.approx(np.tile(compare(pictures[0], *pictures), 20), abs=1e-6)
