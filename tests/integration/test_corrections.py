"""What annotators changed, read from a real Label Studio and printed by the command."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tasks.cli.app import app
from tests.conftest import RunningStudio
from tests.unit.ml_backend.dataset.test_corrections import OTHER, region

CONFIG = (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")


@pytest.fixture
def number(label_studio: RunningStudio, tmp_path: Path) -> int:
    """A connected project without images: regions are compared, not pixels."""
    number = label_studio.studio.create_project("Corrections", CONFIG).id
    url, token = label_studio.url, label_studio.account.token
    settings = Settings(data_dir=tmp_path)
    projects = Projects(settings.projects_database)
    projects.connect(Project(number, url, token, "Corrections", CONFIG))
    return number


def report(number: int, data: Path, *options: str) -> str:
    arguments = ["report", "corrections", "--project", str(number), *options]
    done = CliRunner().invoke(app, arguments, obj=data, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_report_counts_each_edit_and_outlives_what_was_shown(
    label_studio: RunningStudio, number: int, tmp_path: Path
) -> None:
    studio = label_studio.studio
    assert "no corrections yet" in report(number, tmp_path)

    addresses = [{"data": {"image": f"/data/none-{i}.png"}} for i in range(4)]
    first, second, third, fourth = studio.import_tasks(number, addresses)
    shown = [
        region(name, 20.0 * place, 10.0, score=0.5, image_rotation=0)
        for place, name in enumerate(["left", "drag", "name", "gone"])
    ]
    studio.import_predictions(number, CONFIG, [(task, "v1", 0.5, shown) for task in (first, third)])
    studio.import_predictions(number, CONFIG, [(second, "v2", 0.5, shown)])
    parents = {
        task["id"]: task["predictions"][0]["id"]
        for task in studio.list_tasks(number)
        if task["predictions"]
    }

    left, drag, name, _ = result = copy.deepcopy(shown)
    drag["value"]["x"] += 4
    name["value"]["rectanglelabels"] = [OTHER]
    corrected = [left, drag, name, region("new", 80.0, 80.0, origin="manual", image_rotation=0)]
    studio.submit_annotation(first, corrected, parent_prediction=parents[first], seconds=30)
    studio.submit_annotation(second, shown, parent_prediction=parents[second], seconds=4)
    studio.submit_annotation(fourth, result)

    printed: dict[str, Any] = json.loads(report(number, tmp_path, "--json"))
    before, after = printed["versions"]
    assert (before["version"], before["tasks"], before["accepted"]) == ("v1", 1, 0)
    assert (before["edits_per_image"], before["seconds_per_image"]) == (4, 30)
    assert before["classes"] == {
        "Mitotic cell": {"kept": 1, "moved": 1, "relabelled": 1, "added": 1, "deleted": 1}
    }
    assert (after["version"], after["accepted"], after["edits_per_image"]) == ("v2", 1, 0)
    assert printed["started_from_nothing"] == 1

    # Somebody deletes the predictions: the server forgets what was shown, we do not.
    studio.delete_predictions(parents.values())
    (task,) = studio.list_tasks(number, ids=[first])
    assert task["predictions"] == [] and task["annotations"][0]["parent_prediction"] is None
    assert json.loads(report(number, tmp_path, "--json")) == printed
    assert "relabelled" in report(number, tmp_path)
