"""A classifier from the command line, and a scan in a real project of choices."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ml_backend.registry.versions import Registry
from ml_backend.retraining.labelled_folder import OtherTask, evaluate_folder, train_folder
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tasks.cli.app import app
from tests.conftest import RunningStudio
from tests.shades import paint

CONFIG = (files("ml_backend.label_studio.configs") / "images.xml").read_text(encoding="utf-8")


def test_tiles_come_named_are_corrected_and_counted(
    label_studio: RunningStudio, starter_versions: Path, tmp_path: Path
) -> None:
    def run(*arguments: str) -> dict[str, Any]:
        done = CliRunner().invoke(app, [*arguments, "--json"], obj=settings.data_dir)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    settings = Settings(data_dir=label_studio.media.parent)
    shutil.copytree(starter_versions, settings.versions, dirs_exist_ok=True)
    registry = Registry(settings.versions, settings.champions)
    for number in range(8):
        paint(tmp_path / "learned" / "Chromosomes" / f"{number}.png", 200 + number)
        paint(tmp_path / "learned" / "Others" / f"{number}.png", 30 + number)
    version, _ = train_folder(settings, registry, tmp_path / "learned")
    for number in range(6):
        paint(tmp_path / "slide" / f"tile{number}.png", 210 if number < 4 else 25)

    # Without Label Studio.
    source = str(tmp_path / "slide")
    named = run("detect", source, "--model", version.name, "--out", str(tmp_path / "found.csv"))
    assert named["classes"] == {"Chromosomes": 4, "Others": 2}
    laid = run("sort", source, "--model", version.name, "--out", str(tmp_path / "sorted"))
    assert laid["folders"] == {"Chromosomes": 4, "Others": 2}

    # Beside a detector, which finds nothing in even images: the difference is all that it misses.
    figures, _ = evaluate_folder(
        registry,
        tmp_path / "learned",
        version.name,
        lambda done, total: None,
        beside="starter:mitosis",
    )
    beside = figures["beside"]
    assert beside["accuracy"] == 0.5 and beside["trained_on"] == 0
    assert beside["difference"]["accuracy"] == 0.5 - figures["accuracy"] == -0.5
    with pytest.raises(OtherTask, match="no classifier of whole images"):
        evaluate_folder(
            registry,
            tmp_path / "learned",
            "starter:mitosis",
            lambda done, total: None,
            beside="starter:mitosis",
        )

    # Into a project.
    studio = label_studio.studio
    project = studio.create_project("Tiles", CONFIG).id
    url, token = label_studio.url, label_studio.account.token
    Projects(settings.projects_database).connect(Project(project, url, token, "Tiles", CONFIG))
    registry.promote(str(project), version.name, by="test", reason="start")
    for sent, known in ((4, 0), (0, 4)):
        summary = run("scan", source, "--project", str(project), "--send", "found")
        assert (summary["sent"], summary["known"]) == (sent, known)
        assert summary["classes"] == {"Chromosomes": 4, "Others": 2}
    refused = CliRunner().invoke(
        app, ["scan", source, "--project", str(project), "--skip-empty"], obj=settings.data_dir
    )
    assert "--skip-empty: only for detectors" in str(refused.exception)
    tasks = list(studio.list_tasks(project))
    for task in tasks:
        (prediction,) = task["predictions"]
        (item,) = prediction["result"]
        assert item["value"]["choices"] == ["Chromosomes"] and 0.5 < item["score"] <= 1
        assert prediction["model_version"] == version.name and 0 < prediction["score"] <= 1
        assert task["data"]["scan"] == "slide"

    # One is corrected, one confirmed.
    for task, name in ((tasks[0], "Others"), (tasks[1], "Chromosomes")):
        (shown,) = task["predictions"]
        result = [{**shown["result"][0], "value": {"choices": [name]}}]
        studio.submit_annotation(task["id"], result, parent_prediction=shown["id"])
    report = run("report", "--project", str(project), "--out", str(tmp_path / "report"))
    counts = {row["label"]: (row["reviewed"], row["detected"]) for row in report["counts"]}
    assert counts == {"Chromosomes": (1, 2), "Others": (1, 0)}
    (share,) = [s for s in report["shares"] if s["reviewed"] and s["label"] == "Others"]
    assert share["value"] == 0.5 and share["low"] < 0.5 < share["high"]
    (changes,) = report["corrections"]
    assert changes["classes"]["Chromosomes"]["relabelled"] == 1
    assert (tmp_path / "report" / "pictures" / "contact-Chromosomes-1.jpg").exists()
