"""Mitotic index and phase indices: what they divide by, and how sure they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reports.counts import ImageGroup, MarkedObject, ReportImage, State, group_images
from tasks.reports.mitotic_index import compute_indices, compute_interval

CELL, OTHER = "Mitotic cell", "Other"


def mark(x: float, y: float, label: str = CELL, confidence: float | None = None) -> MarkedObject:
    return MarkedObject(label, (x, y, x + 20, y + 20), confidence)


def make_image(name: str, *objects: MarkedObject, state: State = "reviewed") -> ReportImage:
    return ReportImage(name, 0, 0, 100, 80, state, objects)


def make_phases(state: State, *images: tuple[int, int, int]) -> list[ImageGroup]:
    """Images with so many nuclei in interphase, metaphase and anaphase."""
    labels = ("interphase nuclei", "Metaphase", "AF")
    return [
        group_images(
            f"{number}",
            "slide",
            [
                make_image(
                    f"{number}",
                    *(
                        mark(4 + 5 * n, 20 + 9 * kind, label, None if state == "reviewed" else 0.9)
                        for kind, (label, how_many) in enumerate(zip(labels, image, strict=True))
                        for n in range(how_many)
                    ),
                    state=state,
                )
            ],
        )
        for number, image in enumerate(images)
    ]


def test_the_mitotic_index_divides_by_all_cells_and_stages_by_both() -> None:
    found = {
        (index.kind, index.of): index
        for index in compute_indices(make_phases("reviewed", (6, 1, 1), (7, 5, 0)))
    }
    assert found["mitotic", "cells"].value == pytest.approx(7 / 20)
    assert found["Metaphase", "cells"].value == pytest.approx(6 / 20)
    assert found["Metaphase", "dividing cells"].value == pytest.approx(6 / 7)
    assert found["Anaphase", "dividing cells"].part == 1
    for index in found.values():
        assert index.interval and index.interval[0] <= index.value <= index.interval[1]


def test_cells_that_divide_at_no_known_stage_count_as_dividing() -> None:
    cells = [mark(9, 9), mark(40, 9, "Interphase"), mark(70, 9, "Abnormal")]
    groups = [group_images("a", "a", [make_image("a", *cells)])]
    assert [index.part for index in compute_indices(groups, ["Abnormal"])][0] == 2
    assert [index.part for index in compute_indices(groups)][0] == 1


def test_a_count_that_nobody_reviewed_has_no_interval() -> None:
    every = compute_indices(
        [*make_phases("reviewed", (6, 1, 1)), *make_phases("detected", (6, 1, 1), (7, 5, 0))]
    )
    assert {index.reviewed for index in every} == {True, False}
    # Nor has a single image: it does not tell how images differ.
    assert all(index.interval is None for index in every)


def test_without_interphase_nuclei_there_is_no_index() -> None:
    assert compute_indices(make_phases("reviewed", (0, 3, 1))) == []
    assert (
        compute_indices([group_images("a", "a", [make_image("a", mark(9, 9), mark(40, 9, OTHER))])])
        == []
    )


def test_what_was_sampled_rarely_counts_for_more() -> None:
    crowded, usual = make_phases("reviewed", (2, 8, 0), (10, 0, 0))
    rare = ReportImage(**{**vars(usual.images[0]), "weight": 50.0})
    (mitotic, *_) = compute_indices([crowded, group_images("1", "slide", [rare])])
    assert mitotic.value == pytest.approx(8 / (10 + 50 * 10))


@given(
    st.lists(
        st.integers(0, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
        min_size=2,
        max_size=12,
    ).filter(lambda images: sum(n > 0 for _, n in images) > 1)
)
def test_an_interval_holds_its_share_and_narrows_with_images(images: list[tuple[int, int]]) -> None:
    part, whole = np.array(images).T
    low, high = compute_interval(part, whole) or (1, 0)
    assert 0 <= low <= part.sum() / whole.sum() <= high <= 1
    more = compute_interval(np.tile(part, 4), np.tile(whole, 4))
    assert more and more[1] - more[0] < high - low


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    """Also where the images differ more than chance would have it; judged by simulation."""
    random = np.random.default_rng(7)
    for spread in (None, 20.0):
        held = 0
        for _ in range(400):
            truth = 0.1 if spread is None else random.beta(0.1 * spread, 0.9 * spread, 20)
            whole = random.poisson(30, 20)
            part = random.binomial(whole, truth)
            low, high = compute_interval(part, whole) or (1, 0)
            held += low <= 0.1 <= high
        assert 0.92 <= held / 400 <= 0.99
