"""Drawing ahead: what stays drawn, what is put back, and that the records are what was done."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.counting.drawing import (
    PERHAPS_OPEN,
    claim_cells,
    compute_score,
    count_ahead,
    count_kept,
    draw_further,
)
from ml_backend.counting.sample import Claim, DrawnTile
from ml_backend.estimation.count import Expected, weigh_total
from ml_backend.imaging.boxes import Boxes


def make_tiles(*versions: str) -> list[DrawnTile]:
    return [DrawnTile(n, 0.1, 99, 0, 0, 0, version) for n, version in enumerate(versions)]


def test_doubtful_cells_are_claimed_by_their_confidence() -> None:
    rows = [(0, 0, 5, 5, "Mitotic cell", 0.75), (0, 0, 5, 5, "Mitotic cell", 0.25)]
    clutter = (0, 0, 5, 5, "Other", 0.9)
    xyxy = np.array([row[:4] for row in (*rows, clutter)], np.float32)
    label = np.array([row[4] for row in (*rows, clutter)])
    confidence = np.array([row[5] for row in (*rows, clutter)], np.float32)
    assert claim_cells(Boxes(xyxy, label, confidence), ["Mitotic cell"]) == pytest.approx(1)
    assert claim_cells(Boxes(), ["Mitotic cell"]) == 0


@given(st.integers(1, 10**6))
def test_scores_rise_with_the_place_and_stay_before_those_not_drawn(place) -> None:
    assert 0 < compute_score(place) < compute_score(place + 1) < 1


def test_all_stays_while_the_version_does() -> None:
    drawn = make_tiles("", "v1", "v1", "v1")
    assert count_kept(drawn, {0}, "v1") == 4
    assert count_ahead(drawn, {0, 2}) == 2


def test_another_version_puts_back_what_nobody_can_have_seen() -> None:
    drawn = make_tiles(*["v1"] * 40)
    assert count_kept(drawn, {0, 1, 5}, "v2") == 6 + PERHAPS_OPEN
    assert count_kept(drawn, set(), "v2") == PERHAPS_OPEN
    assert count_kept(drawn[:3], set(), "v2") == 3


def test_doing_it_again_puts_nothing_back() -> None:
    drawn = make_tiles(*["v1"] * 12, *["v2"] * 20)
    assert count_kept(drawn, {0, 1}, "v2") == 32


CLAIMS = {task: Claim("v1", cells) for task, cells in enumerate([0, 0, 3, 0.5, 0, 1, 0, 0, 2, 0])}


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(0, 9))
def test_each_tile_is_drawn_once_with_what_was_left(seed, number, reviewed) -> None:
    counts = dict.fromkeys(range(reviewed), 1.0)
    generator = np.random.default_rng(seed)
    first = draw_further(generator, [], CLAIMS, counts, number)
    drawn = first + draw_further(generator, first, CLAIMS, counts, 20)
    assert sorted(tile.task for tile in drawn) == list(range(10))
    assert [tile.version for tile in drawn] == [""] * reviewed + ["v1"] * (10 - reviewed)
    assert [tile.tiles_left for tile in drawn] == [
        *range(reviewed, 0, -1),
        *range(10 - reviewed, 0, -1),
    ]
    for tile in drawn[:reviewed]:
        assert tile.probability == 1
    for tile in drawn:
        assert tile.claimed == CLAIMS[tile.task].cells
    assert drawn[-1].probability == pytest.approx(1)


def test_draws_come_as_often_as_recorded_and_estimate_without_bias() -> None:
    truth = np.array([0, 1, 3, 0, 0, 1, 0, 2, 1, 0], float)
    seen: Counter[int] = Counter()
    chance = np.zeros(10)
    values = []
    for seed in range(3000):
        generator = np.random.default_rng(seed)
        drawn = draw_further(generator, [], CLAIMS, {}, 3)
        counts = {tile.task: truth[tile.task] for tile in drawn}
        drawn += draw_further(generator, drawn, CLAIMS, counts, 2)
        seen[drawn[0].task] += 1
        chance[drawn[0].task] = drawn[0].probability
        total = weigh_total(
            truth[[tile.task for tile in drawn]],
            np.array([tile.probability for tile in drawn]),
            10,
            Expected(
                np.array([tile.expected for tile in drawn]),
                np.array([tile.expected_left for tile in drawn]),
            ),
        )
        values.append(float(total.value))
    assert np.array([seen[n] / 3000 for n in range(10)]) == pytest.approx(chance, abs=0.03)
    error = np.std(values) / np.sqrt(len(values))
    assert np.mean(values) == pytest.approx(truth.sum(), abs=4 * error)
