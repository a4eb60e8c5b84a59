"""Tasks, annotations and predictions of any shape: a bad one harms itself alone."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.annotation_formats.formats import FILES
from ml_backend.dataset.annotation_formats.ground_truth import fit_to_image
from ml_backend.dataset.annotation_formats.records import READ_ERRORS, to_detected
from ml_backend.dataset.consensus import Policy
from ml_backend.dataset.corrections import (
    ShownRegions,
    compare_regions,
    measure_usefulness,
    read_all_corrections,
)
from ml_backend.dataset.snapshot import (
    FetchedImage,
    load_snapshot,
    save_snapshot,
    take_snapshot,
    to_example,
)
from ml_backend.dataset.split import compute_queue_place, read_group, read_place
from ml_backend.imaging.pixel_size import read_task_pixel_size
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.learners.model_file import ModelCard
from ml_backend.system.numbers import GREATEST, parse_number, parse_size, parse_whole_number
from tasks.exchange.import_project import is_same
from tasks.launcher.import_images import assign_sides
from tasks.reports.project_source import ProjectReader
from tests.hostile.strategies import JSON, mutate

LABELS = LabelingConfig.parse(
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Mitotic cell"/><Label value="Other"/></RectangleLabels>'
    '<Choices name="kind" toName="image"><Choice value="good"/></Choices>'
    '<Choices name="each" toName="image" perRegion="true"><Choice value="whole"/></Choices></View>'
)
REGION = {
    "id": "r1",
    "type": "rectanglelabels",
    "from_name": "label",
    "to_name": "image",
    "original_width": 200,
    "original_height": 100,
    "score": 0.5,
    "origin": "prediction",
    "value": {
        **{"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 5},
        "rectanglelabels": ["Mitotic cell"],
    },
}
CHOICE = {"id": "c", "type": "choices", "from_name": "kind", "value": {"choices": ["good"]}}
EACH = {"id": "r1", "type": "choices", "from_name": "each", "value": {"choices": ["whole"]}}
RESULT = [REGION, CHOICE, EACH]
DATA = {
    **{"image": "/data/a.png", "scan": "s", "source": "a.png", "sha256": "ab", "split": "train"},
    **{"row": 1, "column": 2, "block": 4, "down": 1, "across": 1, "plane": 0, "x": 5, "y": 7},
    **{"pixel_size": 0.25, "sampling_p": 0.5, "sampling_reason": "why", "blind": False, "key": "k"},
}
SIZE = (200, 100)


def make_task(number: int, content: Any) -> dict[str, Any]:
    """What annotators and importers decide, in what only Label Studio's database decides."""
    return {
        "id": number,
        "data": content["data"],
        "annotations": [
            {
                "id": 10 * number + who,
                "completed_by": who,
                "updated_at": f"2026-01-0{who + 1}",
                "result": result,
                "lead_time": content["lead_time"],
                "parent_prediction": number,
            }
            for who, result in enumerate(content["results"])
        ],
        "predictions": [
            {"id": number, "model_version": content["version"], "result": content["shown"]}
        ],
    }


CONTENT = {
    "data": DATA,
    "results": [RESULT, RESULT],
    "lead_time": 3.5,
    "version": "v1",
    "shown": [REGION],
}
# Label Studio's server lets only objects be data, and only lists be results.
CONTENTS = mutate(CONTENT).filter(
    lambda content: (
        isinstance(content["data"], dict)
        and isinstance(content["results"], list)
        and all(isinstance(result, list) for result in content["results"])
        and isinstance(content["shown"], list)
    )
)


@given(JSON, st.sampled_from([(0, 1), (-1e3, 1e3), (1e-6, 1e6)]))
def test_a_number_is_finite_and_in_its_range(value: Any, span: tuple[float, float]) -> None:
    number = parse_number(value, *span)
    assert number is None or span[0] <= number <= span[1]
    whole = parse_whole_number(value)
    assert whole is None or (isinstance(whole, int) and 0 <= whole <= GREATEST)
    size = parse_size(value, value)
    assert size is None or min(size) >= 1


@given(st.floats(-GREATEST, GREATEST), st.integers(0, 10**12))
def test_good_numbers_are_what_they_were(number: float, whole: int) -> None:
    for written in (number, repr(number), np.float64(number)):
        assert parse_number(written) == number
    assert parse_whole_number(whole) == parse_whole_number(str(whole)) == whole
    assert parse_number(True) is parse_number(None) is parse_number([1]) is None


@given(JSON)
def test_a_result_of_any_shape_is_read(result: Any) -> None:
    regions, problems = LABELS.read_regions(result, *SIZE)
    assert not regions and all(isinstance(problem, str) for problem in problems)
    assert LABELS.read_choices(result) is None


@settings(max_examples=300)
@given(mutate(RESULT))
def test_regions_lie_in_the_image_whatever_their_numbers(result: Any) -> None:
    for region in LABELS.read_regions(result, *SIZE)[0]:
        x1, y1, x2, y2 = region.xyxy
        assert 0 <= x1 < x2 <= SIZE[0] and 0 <= y1 < y2 <= SIZE[1]
    compare_regions(RESULT, result, LABELS)
    compare_regions(result, RESULT, LABELS)
    is_same(result, RESULT, LABELS)


@settings(max_examples=300, deadline=None)
@given(CONTENTS, st.sampled_from(get_args(Policy)))
def test_a_snapshot_and_a_report_hold_the_good_task_beside_any_other(
    tmp_path_factory: pytest.TempPathFactory, content: Any, policy: Policy
) -> None:
    bad, good = make_task(1, content), make_task(2, CONTENT)
    shown = {task["id"] * 10: ShownRegions("v1", [REGION]) for task in (bad, good)}

    def fetch(chosen: Any) -> list[FetchedImage]:
        return [FetchedImage("a.png", "hash", SIZE) for _ in chosen]

    alone = take_snapshot(1, [good], LABELS, fetch, 0.2, policy, shown)
    both = take_snapshot(1, [bad, good], LABELS, fetch, 0.2, policy, shown)
    kept = {item.task: item for item in both.items}
    assert kept[2].boxes == alone.items[0].boxes and kept[2].problems[:1] != ("",)
    for item in both.items:
        to_example(item, Path("images"))
        assert item.sampling_p is None or 0 <= item.sampling_p <= 1
        assert item.pixel_size is None or 0 < item.pixel_size < 1e7
    folder = tmp_path_factory.mktemp("snapshots")
    save_snapshot(both, folder)
    loaded = load_snapshot(both.name, folder)
    assert loaded is not None and len(loaded.items) == len(both.items)

    corrections, _ = read_all_corrections([bad, good], shown, LABELS)
    measure_usefulness(corrections)
    reader = ProjectReader([bad, good], LABELS, shown, version="v1", title="t", policy=policy)
    counted = [image for group in reader.read_groups() for image in group.images]
    assert "a.png" in {image.name for image in counted} or len(counted) == 2
    for image in counted:
        assert all(np.isfinite(image.rect)) and 0 < image.weight < 1e7
    assign_sides([], [bad, good], "image", 0.2)


@given(mutate(DATA))
def test_the_data_of_a_task_is_read(data: dict[str, Any]) -> None:
    place = read_place(data)
    if place is not None:
        assert len(place.near_tiles) <= 102**2
    read_group(data, "image")
    queued = compute_queue_place(data, "image")
    assert queued is None or 0 <= queued < 1
    size = read_task_pixel_size(data)
    assert size is None or 0 < size < 1e7


FILES_OF_OURS = {
    "COCO": {
        "images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 100}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}],
        "categories": [{"id": 1, "name": "cell"}],
    },
    "Create ML": [
        {
            "image": "a.png",
            "annotations": [
                {"label": "cell", "coordinates": {"x": 9, "y": 9, "width": 4, "height": 4}}
            ],
        }
    ],
    "GeoJSON": {
        "type": "FeatureCollection",
        "features": [
            {
                "geometry": {"coordinates": [[[1, 2], [3, 4], [5, 6]]], "plane": {"z": 1}},
                "properties": {"source": "a.png", "classification": {"name": "cell"}},
            }
        ],
    },
    "JSON": [
        {
            **{"source": "a.png", "x1": 1, "y1": 2, "x2": 3, "y2": 4},
            **{"label": "cell", "confidence": 0.5, "plane": 0},
        }
    ],
}


@pytest.mark.parametrize("name", FILES_OF_OURS)
@settings(max_examples=200)
@given(data=st.data())
def test_files_of_annotations_raise_only_what_they_say(name: str, data: st.DataObject) -> None:
    (form,) = (form for form in FILES if form.name == name)
    content = data.draw(mutate(FILES_OF_OURS[name]) | JSON)
    if not form.recognizes(content):
        return
    try:
        images = list(form.read(content, lambda fault: None))
    except READ_ERRORS:
        return
    for image in images:
        try:
            truth = fit_to_image(image, SIZE)
        except ValueError:
            continue
        assert all(0 <= row[0] < row[2] <= SIZE[0] for row in truth.rows)
        try:
            to_detected(image)
        except READ_ERRORS:
            continue


@given(mutate(json.loads(ModelCard("yolov5n", ("a",), ("a",), 1.0, 0.5).to_metadata()["cytoloop"])))
def test_a_card_holds_what_it_can_mean_or_is_refused(fields: Any) -> None:
    try:
        card = ModelCard.from_metadata({"cytoloop": json.dumps(fields)}, Path("weights"))
    except ValueError as error:
        assert "weights is not a cytoloop model file" in str(error)
        return
    assert 0 < card.scale < 1e4 and 0 <= card.threshold <= 1 and 0 <= card.nms_iou <= 1
    assert card.input_um is None or card.input_um > 0
    json.dumps(card.to_metadata())


def test_a_table_of_bad_numbers_is_refused() -> None:
    rows = io.StringIO()
    table = csv.writer(rows)
    table.writerow(["source", "x1", "y1", "x2", "y2", "label", "confidence", "plane"])
    table.writerow(["a.png", "9" * 400, 2, 3, 4, "cell", 0.5, 0])
    (form,) = (form for form in FILES if form.name == "CSV")
    (image,) = form.read(form.parse(rows.getvalue()), lambda fault: None)
    with pytest.raises(ValueError, match="not a number in range"):
        to_detected(image)
