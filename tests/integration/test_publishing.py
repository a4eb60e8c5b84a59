"""Publishing to a real Label Studio: what is new stands before what is old goes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml_backend.dataset.corrections import started_from
from ml_backend.dataset.split import queue_place
from ml_backend.demo.synthetic_images import field
from ml_backend.label_studio.http import studio_http
from ml_backend.label_studio.image_source import AccessToken, ImageSource
from ml_backend.registry.versions import Registry
from ml_backend.serving import publish
from ml_backend.serving.model_cache import Serving
from ml_backend.serving.preannotation import QUEUED
from ml_backend.serving.publish import Publisher
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tests.conftest import RunningStudio

CONFIGS = Path(__file__).parents[2] / "ml_backend" / "label_studio" / "configs"


@pytest.fixture
def registry(tmp_path: Path, starter_versions: Path) -> Registry:
    """The starter, and the same once more as a version of a project."""
    settings = Settings(data_dir=tmp_path)
    shutil.copytree(starter_versions, settings.versions)
    registry = Registry(settings.versions, settings.champions)
    (starter,) = registry.all()
    files = [path for path in registry.folder(starter.name).iterdir() if path.suffix != ".json"]
    registry.add(replace(starter, name="next-v1", created=1.0), files)
    return registry


def versions(task: dict[str, Any]) -> list[str]:
    return sorted(prediction["model_version"] for prediction in task["predictions"])


def test_a_promotion_reaches_untouched_tasks_alone(
    label_studio: RunningStudio,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    studio = label_studio.studio
    settings = Settings(data_dir=tmp_path)
    config = (CONFIGS / "mitosis.xml").read_text(encoding="utf-8")
    number = studio.create_project("Published", config).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    for seed in range(3):
        pixels, _ = field(np.random.default_rng(seed), size=(347, 260), scale=0.25)
        cv2.imwrite(str(folder / f"{seed}.png"), pixels[..., ::-1])
    (folder / "3.png").write_bytes(b"")
    studio.add_media_folder(number, folder)
    address = f"/data/local-files/?d={number}/"
    tasks = [{"data": {"image": f"{address}{seed}.png"}} for seed in range(4)]
    first, second, third, empty = studio.import_tasks(number, tasks)

    projects = Projects(settings.projects_database)
    url, token = label_studio.url, label_studio.account.token
    project = Project(number, url, token, "Published", config)
    projects.connect(project)
    serving = Serving(settings, registry)
    images = ImageSource(url, token, project=number)
    publisher = Publisher(project, projects, serving, registry, studio, images)
    starter = registry.all()[0].name

    # Nothing is drawn without a champion.
    assert publisher.publish().imported == 0

    registry.promote(str(number), starter, by="test", reason="start")
    done = publisher.publish()
    assert (done.version, done.imported, done.left_out) == (starter, 3, 1)
    assert studio.project(number).model_version == starter
    assert [one["task"] for one in projects.left_out(number)] == [empty]
    again = publisher.publish()
    assert (again.imported, again.deleted) == (0, 0)

    # A promotion: touched tasks keep what their annotator saw.
    (shown,) = studio.tasks(number, ids=[first])
    parent = shown["predictions"][0]["id"]
    studio.submit_annotation(first, shown["predictions"][0]["result"], parent_prediction=parent)
    registry.promote(str(number), "next-v1", by="test", reason="better")
    assert publisher.publish().imported == 2
    assert studio.project(number).model_version == "next-v1"
    now = {task["id"]: task for task in studio.tasks(number)}
    assert versions(now[first]) == [starter]
    # The old one stays for a while: somebody may have it on the screen.
    assert versions(now[second]) == sorted([starter, "next-v1"])

    monkeypatch.setattr(publish, "GRACE", 0.0)
    assert publisher.publish().deleted == 2
    now = {task["id"]: task for task in studio.tasks(number)}
    assert versions(now[second]) == versions(now[third]) == ["next-v1"]
    assert versions(now[first]) == [starter]
    assert now[first]["annotations"][0]["parent_prediction"] == parent

    # A double, of a request that went on when its sender was gone, is dropped as well.
    double = now[second]["predictions"][0]
    studio.import_predictions(number, config, [(second, "next-v1", 0.5, double["result"])])
    assert publisher.publish().deleted == 1
    (task,) = studio.tasks(number, ids=[second])
    assert [one["id"] for one in task["predictions"]] == [double["id"]]

    # What /predict had no time for is imported, touched or not.
    projects.leave_out(number, [(first, QUEUED)])
    assert publisher.publish().imported == 1
    (task,) = studio.tasks(number, ids=[first])
    assert versions(task) == sorted([starter, "next-v1"])
    assert [one["task"] for one in projects.left_out(number)] == [empty]

    # A rollback draws exactly the same again.
    before = now[first]["predictions"][0]
    registry.rollback(str(number), by="test", reason="worse")
    publisher.publish()
    back = {task["id"]: task for task in studio.tasks(number)}
    drawn = {p["model_version"]: p["result"] for p in back[second]["predictions"]}
    assert set(drawn) == {starter} and before["model_version"] == starter


def test_blind_tasks_show_no_boxes_and_held_out_ones_come_anywhere(
    label_studio: RunningStudio, registry: Registry, tmp_path: Path
) -> None:
    """The queue is Label Studio's own: the order in which the view and Label All Tasks go."""
    settings = Settings(data_dir=tmp_path)
    studio = label_studio.studio
    config = (CONFIGS / "mitosis.xml").read_text(encoding="utf-8")
    number = studio.create_project("Blind", config).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    pixels, _ = field(np.random.default_rng(3))
    cv2.imwrite(str(folder / "a.png"), pixels[..., ::-1])
    studio.add_media_folder(number, folder)
    studio.ensure_view(number)
    address = f"/data/local-files/?d={number}/a.png"
    sides: list[dict[str, Any]] = [
        {"split": "train"},
        {"split": "holdout", "sha256": "a"},
        {"split": "holdout", "sha256": "e", "blind": True},
        {"split": "buffer"},
    ]
    ids = studio.import_tasks(number, [{"data": {"image": address, **one}} for one in sides])

    projects = Projects(settings.projects_database)
    url, token = label_studio.url, label_studio.account.token
    project = Project(number, url, token, "Blind", config)
    projects.connect(project)
    starter = registry.all()[0].name
    projects.certainties(number, starter, [i / 100 for i in range(100)])
    registry.promote(str(number), starter, by="test", reason="start")
    images = ImageSource(url, token, project=number)
    publisher = Publisher(project, projects, Serving(settings, registry), registry, studio, images)
    assert publisher.publish().imported == 4

    drawn = {task["id"]: task["predictions"][0] for task in studio.tasks(number)}
    train, held, blind, buffer = (drawn[one] for one in ids)
    assert train["result"] == held["result"] == buffer["result"] != []
    assert blind["result"] == []
    assert train["score"] == buffer["score"] != held["score"]
    for one, data in ((held, sides[1]), (blind, sides[2])):
        place = queue_place(data, address)
        assert place is not None and one["score"] == pytest.approx(0.99 * place)

    # Nothing is added to it, and Label All Tasks hands the tasks out in the order of the scores.
    assert publisher.publish().imported == 0
    with studio_http(url) as http:
        header = {"Authorization": AccessToken(f"{url}/", token, http).header()}
        following = http.get(f"{url}/api/projects/{number}/next/", headers=header).json()["id"]
    assert following == min(drawn, key=lambda one: drawn[one]["score"]) == ids[2]

    # What was not shown is no pre-annotation to measure corrections by.
    studio.submit_annotation(ids[2], train["result"], parent_prediction=blind["id"])
    studio.submit_annotation(ids[1], train["result"], parent_prediction=held["id"])
    tasks = list(studio.tasks(number))
    assert [len(started_from(task)) for task in tasks] == [0, 1, 0, 0]


def test_labels_that_changed_without_a_word_are_drawn_with(
    label_studio: RunningStudio, registry: Registry, tmp_path: Path
) -> None:
    """Nobody has told us: what is drawn has the labels of the project as it is."""
    studio, settings = label_studio.studio, Settings(data_dir=tmp_path)
    config = (CONFIGS / "mitosis.xml").read_text(encoding="utf-8")
    number = studio.create_project("Renamed", config).id
    projects = Projects(settings.projects_database)
    url, token = label_studio.url, label_studio.account.token
    projects.connect(Project(number, url, token, "Renamed", config))
    registry.promote(str(number), registry.all()[0].name, by="test", reason="start")
    renamed = config.replace("Mitotic cell", "Wall")
    studio.line.sdk.projects.update(number, label_config=renamed)
    studio.import_tasks(number, [{"data": {"image": "/data/local-files/?d=none.png"}}])
    publisher = Publisher(
        projects.get(number),
        projects,
        Serving(settings, registry),
        registry,
        studio,
        ImageSource(url, token, project=number),
    )
    assert publisher.publish().version == f"{number}-untrained"
    assert projects.get(number).label_config == studio.project(number).label_config
