"""Connecting a project of a running Label Studio, with the real backend at the other end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.boxes import compute_iou
from ml_backend.label_studio.http import open_studio_client
from ml_backend.label_studio.image_source import AccessToken
from ml_backend.label_studio.session import StudioFault
from ml_backend.label_studio.webhooks import start_training
from ml_backend.serving.connect import connect
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.system.credentials import read_backend_password
from ml_backend.system.processes import Process
from tests.conftest import RunningStudio, free_port

MITOSIS = (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")
BIRDS = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="Bird"/></RectangleLabels></View>"""
POLYGONS = """<View><Image name="image" value="$image"/>
<PolygonLabels name="p" toName="image"><Label value="a"/></PolygonLabels></View>"""


@dataclass
class Backend:
    url: str
    process: Process


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("backend"))


def serve(settings: Settings) -> Backend:
    port = free_port()
    command = [
        sys.executable, "-m", "ml_backend", "--data-dir", str(settings.data_dir),
        "serve", "--port", str(port),
    ]  # fmt: skip
    log = settings.data_dir / "logs" / f"serve-{port}.log"
    process = Process.start(command, log, dict(os.environ), settings.data_dir)
    backend = Backend(f"http://127.0.0.1:{port}", process)

    def answers() -> bool:
        assert process.is_alive(), process.read_last_lines()
        try:
            return httpx.get(f"{backend.url}/health").status_code == 200
        except httpx.TransportError:
            return False

    until(answers, 60)
    return backend


@pytest.fixture(scope="module")
def backend(settings: Settings) -> Iterator[Backend]:
    running = serve(settings)
    yield running
    running.process.stop()


def until(true: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def webhooks(studio: RunningStudio, project: int) -> list[dict[str, Any]]:
    with open_studio_client(studio.url) as http:
        header = AccessToken(f"{studio.url}/", studio.account.token, http).header()
        reply = http.get(
            f"{studio.url}/api/webhooks/",
            params={"project": project},
            headers={"Authorization": header},
        )
    return reply.json()


def notes(settings: Settings, project: int) -> set[str]:
    store = Projects(settings.projects_database)
    found = set()
    for number, note, _, last in store.list_notes():
        if number == project:
            found.add(note)
            store.remove_note(number, note, last)
    return found


def test_a_connected_project_has_one_backend_one_webhook_and_tells_what_happens(
    label_studio: RunningStudio, settings: Settings, backend: Backend
) -> None:
    studio = label_studio.studio
    project = studio.create_project("To be connected", MITOSIS).id
    token = label_studio.account.token
    for _ in range(2):
        connection = connect(settings, label_studio.url, token, project, backend.url)
    assert connection.drawn == ("Mitotic cell",)
    assert connection.not_asked == ("Other",)
    assert connection.without_label == ()
    assert connection.version.startswith("starter-mitosis-")
    assert notes(settings, project) >= {"publish"}

    # A strategy that was chosen stays when the project is connected again, without a word of it.
    projects = Projects(settings.projects_database)
    assert projects.get_strategy(project) is None
    for chosen in ("random", None):
        connect(settings, label_studio.url, token, project, backend.url, chosen)
        assert projects.get_strategy(project) == "random"
    assert notes(settings, project) >= {"publish"}

    (hook,) = webhooks(label_studio, project)
    assert hook["url"] == f"{backend.url}/webhook"
    # Every user can read this header in Label Studio: it opens nothing but events.
    shown = hook["headers"]
    assert shown["Authorization"].startswith("Basic ")
    assert httpx.get(f"{backend.url}/versions", headers=shown).status_code == 401

    folder = label_studio.media / str(project)
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "1.png"), np.ascontiguousarray(generate_field(1)[0][..., ::-1]))
    studio.add_media_folder(project, folder)
    address = f"/data/local-files/?d={project}/1.png"
    tasks = studio.import_tasks(
        project, [{"data": {"image": address}}, {"data": {"image": f"{address}.missing"}}]
    )
    until(lambda: "publish" in notes(settings, project) or "changed" in notes(settings, project))

    # Retrieve predictions in the Data Manager; one image is missing, and stores nothing.
    studio.retrieve_predictions(project, tasks)
    held = {task["id"]: task["predictions"] for task in studio.list_tasks(project)}
    assert [prediction["model_version"] for prediction in held[tasks[0]]] == [connection.version]
    assert held[tasks[1]] == []
    (left_out,) = Projects(settings.projects_database).list_left_out(project)
    assert left_out["task"] == tasks[1] and "404" in left_out["reason"]
    assert studio.set_model_version(project, connection.version)

    notes(settings, project)
    studio.submit_annotation(tasks[0], [])
    until(lambda: "changed" in notes(settings, project))
    start_training(studio.session, project)
    until(lambda: "train" in notes(settings, project))


def test_a_backend_that_moved_is_connected_in_place_of_the_old_one(
    label_studio: RunningStudio, settings: Settings, backend: Backend
) -> None:
    project = label_studio.studio.create_project("Moving", MITOSIS).id
    token = label_studio.account.token
    connect(settings, label_studio.url, token, project, backend.url)
    moved = serve(settings)
    try:
        connect(settings, label_studio.url, token, project, moved.url)
        (hook,) = webhooks(label_studio, project)
        assert hook["url"] == f"{moved.url}/webhook"
    finally:
        moved.process.stop()


def test_a_project_that_no_detector_can_draw_is_connected_untrained(
    label_studio: RunningStudio, settings: Settings, backend: Backend
) -> None:
    project = label_studio.studio.create_project("Birds", BIRDS).id
    connection = connect(
        settings, label_studio.url, label_studio.account.token, project, backend.url
    )
    assert connection.version == f"{project}-untrained"
    assert not connection.trained
    assert "No model knows these labels" in connection.describe()
    (task,) = label_studio.studio.import_tasks(project, [{"data": {"image": "/data/1.png"}}])
    label_studio.studio.retrieve_predictions(project, [task])
    assert next(label_studio.studio.list_tasks(project))["predictions"] == []


def test_what_cannot_be_connected_is_told(
    label_studio: RunningStudio, settings: Settings, backend: Backend
) -> None:
    token = label_studio.account.token
    polygons = label_studio.studio.create_project("Polygons", POLYGONS).id
    with pytest.raises(ValueError, match="neither RectangleLabels"):
        connect(settings, label_studio.url, token, polygons, backend.url)
    project = label_studio.studio.create_project("No backend", MITOSIS).id
    with pytest.raises(StudioFault, match="could not use the ML backend at") as caught:
        connect(settings, label_studio.url, token, project, "http://127.0.0.1:9")
    assert "<" not in str(caught.value) and "\n" not in str(caught.value)
    assert webhooks(label_studio, project) == []


def test_a_wrong_address_leaves_what_is_connected_as_it_is(
    label_studio: RunningStudio, settings: Settings, backend: Backend
) -> None:
    token = label_studio.account.token
    project = label_studio.studio.create_project("Mistyped", MITOSIS).id
    connect(settings, label_studio.url, token, project, backend.url)
    notes(settings, project)
    with pytest.raises(StudioFault, match="could not use the ML backend at"):
        connect(settings, label_studio.url, token, project, "http://127.0.0.1:9")
    (hook,) = webhooks(label_studio, project)
    assert hook["url"] == f"{backend.url}/webhook"
    label_studio.studio.import_tasks(project, [{"data": {"image": "/data/1.png"}}])
    until(lambda: "publish" in notes(settings, project))


def test_a_backend_with_another_password_is_told(
    label_studio: RunningStudio, settings: Settings, backend: Backend
) -> None:
    other = Settings(data_dir=settings.data_dir, backend_password="not this one")
    assert read_backend_password(other) == "not this one"
    project = label_studio.studio.create_project("Wrong password", MITOSIS).id
    with pytest.raises(StudioFault, match="could not use the ML backend"):
        connect(other, label_studio.url, label_studio.account.token, project, backend.url)


def test_a_click_in_label_studio_is_answered_with_a_fitted_box(
    label_studio: RunningStudio, settings: Settings, backend: Backend
) -> None:
    """The editor's own request, through Label Studio to the backend and back."""
    studio = label_studio.studio
    labels = (files("ml_backend.label_studio.configs") / "click.xml").read_text(encoding="utf-8")
    number = studio.create_project("One click", MITOSIS).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    pixels, boxes = generate_field(np.random.default_rng(3))
    cv2.imwrite(str(folder / "a.png"), pixels[..., ::-1])
    studio.add_media_folder(number, folder)
    address = f"/data/local-files/?d={number}/a.png"
    (task,) = studio.import_tasks(number, [{"data": {"image": address}}])
    token = label_studio.account.token
    connect(settings, label_studio.url, token, number, backend.url)
    ml = studio.session.sdk.ml
    (ours,) = ml.list(project=number)
    assert ours.id is not None and not ours.is_interactive

    # Smart tools are switched on when a project whose labels have some is connected.
    studio.session.sdk.projects.update(number, label_config=labels)
    connect(settings, label_studio.url, token, number, backend.url)
    assert ml.get(ours.id).is_interactive

    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = boxes.xyxy[boxes.label == "Mitotic cell"][0].tolist()
    percent = {"x": 50 * (x1 + x2) / width, "y": 50 * (y1 + y2) / height}
    drawn = {
        "original_width": width, "original_height": height, "image_rotation": 0, "id": "Zx1",
        "value": {**percent, "width": 0.3, "keypointlabels": ["Cell"]}, "is_positive": True,
        "from_name": "click", "to_name": "image", "type": "keypointlabels", "origin": "manual",
    }  # fmt: skip
    with open_studio_client(label_studio.url) as http:
        header = AccessToken(f"{label_studio.url}/", token, http).header()
        reply = http.post(
            f"{label_studio.url}/api/ml/{ours.id}/interactive-annotating",
            json={"task": task, "context": {"result": [drawn]}},
            headers={"Authorization": header},
        ).json()
    (region,) = reply["data"]["result"]
    assert region["type"] == "rectanglelabels" and region["from_name"] == "label"
    value = region["value"]
    assert value["rectanglelabels"] == ["Mitotic cell"]
    left, top = value["x"] * width / 100, value["y"] * height / 100
    right = left + value["width"] * width / 100
    bottom = top + value["height"] * height / 100
    true = np.array([[x1, y1, x2, y2]])
    assert compute_iou(np.array([[left, top, right, bottom]]), true)[0, 0] > 0.5
