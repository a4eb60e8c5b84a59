"""Estimates of a project: by class, as shares, and what they say in words."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ml_backend.counting.advice import advise, describe_missing
from ml_backend.counting.estimates import ProjectCount, estimate_project, expect_classes
from ml_backend.counting.records import describe, to_json
from ml_backend.counting.reviewed import ReviewedTiles
from ml_backend.estimation.count import Expected, estimate_total
from ml_backend.estimation.prediction_powered import Refusal
from ml_backend.estimation.sampling import draw_tiles, expect_counts, weigh_tiles

CLASSES = ("Metaphase", "Anaphase", "Interphase")
MEANS = np.array([0.2, 0.1, 6.0])


def review(number: int, seed: int = 0, tiles: int = 400) -> tuple[ReviewedTiles, np.ndarray]:
    """Review tiles of a scan, drawn by the claims of a fair detector; and the truth."""
    random = np.random.default_rng(seed)
    truth = random.poisson(MEANS[:, None], (3, tiles))
    dividing = truth[:2].sum(axis=0)
    claimed = random.binomial(dividing, 0.8) + random.gamma(0.1, 0.2, tiles)
    expected = expect_counts(claimed, np.zeros(0), np.zeros(0))
    draws = draw_tiles(
        random, weigh_tiles(expected), np.ones(tiles, bool), number, expected=expected
    )
    reviewed = ReviewedTiles(
        CLASSES,
        CLASSES[:2],
        truth[:, draws.index].astype(float),
        draws.probability,
        draws.expected,
        draws.expected_left,
        tiles,
        np.zeros(3),
        0,
        naive=float(claimed.sum()),
    )
    return reviewed, truth.sum(axis=1)


def by_name(count: ProjectCount) -> dict[str, float]:
    return {figure.what: float(figure.estimate.value) for figure in count.figures}


def test_every_figure_is_about_the_truth() -> None:
    values = []
    for seed in range(60):
        reviewed, truth = review(100, seed)
        found = by_name(estimate_project(reviewed, "drawn"))
        metaphases, anaphases, resting = truth
        dividing = metaphases + anaphases
        true = {
            "all": dividing,
            "Metaphase": metaphases,
            "Anaphase": anaphases,
            "Interphase": resting,
            "mitotic index": dividing / truth.sum(),
            "Metaphase of dividing": metaphases / dividing,
            "Anaphase of dividing": anaphases / dividing,
        }
        assert list(found) == list(true)
        values.append([found[name] / true[name] for name in true])
    assert np.mean(values, axis=0) == pytest.approx(np.ones(7), abs=0.06)


def test_there_is_no_index_where_nobody_marks_resting_cells() -> None:
    reviewed, _ = review(60)
    counts = reviewed.counts * [[1], [1], [0]]
    figures = estimate_project(replace(reviewed, counts=counts), "drawn").figures
    assert "mitotic index" not in [figure.what for figure in figures]


def test_a_single_class_is_the_first_figure() -> None:
    reviewed, _ = review(60)
    alone = replace(reviewed, classes=CLASSES[:1], headline=CLASSES[:1], counts=reviewed.counts[:1])
    alone = replace(alone, known=np.zeros(1))
    count = estimate_project(alone, "drawn")
    (figure,) = count.figures
    expected = Expected(reviewed.expected, reviewed.expected_left)
    plain = estimate_total(alone.counts[0], alone.probability, 400, expected)
    assert figure.what == "Metaphase" and figure.naive == reviewed.naive
    assert figure.estimate.value == pytest.approx(float(plain.value))
    assert figure.estimate.sequence == pytest.approx(plain.sequence)


def test_known_tiles_are_added_as_they_are() -> None:
    reviewed, _ = review(60)
    known = replace(reviewed, known=np.array([7.0, 2.0, 90.0]), known_tiles=12)
    alone, beside = (estimate_project(tiles, "drawn") for tiles in (reviewed, known))
    interphase = {f.what: f.estimate for f in beside.figures}["Interphase"]
    before = {f.what: f.estimate for f in alone.figures}["Interphase"]
    assert interphase.value == pytest.approx(float(before.value) + 90)
    assert interphase.interval == pytest.approx(before.interval + 90)
    assert (interphase.reviewed, interphase.tiles) == (72, 412)
    assert beside.missing.found == alone.missing.found + 9


def test_no_value_is_below_what_was_counted() -> None:
    reviewed, _ = review(60)
    # All cells on tiles that were sure to be drawn, and many expected elsewhere: it overshoots.
    counts = np.zeros((3, 60))
    counts[:, 0] = 50
    odd = replace(
        reviewed,
        counts=counts,
        probability=np.linspace(0.9, 0.5, 60),
        expected=np.full(60, 3.0),
        expected_left=np.zeros(60),
    )
    for figure in estimate_project(odd, "drawn").figures:
        if figure.kind == "count":
            assert figure.estimate.value >= figure.estimate.counted
            assert figure.estimate.interval[0] >= figure.estimate.counted


def test_what_is_expected_of_a_class_is_known_before_the_draw() -> None:
    reviewed, _ = review(40)
    changed = reviewed.counts.copy()
    changed[:, 20:] += 5
    for rows in ([0], [1], [0, 1], [0, 2]):
        now = expect_classes(reviewed, rows)
        then = expect_classes(replace(reviewed, counts=changed), rows)
        assert now.own[:21] == pytest.approx(then.own[:21])
        assert now.left[:21] == pytest.approx(then.left[:21])
    assert expect_classes(reviewed, [0, 1]).own == pytest.approx(reviewed.expected)
    assert expect_classes(reviewed, [2]).own == pytest.approx(np.zeros(40))


def test_few_reviews_give_no_interval_and_say_what_to_do() -> None:
    reviewed, _ = review(12)
    count = estimate_project(reviewed, "drawn")
    assert advise(count) == ("go on", "Go on: there is no interval before 18 more tiles.")
    assert describe_missing(count).endswith("how many are missing is not known yet.")
    record = to_json(count)["estimates"][0]
    assert record["interval"] is record["holds"] is record["classical_interval"] is None


def test_it_says_go_on_then_label_more_then_stop() -> None:
    verdicts = [advise(estimate_project(review(n, tiles=1500)[0], "drawn")) for n in (60, 400)]
    assert [verdict for verdict, _ in verdicts] == ["go on", "stop"]
    assert "the next 50 tiles will show about" in verdicts[0][1]
    reviewed, _ = review(400, tiles=1500)
    rare = reviewed.counts.copy()
    rare[1] = 0
    rare[1, :3] = 1
    verdict, words = advise(estimate_project(replace(reviewed, counts=rare), "drawn"))
    assert verdict == "label more"
    assert words.startswith("Label more Anaphase: 3 counted so far, and")
    whole, _ = review(400)
    assert advise(estimate_project(whole, "drawn")) == (
        "stop",
        "Stop: all 400 tiles were reviewed.",
    )


def test_the_records_are_plain_and_complete() -> None:
    reviewed, _ = review(80)
    count = estimate_project(replace(reviewed, waiting=3, missing=17, uncounted=2), "drawn")
    record = json.loads(json.dumps(to_json(count), allow_nan=False))
    first = record["estimates"][0]
    assert (first["what"], first["reviewed"], first["total"]) == ("all", 80, 400)
    assert first["method"] == "drawn" and first["holds"] == "whenever you stop"
    low, high = first["interval"]
    assert low <= first["value"] <= high
    assert first["naive"] == pytest.approx(reviewed.naive)
    assert record["missing"]["found"] == first["counted"]
    assert record["plan"]["reviews"] == 50
    assert record["plan"]["width_then"] < record["plan"]["width"]
    assert any("task 17" in note for note in record["notes"])
    lines = describe(count)
    assert lines[0] == "80 of 400 tiles count, drawn."
    assert record["advice"] in lines and record["notes"][0] in lines


def test_a_refusal_is_told() -> None:
    refusal = Refusal("nobody looked")
    assert to_json(refusal)["refused"] == "nobody looked"
    assert to_json(refusal)["estimates"] == []
    assert describe(refusal) == ["There is no estimate: nobody looked."]


def test_each_scan_has_its_own_number_and_together_they_are_all() -> None:
    totals, values = [], []
    for seed in range(40):
        reviewed, _ = review(120, seed)
        names = tuple("slide 1" if place % 3 else "slide 2" for place in range(120))
        known = {"slide 2": np.array([5.0, 1.0, 0.0])}
        sampled = replace(
            reviewed,
            samples=names,
            sizes={"slide 1": 270, "slide 2": 130},
            known=known["slide 2"],
            known_in=known,
            expected=np.zeros(120),
            expected_left=np.zeros(120),
        )
        count = estimate_project(sampled, "drawn")
        parts = [figure for figure in count.figures if figure.sample and figure.what == "all"]
        assert [figure.sample for figure in parts] == ["slide 1", "slide 2"]
        assert [figure.estimate.tiles for figure in parts] == [270, 130]
        assert [figure.estimate.reviewed for figure in parts] == [80, 40]
        totals.append(float(count.headline.estimate.value))
        values.append([float(figure.estimate.value) for figure in parts])
        assert parts[1].estimate.counted >= 6
    # No part is below what was counted there, so their sum may be a little above the whole.
    assert np.sum(values, axis=1) == pytest.approx(np.array(totals), rel=0.05)
    shares = [figure for figure in count.figures if figure.what == "mitotic index"]
    assert [figure.sample for figure in shares] == ["", "slide 1", "slide 2"]
