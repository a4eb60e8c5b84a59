"""What a candidate goes on from: the champion, where it learned the project from the same base."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ml_backend.registry.versions import Registry, Version
from ml_backend.retraining.pipeline import Pipeline
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects

CLASSES = ("Mitotic cell", "Other")
CONFIG = (
    Path(__file__).parents[4] / "ml_backend" / "label_studio" / "configs" / "mitosis.xml"
).read_text("utf-8")
STARTER = "starter:mitosis"
PROJECT = Project(1, "http://127.0.0.1:1", "", "Earlier", CONFIG)


@pytest.fixture
def pipeline(starter_versions: Path, tmp_path: Path) -> Pipeline:
    settings = Settings(data_dir=tmp_path)
    shutil.copytree(starter_versions, settings.versions)
    registry = Registry(settings.versions, settings.champions)
    return Pipeline(settings, Projects(settings.projects_database), registry)


def promote(pipeline: Pipeline, version: Version) -> None:
    """Make a copy of the starter the champion, under another name and with another past."""
    registry = pipeline.registry
    folder = registry.get_folder(registry.list_versions()[0].name)
    registry.add(version, [path for path in folder.iterdir() if path.name != "version.json"])
    registry.promote("1", version.name, by="test", reason="")


def test_the_champion_of_the_project_is_gone_on_from(pipeline: Pipeline) -> None:
    assert pipeline.choose_base(PROJECT) == STARTER
    assert pipeline.choose_earlier(PROJECT, STARTER, CLASSES) == ""
    promote(pipeline, Version("1-v1", "1", 1.0, STARTER))
    assert pipeline.choose_base(PROJECT) == STARTER
    assert pipeline.choose_earlier(PROJECT, STARTER, CLASSES) == "1-v1"
    assert pipeline.choose_earlier(PROJECT, STARTER, ["mitotic  CELL"]) == "1-v1"
    # A label that neither was taught.
    assert pipeline.choose_earlier(PROJECT, STARTER, (*CLASSES, "Tetrad")) == ""
    assert pipeline.choose_earlier(PROJECT, "", CLASSES) == ""


@pytest.mark.parametrize(
    "champion",
    [
        Version("2-v1", "2", 1.0, STARTER),
        Version("1-v1", "1", 1.0, "2-v1"),
        Version("d", "dataset", 1.0, STARTER),
    ],
    ids=["another project's", "from another base", "from a folder"],
)
def test_any_other_champion_is_not(pipeline: Pipeline, champion: Version) -> None:
    promote(pipeline, champion)
    assert pipeline.choose_earlier(PROJECT, STARTER, CLASSES) == ""
