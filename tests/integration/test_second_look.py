"""The second look in a real Label Studio: questions answered by one key change what was marked."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from ml_backend.cli.app import app
from ml_backend.dataset.consensus import collect_submissions
from ml_backend.dataset.snapshot import FetchedImage, to_example, to_item
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.learners.base import Prediction
from ml_backend.promotion.second_look import keep_findings, list_findings
from ml_backend.registry.versions import Registry, Version
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tests.conftest import RunningStudio
from tests.integration.test_studio_client import raw

CONFIG = (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")
LABELS = LabelingConfig.parse(CONFIG)
SIZE = (200, 150)
CELL, OTHER, FAR = (
    (20.0, 20.0, 60.0, 60.0),
    (100.0, 40.0, 140.0, 80.0),
    (150.0, 100.0, 190.0, 140.0),
)


def draw(*rows: tuple[tuple[float, float, float, float], str]) -> list[dict[str, Any]]:
    boxes = Boxes.from_rows((*corners, name) for corners, name in rows)
    matching = LABELS.match_classes(LABELS.values)
    return LABELS.write_regions(boxes, width=200, height=150, matching=matching, version="x")


def run(data: Path, *options: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["second-look", *options, "--json"], obj=data)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.timeout(200)
def test_a_doubt_is_answered_by_one_key_and_the_annotation_follows(
    label_studio: RunningStudio, tmp_path: Path
) -> None:
    studio = label_studio.studio
    number = studio.create_project("Doubtful", CONFIG).id
    mitotic, other = LABELS.values[:2]
    marked = [draw((CELL, mitotic)), draw((CELL, mitotic), (OTHER, other)), draw((CELL, mitotic))]
    seen = [
        [(CELL, mitotic), (FAR, mitotic)],  # overlooked: a person says yes
        [(CELL, mitotic), (OTHER, mitotic)],  # swapped: a person says no, by skipping
        [(CELL, mitotic)],
    ]
    ids = studio.import_tasks(number, [{"data": {"image": f"/data/{n}.png"}} for n in range(3)])
    for task, result in zip(ids, marked, strict=True):
        studio.submit_annotation(task, result)
    settings = Settings(data_dir=tmp_path)
    projects = Projects(settings.projects_database)
    url, token = label_studio.url, label_studio.account.token
    projects.connect(Project(number, url, token, "Doubtful", CONFIG))

    # What a version that was judged leaves.
    images = settings.images / str(number)
    images.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (150, 200, 3)).astype(np.uint8)
    cv2.imwrite(str(images / "a.png"), pixels)
    made = collect_submissions(studio.list_annotated_tasks(number))
    items = [to_item(m, LABELS, FetchedImage("a.png", f"h{m.task}", SIZE), 0.0) for m in made]
    answers = []
    for item, rows, confidence in zip(items, seen, (0.9, 0.7, 0.9), strict=True):
        drawn = Boxes.from_rows((*corners, name) for corners, name in rows)
        boxes = Boxes(drawn.xyxy, drawn.label, np.full(len(drawn), confidence, np.float32))
        answers.append((item, to_example(item, images), Prediction(SIZE, boxes)))
    registry = Registry(settings.versions, settings.champions)
    registry.get_folder("1-v1").mkdir(parents=True)
    registry.record(Version("1-v1", str(number), 1.0))
    keep_findings(registry.get_folder("1-v1"), items, list_findings(answers, 0.5))

    listed = run(tmp_path, "--project", str(number))
    assert [(row["task"], row["issue"]["kind"]) for row in listed["findings"]] == [
        (ids[1], "swapped"),
        (ids[0], "overlooked"),
    ]
    sent = run(tmp_path, "--project", str(number), "--send", "10")
    questions = int(sent["url"].split("/")[-2])
    assert sent["sent"] == 2
    assert run(tmp_path, "--project", str(number), "--send", "10")["sent"] == 0
    with raw(label_studio) as http:
        views = http.get("/api/dm/views", params={"project": number}).json()
        (view,) = (view for view in views if view["data"]["title"] == "Second look")
        rows = http.get("/api/tasks", params={"view": view["id"]}).json()["tasks"]
        assert sorted(row["id"] for row in rows) == ids[:2]
        # The first question is the likeliest error, with the model's answer chosen.
        first = http.get(f"/api/projects/{questions}/next").json()
        assert first["data"]["question"].startswith(f"Task {ids[1]}: marked {other}, the model")
        assert first["data"]["image"].startswith("data:image/jpeg;base64,")
        skip = {"result": [], "was_cancelled": True}
        done = http.post(f"/api/tasks/{first['id']}/annotations", json=skip)
        assert done.status_code == 201, done.text
        second = http.get(f"/api/projects/{questions}/next").json()
        assert second["data"]["question"].startswith(f"Task {ids[0]}: missed here?")
        (chosen,) = second["predictions"]
        submit = {"result": chosen["result"], "parent_prediction": chosen["id"]}
        done = http.post(f"/api/tasks/{second['id']}/annotations", json=submit)
        assert done.status_code == 201, done.text

    applied = run(tmp_path, "--project", str(number), "--apply")
    assert (applied["changed"], applied["confirmed"], applied["total"]) == (1, 1, 0)
    (task,) = studio.list_tasks(number, ids=ids[:1])
    boxes, _ = LABELS.read_boxes(task["annotations"][0]["result"], *SIZE)
    np.testing.assert_allclose(sorted(boxes.xyxy.tolist()), sorted([CELL, FAR]), atol=0.01)
    (task,) = studio.list_tasks(number, ids=ids[1:2])
    assert task["annotations"][0]["result"] == marked[1]
    # Applied once: nothing is left to do.
    again = run(tmp_path, "--project", str(number), "--apply")
    assert (again["changed"], again["confirmed"]) == (0, 0)
