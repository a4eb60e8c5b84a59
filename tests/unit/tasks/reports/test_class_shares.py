"""Shares of images by class, against scipy and cases made by hand."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from tasks.reports.class_shares import ALL, ClassShare, compute_shares
from tasks.reports.counts import ImageGroup, MarkedObject, ReportImage, State, group_images

BOX = (0.0, 0.0, 0.0, 0.0)


def image(scan: str, *labels: str, state: State = "reviewed", weight: float = 1.0) -> ImageGroup:
    objects = tuple(MarkedObject(label, BOX, None, whole=True) for label in labels)
    shown = ReportImage("i", 0, 0, 0, 0, state, objects, weight=weight)
    return group_images("i", scan, [shown])


def find(shares: list[ClassShare], scan: str, label: str, reviewed: bool = True) -> ClassShare:
    (share,) = [s for s in shares if (s.scan, s.label, s.reviewed) == (scan, label, reviewed)]
    return share


def test_within_a_sample_it_is_near_wilsons_interval() -> None:
    groups = [image("s", "A" if number % 4 else "B") for number in range(200)]
    share = find(compute_shares(groups, ("A", "B")), "s", "A")
    wilson = binomtest(150, 200).proportion_ci(method="wilson")
    assert (share.part, share.whole, share.value) == (150, 200, 0.75)
    assert (share.low, share.high) == pytest.approx((wilson.low, wilson.high), abs=0.002)


def test_over_samples_the_samples_count_not_their_images() -> None:
    pure = [image(scan, label) for scan, label in ("aA", "bB", "cA") for _ in range(50)]
    shares = compute_shares(pure, ("A", "B"))
    total = find(shares, ALL, "A")
    assert (total.part, total.whole, total.value) == (100, 150, pytest.approx(2 / 3))
    assert total.low is not None and total.high is not None and total.high - total.low > 0.6
    assert shares[-2:] == [total, find(shares, ALL, "B")]


def test_classified_images_are_apart_and_have_no_interval() -> None:
    groups = [image("s", "A"), image("s", "A"), image("s", "B", state="detected"),
              image("s", state="waiting")]  # fmt: skip
    shares = compute_shares(groups, ("A", "B"))
    assert find(shares, "s", "B").part == 0 and find(shares, "s", "A").whole == 2
    guessed = find(shares, "s", "B", reviewed=False)
    assert (guessed.part, guessed.whole, guessed.low) == (1, 1, None)
    assert not [share for share in shares if share.scan == ALL]


def test_several_classes_of_an_image_and_drawn_ones_count_by_what_they_stand_for() -> None:
    groups = [image("s", "A", "B", weight=1), image("s", "B", weight=3), image("s", weight=1)]
    shares = compute_shares(groups, ("A", "B"))
    assert find(shares, "s", "A").value == pytest.approx(1 / 5)
    assert find(shares, "s", "B").value == pytest.approx(4 / 5)


def test_an_image_as_a_whole_is_not_cut() -> None:
    assert not image("s", "A").objects[0].partial
