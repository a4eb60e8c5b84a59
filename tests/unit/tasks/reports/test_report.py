"""Reports: what is counted, how sure a share is, what the pictures and the page show."""

from __future__ import annotations

import base64
import csv
import json
import re
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ml_backend.dataset.annotation_formats.formats import FILES
from ml_backend.dataset.annotation_formats.records import Detected, Detection
from ml_backend.dataset.consensus import collect_submissions
from ml_backend.dataset.snapshot import FetchedImage, to_item
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.label_studio.labeling_config import LabelingConfig
from tasks.exchange.detection_files import open_writer, read_detections
from tasks.reports.colours import PALETTE, colours, in_usual_order
from tasks.reports.counts import Box, Field, Look, State, Thing, counts, field
from tasks.reports.detections_source import read_source
from tasks.reports.mitotic_index import indices, interval
from tasks.reports.pictures import AREAS, _font, areas
from tasks.reports.project_source import _Reading
from tasks.reports.report import report
from tasks.sources.scan_source import SourceOptions

CELL, OTHER = "Mitotic cell", "Other"


def thing(x: float, y: float, label: str = CELL, confidence: float | None = None) -> Thing:
    return Thing(label, (x, y, x + 20, y + 20), confidence)


def look(
    name: str,
    *things: Thing,
    left: float = 0,
    state: State = "reviewed",
    shown: tuple[Thing, ...] | None = None,
    plane: int = 0,
) -> Look:
    return Look(name, left, 0, 100, 80, state, things, shown, plane)


# Objects.


def test_an_object_that_two_tiles_show_is_counted_once() -> None:
    whole, piece = thing(85, 30), Thing(CELL, (85, 30, 100, 50), None)
    both = field("scan", "scan", [look("a", piece), look("b", whole, left=80)])
    (found,) = both.things
    assert found.box == whole.box and not found.partial and both.looks[found.look].name == "b"
    apart = field("scan", "scan", [look("a", thing(10, 30)), look("b", whole, left=80)])
    assert len(apart.things) == 2


def test_an_object_on_two_planes_is_counted_once_on_its_best() -> None:
    dim, sharp = thing(40, 30, confidence=0.4), thing(41, 31, confidence=0.9)
    both = field(
        "stack",
        "stack",
        [look("0", dim, state="detected"), look("1", sharp, state="detected", plane=1)],
    )
    (found,) = both.things
    assert (found.plane, found.confidence) == (1, 0.9)


def test_where_a_person_looked_the_detector_has_no_say() -> None:
    tiles = [
        look("a"),  # a person says that nothing is there
        look(
            "b",
            thing(85, 30, confidence=0.9),
            thing(140, 30, confidence=0.8),
            left=80,
            state="detected",
        ),
    ]
    (found,) = field("scan", "scan", tiles).things
    assert found.confidence == 0.8


def test_partial_is_what_touches_the_outer_edge() -> None:
    one = field("a.png", "a.png", [look("a.png", thing(0, 30), thing(40, 30), thing(80, 30))])
    assert [found.partial for found in one.things] == [True, False, True]


def test_counts_tell_reviewed_from_detected() -> None:
    shown = (thing(10, 10, confidence=0.9), thing(50, 10, confidence=0.5))
    plate = [
        field("a", "plate", [look("a", thing(10, 10), shown=shown)]),
        field("b", "plate", [look("b", thing(9, 9, OTHER, 0.7), state="detected")]),
        field("c", "plate", [look("c", state="waiting")]),
        field("d", "dish", [look("d", thing(1, 1))]),
    ]
    cell, other, dish, _ = counts(plate, [CELL, OTHER])
    assert (cell.scan, cell.images, cell.reviewed_images, cell.waiting_images) == ("plate", 3, 1, 1)
    assert (cell.reviewed, cell.pre_annotated, cell.submitted, cell.detected) == (1, 2, 1, 0)
    assert (other.reviewed, other.pre_annotated, other.submitted, other.detected) == (0, 0, 0, 1)
    assert (dish.pre_annotated, dish.submitted) == (0, 0)  # what was drawn there is not known
    assert (dish.scan, dish.reviewed, dish.partial) == ("dish", 1, 1)


# Shares.


def phases(state: State, *images: tuple[int, int, int]) -> list[Field]:
    """Images with so many nuclei in interphase, metaphase and anaphase."""
    labels = ("interphase nuclei", "Metaphase", "AF")
    return [
        field(
            f"{number}",
            "slide",
            [
                look(
                    f"{number}",
                    *(
                        thing(4 + 5 * n, 20 + 9 * kind, label, None if state == "reviewed" else 0.9)
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
    found = {(one.kind, one.of): one for one in indices(phases("reviewed", (6, 1, 1), (7, 5, 0)))}
    assert found["mitotic", "cells"].value == pytest.approx(7 / 20)
    assert found["Metaphase", "cells"].value == pytest.approx(6 / 20)
    assert found["Metaphase", "dividing cells"].value == pytest.approx(6 / 7)
    assert found["Anaphase", "dividing cells"].part == 1
    for one in found.values():
        assert one.interval and one.interval[0] <= one.value <= one.interval[1]


def test_a_count_that_nobody_reviewed_has_no_interval() -> None:
    every = indices([*phases("reviewed", (6, 1, 1)), *phases("detected", (6, 1, 1), (7, 5, 0))])
    assert {one.reviewed for one in every} == {True, False}
    # Nor has a single image: it does not tell how images differ.
    assert all(one.interval is None for one in every)


def test_without_interphase_nuclei_there_is_no_index() -> None:
    assert indices(phases("reviewed", (0, 3, 1))) == []
    assert indices([field("a", "a", [look("a", thing(9, 9), thing(40, 9, OTHER))])]) == []


def test_what_was_sampled_rarely_counts_for_more() -> None:
    crowded, usual = phases("reviewed", (2, 8, 0), (10, 0, 0))
    rare = Look(**{**vars(usual.looks[0]), "weight": 50.0})
    (mitotic, *_) = indices([crowded, field("1", "slide", [rare])])
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
    low, high = interval(part, whole) or (1, 0)
    assert 0 <= low <= part.sum() / whole.sum() <= high <= 1
    more = interval(np.tile(part, 4), np.tile(whole, 4))
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
            low, high = interval(part, whole) or (1, 0)
            held += low <= 0.1 <= high
        assert 0.92 <= held / 400 <= 0.99


# Files of detections.

SOURCES = (
    Detected(
        "a/1.png",
        100,
        80,
        [
            Detection(10, 10, 50, 40, CELL, 0.9, 0, False),
            Detection(60, 0, 99, 9, OTHER, 0.4, 2, True),
        ],
    ),
    Detected("b.tif", 300, 200, [Detection(1.5, 2.25, 9, 9, CELL, 0.5, 0, True)]),
)


@pytest.mark.parametrize("ending", [form.ending for form in FILES])
@pytest.mark.parametrize("by_hand", [False, True])
def test_every_format_is_read_back(tmp_path: Path, ending: str, by_hand: bool) -> None:
    file = tmp_path / f"out{ending}"
    with open_writer(file) as add:
        for one in SOURCES:
            add(Detected(one.source, one.width, one.height, one.detections, by_hand=by_hand))
    again = read_detections(file)
    assert [one.source for one in again] == ["a/1.png", "b.tif"]
    assert {one.by_hand for one in again} == {by_hand}
    for one, other in zip(again, SOURCES, strict=True):
        assert [(d.x1, d.y1, d.x2, d.y2, d.label) for d in one.detections] == [
            (d.x1, d.y1, d.x2, d.y2, d.label) for d in other.detections
        ]
        if not by_hand:
            assert [d.confidence for d in one.detections] == [
                d.confidence for d in other.detections
            ]
    source = read_source(file, None)
    assert [one.scan for one in source.fields] == ["a", "b.tif"]
    assert source.classes == (CELL, OTHER) and source.headline == (CELL,)


@pytest.mark.parametrize("content", ["", "{}", "7", '[{"a": 1}]', "x,y\n1,2\n"])
def test_another_file_is_refused_in_a_line(tmp_path: Path, content: str) -> None:
    for name in ("other.json", "other.csv"):
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match="is not a file that cytoloop detect wrote"):
            read_detections(tmp_path / name)


# Colours.


@given(st.lists(st.sampled_from(["Metaphase", "Other", "Tetrad", "x", "y", "AF", "Chromosomes"])))
def test_each_class_has_a_colour_of_its_own(names: list[str]) -> None:
    classes = in_usual_order(list({canonicalize(name): name for name in names}.values()))
    found = colours(classes)
    assert list(found) == list(classes) and len(set(found.values())) == len(classes)
    assert set(found.values()) <= set(PALETTE)


def test_the_config_has_the_last_word() -> None:
    other, named = (
        '<Label value="Other" background="#123456"/>',
        '<Label value="x" background="r"/>',
    )
    config = f"<View>{other}{named}</View>"
    assert colours(["Others", "x"], config)["Others"] == "#123456"


# Pictures.

box = st.tuples(st.integers(0, 900), st.integers(0, 700)).map(
    lambda at: (float(at[0]), float(at[1]), at[0] + 40.0, at[1] + 30.0)
)


@given(st.lists(box, max_size=40))
def test_enlarged_areas_lie_in_the_scan_and_apart(boxes: list[Box]) -> None:
    found = areas([Thing(CELL, one, None) for one in boxes], 940, 730)
    assert len(found) <= AREAS and bool(found) == bool(boxes)
    for left, top, right, bottom in found:
        assert left >= 0 and top >= 0 and right <= 940 and bottom <= 730
    for n, a in enumerate(found):
        for b in found[n + 1 :]:
            assert (
                a[2] <= b[0] + 1e-6
                or b[2] <= a[0] + 1e-6
                or a[3] <= b[1] + 1e-6
                or b[3] <= a[1] + 1e-6
            )


def test_the_report_is_one_page_with_its_files(tmp_path: Path) -> None:
    """A dark image with one bright square, which is what was detected."""
    pixels = np.zeros((3000, 2000), np.uint8)
    pixels[2300:2340, 1100:1140] = 255
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "slide <1>.png")
    (tmp_path / "images" / "gone.png").write_bytes(b"")
    found = [Detection(1100, 2300, 1140, 2340, CELL, 0.75, 0, False)]
    with open_writer(tmp_path / "found.coco.json") as add:
        add(Detected("slide <1>.png", 2000, 3000, found))
        add(Detected("gone.png", 90, 90, found))
    source = read_source(tmp_path / "found.coco.json", tmp_path / "images")
    out = tmp_path / "report"
    (out / "pictures").mkdir(parents=True)
    (out / "pictures" / "contact-Tetrad-1.jpg").touch()  # of an earlier report
    result = report(source, out, lambda done, total: None)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert [one["source"] for one in result["skipped"]] == ["gone.png"]
    assert result["why_no_index"] == "the labels have no class of interphase nuclei to divide by"

    text = (out / "report.html").read_text(encoding="utf-8")
    assert "slide &lt;1&gt;.png" in text and "slide <1>" not in text
    assert all(one.startswith("data:image/jpeg") for one in re.findall(r'src="([^"]{20})', text))
    assert "http" not in text
    with (out / "objects.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["image"], first["x1"], first["confidence"]) == ("slide <1>.png", "1100.0", "0.75")
    with (out / "counts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["scan"], row["detected"], row["reviewed"]) for row in rows] == [
        ("slide <1>.png", "1", "0"),
        ("gone.png", "1", "0"),
    ]
    assert sorted(p.name for p in (out / "pictures").iterdir()) == [
        "contact-Mitotic cell-1.jpg",
        "overview-slide _1_.png",
    ]
    with Image.open(out / "pictures" / "overview-slide _1_.png") as picture:
        shown = np.asarray(picture)
    scale = 1400 / 3000
    left = (shown.shape[1] - round(2000 * scale)) // 2
    assert shown[round(2320 * scale), left + round(1120 * scale)].min() > 200
    (thumb,) = _sheet(text)
    assert thumb[60:84, 60:84].min() > 200 and thumb[:15].max() < 60


def test_an_object_over_the_seam_of_two_tiles_is_shown_whole(tmp_path: Path) -> None:
    scan = np.random.default_rng(5).integers(0, 90, (300, 600)).astype(np.uint8)
    scan[130:170, 280:320] = 255
    (tmp_path / "tiles").mkdir()
    for column in range(2):
        tile = Image.fromarray(scan[:, 300 * column : 300 * column + 300])
        tile.save(tmp_path / "tiles" / f"scan_r1_c{column + 1}.png")
    with open_writer(tmp_path / "found.coco.json") as add:
        cell = Detection(280, 130, 320, 170, CELL, 0.75, 0, False)
        add(Detected("tiles", 600, 300, [cell], 2))
    source = read_source(
        tmp_path / "found.coco.json", tmp_path / "tiles", SourceOptions(tile_overlap=0)
    )
    assert [one.pixel_size for one in source.fields] == [None]
    told = SourceOptions(tile_overlap=0, pixel_size=0.25)
    (one,) = read_source(tmp_path / "found.coco.json", tmp_path / "tiles", told).fields
    assert one.pixel_size == 0.25
    result = report(source, tmp_path / "report", lambda done, total: None)
    assert result["skipped"] == []
    (shown,) = _sheet((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert shown[60:84, 30:114].min() > 200 and shown[:15].max() < 200


def _sheet(page: str) -> list[np.ndarray]:
    """The pictures of single objects on a page, as grey values."""
    sheet = page.split('class="sheet">')[1]
    found = [base64.b64decode(one) for one in re.findall(r'base64,([^"]+)"', sheet)]
    return [np.asarray(Image.open(BytesIO(one)).convert("L")) for one in found]


def test_pictures_can_write_what_scales_and_names_need() -> None:
    missing = bytes(_font(20).getmask("\u0378"))
    assert all(bytes(_font(20).getmask(letter)) != missing for letter in "aµäéß–…×ΩЖ")


# Several annotators.

PHASES = LabelingConfig.parse(
    (files("ml_backend.label_studio.configs") / "phases.xml").read_text(encoding="utf-8")
)


def regions(*rows: tuple[float, float, str]) -> list[dict[str, Any]]:
    """Boxes of 20 px, by their upper left corner."""
    drawn = Boxes.from_rows((x, y, x + 20, y + 20, label) for x, y, label in rows)
    matching = PHASES.match_classes(PHASES.values)
    return PHASES.write_regions(drawn, width=120, height=120, matching=matching, version="v1")


def test_of_several_annotators_the_policy_decides() -> None:
    """What `cytoloop export` writes and `cytoloop report` counts, of the same annotations."""
    three = [
        regions((10, 10, "Metaphase"), (60, 60, "Anaphase")),
        regions((11, 10, "Metaphase")),
        regions((10, 11, "Metaphase"), (90, 10, "Interphase")),
    ]
    task = {
        "id": 1,
        "data": {"image": "/data/a.png"},
        "annotations": [
            {"id": n, "updated_at": f"2026-01-0{9 - n}", "completed_by": n, "result": result}
            for n, result in enumerate(three)
        ],
    }
    wanted = {"newest": ["Anaphase", "Metaphase"], "majority": ["Metaphase"]}
    wanted["agreement"] = ["Metaphase"]  # the second annotator's
    for policy, labels in wanted.items():
        reading = _Reading([task], PHASES, {}, "", "t", policy)  # type: ignore[arg-type]
        ((one,), agreed) = reading.fields(), reading.agreements
        assert sorted(thing.label for thing in one.things) == labels
        assert all(one.reviewed(thing) and thing.confidence is None for thing in one.things)
        (chosen,) = collect_submissions([task])
        image = FetchedImage("a.png", "hash", (120, 120))
        item = to_item(chosen, PHASES, image, 0.2, policy)  # type: ignore[arg-type]
        assert sorted(row[4] for row in item.boxes) == labels
        assert agreed == [item.agreement] == [pytest.approx((2 / 3 + 2 / 4 + 2 / 3) / 3)]
    # A ground truth counts alone, whatever the policy.
    task["annotations"][0]["ground_truth"] = True  # type: ignore[index]
    reading = _Reading([task], PHASES, {}, "", "t", "majority")
    assert len(reading.fields()[0].things) == 2
