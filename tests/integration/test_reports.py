"""The report of a project in a real Label Studio."""

from __future__ import annotations

import csv
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tasks.cli.app import app
from tests.conftest import RunningStudio

CONFIG = (files("ml_backend.label_studio.configs") / "phases.xml").read_text(encoding="utf-8")
LABELS = LabelingConfig.parse(CONFIG)
SIDE = 120


def regions(*rows: tuple[float, float, str]) -> list[dict[str, Any]]:
    """Boxes of 20 px, by their upper left corner."""
    boxes = Boxes(
        np.array([[x, y, x + 20, y + 20] for x, y, _ in rows]),
        np.array([label for *_, label in rows]),
        np.full(len(rows), 0.8),
    )
    matching = LABELS.match_classes(LABELS.values)
    return LABELS.write_regions(boxes, width=SIDE, height=SIDE, matching=matching, version="v1")


def test_a_project_is_counted_as_it_was_reviewed(
    label_studio: RunningStudio, tmp_path: Path
) -> None:
    studio, data = label_studio.studio, tmp_path / "data"
    number = studio.create_project("Root tips", CONFIG).id
    Projects(Settings(data_dir=data).projects_database).connect(
        Project(number, label_studio.url, label_studio.account.token, "Root tips", CONFIG)
    )
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    places = {"left": {"scan": "s", "x": 0, "y": 0}, "right": {"scan": "s", "x": 80, "y": 0}}
    names = ["left", "right", "one", "two", "three"]
    for name in names:
        Image.new("L", (SIDE, SIDE), 40).save(folder / f"{name}.png")
    studio.add_media_folder(number, folder)
    address = f"/data/local-files/?d={number}/"
    tasks = studio.import_tasks(
        number,
        [
            {"data": {"image": f"{address}{name}.png", "source": name, **places.get(name, {})}}
            for name in names
        ],
    )
    left, right, first, second, _ = tasks
    # The same cell on both tiles of the scan, and one on the right alone.
    drawn = {
        left: regions((90, 50, "Metaphase")),
        right: regions((10, 50, "Metaphase"), (60, 50, "Interphase")),
        first: regions((10, 10, "Metaphase"), (50, 10, "Metaphase")),
    }
    studio.import_predictions(
        number, CONFIG, [(task, "v1", 0.5, result) for task, result in drawn.items()]
    )
    shown = {task["id"]: task["predictions"] for task in studio.list_tasks(number)}
    corrected = regions((10, 10, "Metaphase"), (50, 10, "Interphase"), (10, 60, "Interphase"))
    studio.submit_annotation(first, corrected, parent_prediction=shown[first][0]["id"])
    studio.submit_annotation(second, regions((30, 30, "Interphase"), (60, 60, "Anaphase")))

    out = tmp_path / "report"
    arguments = ["report", "--project", str(number), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, arguments, obj=data)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["images"], result["reviewed_images"], result["waiting_images"]) == (5, 2, 1)
    counts = {
        (row["scan"], row["label"]): (row["reviewed"], row["pre_annotated"], row["detected"])
        for row in result["counts"]
    }
    assert counts["s", "Metaphase"] == (0, 0, 1) and counts["s", "Interphase"] == (0, 0, 1)
    assert counts["Root tips", "Metaphase"] == (1, 2, 0)
    assert counts["Root tips", "Interphase"] == (3, 0, 0)
    mitotic = {index["scan"]: index for index in result["indices"] if index["kind"] == "mitotic"}
    assert mitotic["Root tips"]["value"] == 0.4 and mitotic["Root tips"]["reviewed"]
    assert mitotic["Root tips"]["low"] < 0.4 < mitotic["Root tips"]["high"]
    assert not mitotic["s"]["reviewed"] and mitotic["s"]["low"] is None
    (version,) = result["corrections"]
    assert version["classes"]["Metaphase"]["relabelled"] == 1
    assert result["started_from_nothing"] == 1 and result["skipped"] == []
    assert (out / "pictures" / "overview-s.png").exists()
    assert (out / "pictures" / "contact-Metaphase-1.jpg").exists()
    with (out / "objects.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["scan"] == "s"]
    assert {(row["image"], row["label"]) for row in rows} == {
        (f"task {left}", "Metaphase"),
        (f"task {right}", "Interphase"),
    }
    assert "Root tips" in (out / "report.html").read_text(encoding="utf-8")
