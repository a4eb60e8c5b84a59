"""Files of detections, read back by other programs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import globox
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.annotation_formats.detection_table import COLUMNS
from ml_backend.dataset.annotation_formats.formats import FILES
from ml_backend.dataset.annotation_formats.records import Detected, Detection
from tasks.exchange.detection_files import open_writer

cents = st.integers(0, 100_000).map(lambda value: value / 100)


@st.composite
def detections(draw: st.DrawFn) -> Detection:
    x, y = draw(cents), draw(cents)
    width, height = draw(cents) + 0.01, draw(cents) + 0.01
    return Detection(
        x,
        y,
        round(x + width, 2),
        round(y + height, 2),
        draw(st.sampled_from(["Mitotic cell", "Other", "Zelle, „groß“\n"])),
        round(draw(st.floats(0.01, 1)), 4),
        draw(st.integers(0, 20)),
        draw(st.booleans()),
    )


names = st.lists(st.sampled_from([f"scan {n}.tif" for n in range(9)]), unique=True, max_size=4)
found_strategy = names.flatmap(
    lambda sources: st.tuples(
        *(
            st.builds(
                Detected,
                st.just(source),
                st.integers(1, 9000),
                st.integers(1, 9000),
                st.lists(detections(), max_size=4),
            )
            for source in sources
        )
    )
)


def write(out: Path, found: tuple[Detected, ...]) -> Path:
    with open_writer(out) as add:
        for one in found:
            add(one)
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written")


@given(found=found_strategy)
def test_globox_reads_what_was_written(folder: Path, found: tuple[Detected, ...]) -> None:
    read = globox.AnnotationSet.from_coco(write(folder / "out.coco.json", found))
    sizes = {one.image_id: one.image_size for one in read}
    assert sizes == {one.source: (one.width, one.height) for one in found}
    for one in found:
        boxes = [(b.label, b.xmin, b.ymin, b.xmax, b.ymax) for b in read[one.source].boxes]
        truth = [(d.label, d.x1, d.y1, d.x2, d.y2) for d in one.detections]
        assert [box[0] for box in boxes] == [box[0] for box in truth]
        for box, real in zip(boxes, truth, strict=True):
            assert box[1:] == pytest.approx(real[1:], abs=0.011)


@given(found=found_strategy)
def test_create_ml_names_centres(folder: Path, found: tuple[Detected, ...]) -> None:
    read = json.loads(write(folder / "out.createml.json", found).read_text(encoding="utf-8"))
    assert [one["image"] for one in read] == [one.source for one in found]
    for one, entry in zip(found, read, strict=True):
        for d, annotation in zip(one.detections, entry["annotations"], strict=True):
            at = annotation["coordinates"]
            assert annotation["label"] == d.label
            assert annotation["confidence"] == d.confidence
            assert at["x"] - at["width"] / 2 == pytest.approx(d.x1, abs=0.011)
            assert at["x"] + at["width"] / 2 == pytest.approx(d.x2, abs=0.011)
            assert at["y"] - at["height"] / 2 == pytest.approx(d.y1, abs=0.011)
            assert at["y"] + at["height"] / 2 == pytest.approx(d.y2, abs=0.011)


@given(found=found_strategy)
def test_coco_keeps_what_other_programs_do_not_ask_for(
    folder: Path, found: tuple[Detected, ...]
) -> None:
    read = json.loads(write(folder / "out.coco.json", found).read_text(encoding="utf-8"))
    every = [d for each in found for d in each.detections]
    assert [(a["score"], a["plane"], a["partial"]) for a in read["annotations"]] == [
        (d.confidence, d.plane, d.partial) for d in every
    ]
    names = {one["id"]: one["name"] for one in read["categories"]}
    assert [names[a["category_id"]] for a in read["annotations"]] == [d.label for d in every]


@given(found=found_strategy)
def test_json_and_csv_hold_every_field(folder: Path, found: tuple[Detected, ...]) -> None:
    truth = [
        [one.source, *(getattr(d, name) for name in COLUMNS[1:])]
        for one in found
        for d in one.detections
    ]
    read = json.loads(write(folder / "out.json", found).read_text(encoding="utf-8"))
    assert [[record[name] for name in COLUMNS] for record in read] == truth
    with write(folder / "out.csv", found).open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    assert table == [list(COLUMNS), *([str(value) for value in row] for row in truth)]


@given(found=found_strategy)
def test_geojson_holds_closed_rectangles_as_qupath_reads_them(
    folder: Path, found: tuple[Detected, ...]
) -> None:
    read = json.loads(write(folder / "out.geojson", found).read_text(encoding="utf-8"))
    assert read["type"] == "FeatureCollection"
    every = [(one.source, d) for one in found for d in one.detections]
    for feature, (source, d) in zip(read["features"], every, strict=True):
        assert feature["type"] == "Feature" and feature["geometry"]["type"] == "Polygon"
        (ring,) = feature["geometry"]["coordinates"]
        assert len(ring) == 5 and ring[0] == ring[-1]
        xs, ys = zip(*ring, strict=True)
        assert (min(xs), min(ys), max(xs), max(ys)) == (d.x1, d.y1, d.x2, d.y2)
        assert feature["geometry"]["plane"]["z"] == d.plane
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert properties["classification"]["name"] == d.label
        assert all(0 <= part <= 255 for part in properties["classification"]["color"])
        assert properties["measurements"] == {"confidence": d.confidence}
        assert (properties["source"], properties["partial"]) == (source, d.partial)


@pytest.mark.parametrize("ending", [*(form.ending for form in FILES), ".JSON"])
def test_a_run_that_fails_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out{ending}"
    out.write_text("the last run's")
    with pytest.raises(KeyboardInterrupt), open_writer(out) as add:
        add(Detected("a", 1, 1, []))
        raise KeyboardInterrupt
    assert out.read_text() == "the last run's" and len(list(tmp_path.iterdir())) == 1


def test_another_ending_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.geojson, a \.json or a \.csv"):
        open_writer(tmp_path / "out.xlsx")
