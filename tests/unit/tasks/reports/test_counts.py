"""Objects are counted once, and a person's word goes before the detector's."""

from __future__ import annotations

from tasks.reports.counts import (
    MarkedObject,
    ReportImage,
    State,
    count_objects,
    group_images,
)

CELL, OTHER = "Mitotic cell", "Other"


def mark(x: float, y: float, label: str = CELL, confidence: float | None = None) -> MarkedObject:
    return MarkedObject(label, (x, y, x + 20, y + 20), confidence)


def image(
    name: str,
    *objects: MarkedObject,
    left: float = 0,
    state: State = "reviewed",
    pre_annotated: tuple[MarkedObject, ...] | None = None,
    plane: int = 0,
) -> ReportImage:
    return ReportImage(name, left, 0, 100, 80, state, objects, pre_annotated, plane)


def test_an_object_that_two_tiles_show_is_counted_once() -> None:
    whole, piece = mark(85, 30), MarkedObject(CELL, (85, 30, 100, 50), None)
    both = group_images("scan", "scan", [image("a", piece), image("b", whole, left=80)])
    (found,) = both.objects
    assert found.box == whole.box and not found.partial and both.images[found.image].name == "b"
    apart = group_images("scan", "scan", [image("a", mark(10, 30)), image("b", whole, left=80)])
    assert len(apart.objects) == 2


def test_an_object_on_two_planes_is_counted_once_on_its_best() -> None:
    dim, sharp = mark(40, 30, confidence=0.4), mark(41, 31, confidence=0.9)
    both = group_images(
        "stack",
        "stack",
        [image("0", dim, state="detected"), image("1", sharp, state="detected", plane=1)],
    )
    (found,) = both.objects
    assert (found.plane, found.confidence) == (1, 0.9)


def test_where_a_person_looked_the_detector_has_no_say() -> None:
    tiles = [
        image("a"),  # a person says that nothing is there
        image(
            "b",
            mark(85, 30, confidence=0.9),
            mark(140, 30, confidence=0.8),
            left=80,
            state="detected",
        ),
    ]
    (found,) = group_images("scan", "scan", tiles).objects
    assert found.confidence == 0.8


def test_partial_is_what_touches_the_outer_edge() -> None:
    row = image("a.png", mark(0, 30), mark(40, 30), mark(80, 30))
    alone = group_images("a.png", "a.png", [row])
    assert [found.partial for found in alone.objects] == [True, False, True]


def test_counts_tell_reviewed_from_detected() -> None:
    shown = (mark(10, 10, confidence=0.9), mark(50, 10, confidence=0.5))
    plate = [
        group_images("a", "plate", [image("a", mark(10, 10), pre_annotated=shown)]),
        group_images("b", "plate", [image("b", mark(9, 9, OTHER, 0.7), state="detected")]),
        group_images("c", "plate", [image("c", state="waiting")]),
        group_images("d", "dish", [image("d", mark(1, 1))]),
    ]
    cell, other, dish, _ = count_objects(plate, [CELL, OTHER])
    assert (cell.scan, cell.images, cell.reviewed_images, cell.waiting_images) == ("plate", 3, 1, 1)
    assert (cell.reviewed, cell.pre_annotated, cell.submitted, cell.detected) == (1, 2, 1, 0)
    assert (other.reviewed, other.pre_annotated, other.submitted, other.detected) == (0, 0, 0, 1)
    assert (dish.pre_annotated, dish.submitted) == (0, 0)  # what was drawn there is not known
    assert (dish.scan, dish.reviewed, dish.partial) == ("dish", 1, 1)
