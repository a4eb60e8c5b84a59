"""Two annotators who disagree, in a real Label Studio: both are read, a third is asked first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from ml_backend.cli.app import app as backend_app
from ml_backend.dataset.consensus import collect_submissions
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.registry.versions import Registry
from ml_backend.retraining.annotators import note_annotators
from ml_backend.retraining.collect import open_collector
from ml_backend.retraining.pipeline import Pipeline
from ml_backend.serving.model_cache import ModelCache
from ml_backend.serving.publish import Publisher
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tasks.cli.app import app
from tests.conftest import RunningStudio
from tests.integration.test_studio_client import raw

CONFIG = (files("ml_backend.label_studio.configs") / "images.xml").read_text(encoding="utf-8")


@contextmanager
def sign_up(studio: RunningStudio, name: str) -> Iterator[httpx.Client]:
    """A second user of the same organisation, in a session of their own."""
    with httpx.Client(base_url=studio.url, follow_redirects=True) as person:
        with raw(studio) as http:
            invite = http.get("/api/invite").json()["token"]
        page = f"/user/signup/?token={invite}"
        person.get(page)
        form = {"email": f"{name}@localhost.org", "password": "a long password 1"}
        person.post(page, data=form | {"csrfmiddlewaretoken": person.cookies["csrftoken"]})
        person.headers["X-CSRFToken"] = person.cookies["csrftoken"]
        yield person


def choose(name: str) -> list[dict[str, Any]]:
    value = {"choices": [name]}
    return [{"type": "choices", "from_name": "kind", "to_name": "image", "value": value}]


def submit(person: httpx.Client, task: int, name: str) -> None:
    done = person.post(f"/api/tasks/{task}/annotations", json={"result": choose(name)})
    assert done.status_code == 201, done.text


@pytest.mark.timeout(300)
def test_a_disputed_task_comes_first_and_the_majority_decides(
    label_studio: RunningStudio, tmp_path: Path
) -> None:
    studio = label_studio.studio
    number = studio.create_project("Two annotators", CONFIG).id
    studio.set_annotations(number, 2)
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for image in range(10):
        pixels = rng.normal(60, 12, (64, 64)).clip(0, 255).astype(np.uint8)
        if image % 2:
            cv2.circle(pixels, (32, 32), 14, 200, -1)
        cv2.imwrite(str(folder / f"{image}.png"), pixels)
    studio.add_media_folder(number, folder)
    ids = studio.import_tasks(
        number,
        [
            {"data": {"image": f"/data/local-files/?d={number}/{image}.png", "split": "train"}}
            for image in range(10)
        ],
    )
    settings = Settings(data_dir=tmp_path, annotators="majority", soft_labels=True)
    projects = Projects(settings.projects_database)
    url, token = label_studio.url, label_studio.account.token
    projects.connect(Project(number, url, token, "Two annotators", CONFIG))
    registry = Registry(settings.versions, settings.champions)
    collector = open_collector(settings, projects, registry)
    disputed, single, untouched = ids[3], ids[8], ids[9]

    def settle() -> None:
        """What the worker does with a change, and the publishing that it asks for."""
        project = projects.get(number)
        made = collect_submissions(collector.read_annotated_tasks(project))
        note_annotators(projects, number, made, parse_labels(CONFIG))
        source = ImageSource(url, token, media=settings.media, project=number)
        models = ModelCache(settings, registry)
        Publisher(project, projects, models, registry, studio, source).publish()

    with ExitStack() as stack:
        second, third = (stack.enter_context(sign_up(label_studio, name)) for name in "bc")
        for image, task in enumerate(ids[:8]):
            right = "Chromosomes" if image % 2 else "Others"
            studio.submit_annotation(task, choose(right))
            submit(second, task, "Others" if task == disputed else right)
        studio.submit_annotation(single, choose("Others"))

        # Training goes on: both answers are learned, each by its share.
        snapshot = collector.take_snapshot(number)
        (item,) = (item for item in snapshot.items if item.task == disputed)
        assert dict(item.choice_shares) == {"Chromosomes": 0.5, "Others": 0.5}
        assert not any(other.choice_shares for other in snapshot.items if other is not item)
        pipeline = Pipeline(settings, projects, registry)
        version = pipeline.train(snapshot)
        pipeline.promote(version.name, number, ["chosen by hand"], by="a test")

        settle()
        (row,) = projects.get_agreement(number)["disputed"]
        assert (row["task"], row["tie"]) == (disputed, True)
        (shown,) = studio.list_tasks(number, ids=[disputed])
        assert (shown["overlap"], shown["is_labeled"]) == (3, False)
        assert [held["score"] for held in shown["predictions"]] == [row["score"]]
        scores = {
            t["id"]: t["predictions"][0]["score"]
            for t in studio.list_untouched_tasks(number, full=True)
        }
        assert set(scores) == {untouched} and scores[untouched] > row["score"]
        # Whoever has not answered yet is offered it before what nobody has seen.
        assert third.get(f"/api/projects/{number}/next").json()["id"] == disputed

        arguments = ["report", "agreement", "--project", str(number), "--json"]
        done = CliRunner().invoke(app, arguments, obj=tmp_path)
        assert done.exit_code == 0, done.output
        printed = json.loads(done.stdout)
        assert printed["tasks"] == 8 and printed["agreement"]["units"] == 8
        assert 0 < printed["agreement"]["alpha"] < 1
        assert "b@localhost.org" in printed["agreement"]["annotators"]

        submit(third, disputed, "Chromosomes")
        settle()
        (row,) = projects.get_agreement(number)["disputed"]
        assert not row["tie"] and "Chromosomes (2), Others (1)" in row["reason"]
        (shown,) = studio.list_tasks(number, ids=[disputed])
        assert (shown["overlap"], shown["is_labeled"]) == (3, True)
        (item,) = (item for item in collector.take_snapshot(number).items if item.task == disputed)
        assert item.choices == ("Chromosomes",)
        assert dict(item.choice_shares) == pytest.approx({"Chromosomes": 2 / 3, "Others": 1 / 3})

        # Shown a second time: the same person answers otherwise, and nothing else notices.
        before = collector.take_snapshot(number).name
        asked = ["repeat", "--project", str(number), "--share", "1", "--json"]
        done = CliRunner().invoke(backend_app, asked, obj=tmp_path)
        assert done.exit_code == 0, done.output
        repeats = json.loads(done.stdout)["tasks"]
        assert len(repeats) == 9
        submit(second, repeats[0], "Chromosomes")
        submit(second, repeats[1], "Chromosomes")
        assert collector.take_snapshot(number).name == before
        printed = json.loads(CliRunner().invoke(app, arguments, obj=tmp_path).stdout)
        assert printed["tasks"] == 8
        assert printed["repeats"]["b@localhost.org"] == {"tasks": 2, "f1": None, "same": 0.5}
