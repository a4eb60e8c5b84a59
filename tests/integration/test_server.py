"""The backend's routes over a real data folder, a real detector and real image files."""

from __future__ import annotations

import base64
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flask.testing import FlaskClient

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.registry.versions import Registry
from ml_backend.serving.app import create_app
from ml_backend.serving.preannotation import QUEUED
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.credentials import read_backend_password

CONFIGS = Path(__file__).parents[2] / "ml_backend" / "label_studio" / "configs"
MITOSIS = (CONFIGS / "mitosis.xml").read_text(encoding="utf-8")
NO_MATCH = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Stoma"/></RectangleLabels></View>'
)


class Backend:
    """A data folder with two projects, 1 with the mitosis labels and 2 with others."""

    def __init__(self, folder: Path, versions: Path) -> None:
        self.settings = Settings(data_dir=folder)
        self.projects = Projects(self.settings.projects_database)
        self.registry = Registry(self.settings.versions, self.settings.champions)
        shutil.copytree(versions, self.settings.versions)
        (starter,) = self.registry.list_versions()
        self.starter = starter.name
        for number, label_config in ((1, MITOSIS), (2, NO_MATCH)):
            self.projects.connect(
                Project(number, "http://127.0.0.1:1", "token", "A project", label_config)
            )
            self.registry.promote(str(number), self.starter, by="test", reason="start")
        media = self.settings.media / "1"
        media.mkdir(parents=True)
        pixels, _ = generate_field(np.random.default_rng(3))
        cv2.imwrite(str(media / "good.png"), pixels[..., ::-1])
        good = (media / "good.png").read_bytes()
        (media / "empty.png").write_bytes(b"")
        (media / "cut.png").write_bytes(good[: len(good) // 2])
        (media / "text.png").write_text("not an image")

    def client(self) -> FlaskClient:
        client = create_app(self.settings).test_client()
        user = f"{self.settings.backend_user}:{read_backend_password(self.settings)}"
        secret = base64.b64encode(user.encode()).decode()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Basic {secret}"
        return client


@pytest.fixture(scope="module")
def backend(starter_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    return Backend(tmp_path_factory.mktemp("data"), starter_versions)


@pytest.fixture
def client(backend: Backend) -> Iterator[FlaskClient]:
    yield backend.client()


def task(number: int, name: str) -> dict[str, Any]:
    return {"id": number, "data": {"image": f"/data/local-files/?d=1/{name}"}}


def predict(
    client: FlaskClient, tasks: list[dict[str, Any]], project: int = 1, labels: str = MITOSIS
) -> Any:
    body = {"tasks": tasks, "project": f"{project}.1700000000", "label_config": labels}
    return client.post("/predict", json={**body, "params": {"context": None}})


def test_one_version_string_everywhere(client: FlaskClient, backend: Backend) -> None:
    answer = client.post("/setup", json={"project": "1.17", "schema": MITOSIS}).get_json()
    assert answer["model_version"] == backend.starter
    (entry,) = predict(client, [task(1, "good.png")]).get_json()["results"]
    assert entry["model_version"] == backend.starter
    assert backend.starter in client.get("/versions").get_json()["versions"]
    (first, _) = client.get("/health").get_json()["projects"]
    assert first["version"] == backend.starter


@pytest.mark.parametrize("extra", [None, "text", {"a": 1}])
def test_setup_takes_any_extra_parameters(client: FlaskClient, extra: Any) -> None:
    body = {"project": "1.17", "schema": MITOSIS, "extra_params": extra, "hostname": "x"}
    assert client.post("/setup", json=body).status_code == 200


def test_a_project_without_a_matching_model_draws_nothing_and_says_so(
    client: FlaskClient,
) -> None:
    body = {"project": "2.17", "schema": NO_MATCH}
    assert client.post("/setup", json=body).get_json()["model_version"] == "2-untrained"
    assert predict(client, [task(1, "good.png")], 2, NO_MATCH).get_json()["results"] == [[]]
    (_, second) = client.get("/health").get_json()["projects"]
    assert "nothing is pre-annotated" in second["note"]


def test_bad_images_store_nothing_and_harm_no_neighbour(
    client: FlaskClient, backend: Backend
) -> None:
    names = ["empty.png", "good.png", "cut.png", "text.png", "missing.png", "good.png"]
    tasks = [task(number, name) for number, name in enumerate(names, start=10)]
    tasks.append({"id": 16, "data": {"other": "x"}})
    results = predict(client, tasks).get_json()["results"]
    assert len(results) == len(tasks)
    for name, entry in zip([*names, ""], results, strict=True):
        if name == "good.png":
            assert isinstance(entry["result"], list) and 0 <= entry["score"] <= 1
        else:
            assert entry == [], f"{name} must store nothing"
    listed = {
        entry["task"]: entry["reason"] for entry in client.get("/health").get_json()["left_out"]
    }
    assert {10, 12, 13, 14, 16} <= set(listed) and 11 not in listed
    assert all(listed.values())
    backend.projects.remove_left_out(1, list(range(10, 17)))


def test_a_blind_task_stores_nothing_and_is_not_left_out(client: FlaskClient) -> None:
    blind = task(20, "good.png")
    blind["data"] |= {"split": "holdout", "blind": True}
    held, plain = task(21, "good.png"), task(22, "good.png")
    held["data"] |= {"split": "holdout", "blind": False}
    first, second, third = predict(client, [blind, held, plain]).get_json()["results"]
    assert first == []
    # A held-out task is drawn like any other.
    assert second["result"] == third["result"] and 0 <= second["score"] <= 1
    listed = {entry["task"] for entry in client.get("/health").get_json()["left_out"]}
    assert not listed & {20, 21, 22}


def test_what_is_not_done_in_time_is_queued(backend: Backend) -> None:
    hasty = Backend.__new__(Backend)
    hasty.settings = backend.settings.model_copy(update={"predict_seconds": 2.0})
    client = hasty.client()
    predict(client, [task(1, "good.png")])  # the detector is loaded now
    started = time.monotonic()
    tasks = [task(number, "good.png") for number in range(1, 5001)]
    results = predict(client, tasks).get_json()["results"]
    assert time.monotonic() - started < 10
    done = [entry for entry in results if entry]
    assert len(results) == 5000 and 0 < len(done) < 5000
    left_out = backend.projects.list_left_out(1, limit=10_000)
    queued = {entry["task"] for entry in left_out if entry["reason"] == QUEUED}
    assert queued == {n for n, entry in enumerate(results, start=1) if not entry}
    assert (1, "publish") in {
        (project, kind) for project, kind, _, _ in backend.projects.list_notes()
    }
    backend.projects.remove_left_out(1, list(range(1, 5001)))


def test_a_slow_image_server_does_not_hold_the_answer(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYTOLOOP_ALLOWED_IMAGE_HOSTS", "127.0.0.1")
    released = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            released.wait(30)

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as slow:
        threading.Thread(target=slow.serve_forever, daemon=True).start()
        hasty = Backend.__new__(Backend)
        hasty.settings = backend.settings.model_copy(update={"predict_seconds": 2.0})
        client = hasty.client()
        predict(client, [task(1, "good.png")])  # the detector is loaded now
        address = f"http://127.0.0.1:{slow.server_port}/a.png"
        tasks = [{"id": 7, "data": {"image": address}}, task(8, "good.png"), task(9, "good.png")]
        started = time.monotonic()
        first, *others = predict(client, tasks).get_json()["results"]
        assert time.monotonic() - started < 10
        assert first == [] and [one["model_version"] for one in others] == [backend.starter] * 2
        assert QUEUED in {e["reason"] for e in backend.projects.list_left_out(1) if e["task"] == 7}
        released.set()
        slow.shutdown()
    backend.projects.remove_left_out(1, [7])


def test_a_webhook_is_a_note_and_nothing_more(client: FlaskClient, backend: Backend) -> None:
    for project in (1, "1", {"id": 1}):
        body = {"action": "ANNOTATION_CREATED", "project": project}
        assert client.post("/webhook", json=body).status_code == 200
    body = {"action": "START_TRAINING", "project": {"id": 1}}
    assert client.post("/webhook", json=body).get_json()["status"] == "noted"
    kinds = {kind for project, kind, _, _ in backend.projects.list_notes() if project == 1}
    assert {"changed", "train"} <= kinds
    body = {"action": "SOMETHING_NEW", "project": 1}
    assert client.post("/webhook", json=body).get_json()["status"] == "ignored"


def test_a_wrong_password_is_refused_but_health_says_up(backend: Backend) -> None:
    client = create_app(backend.settings).test_client()
    assert client.get("/health").get_json() == {"status": "UP", "model_class": "cytoloop"}
    for method, route in (("post", "/predict"), ("post", "/webhook"), ("get", "/metrics")):
        answer = getattr(client, method)(route)
        assert answer.status_code == 401 and answer.get_json()["error"]


def test_metrics_count_requests_and_tasks(client: FlaskClient) -> None:
    predict(client, [task(1, "good.png"), task(2, "missing.png")])
    text = client.get("/metrics").get_data(as_text=True)
    assert 'cytoloop_tasks_preannotated_total{project="1"} 1.0' in text
    assert 'cytoloop_tasks_left_out_total{project="1"} 1.0' in text


def test_a_promotion_is_served_at_the_next_request(client: FlaskClient, backend: Backend) -> None:
    from dataclasses import replace

    files = backend.registry.get_folder(backend.starter).iterdir()
    version = replace(backend.registry.get(backend.starter), name="1-v1-copy", project="1")
    backend.registry.add(version, [path for path in files if path.name != "version.json"])
    predict(client, [task(1, "good.png")])
    backend.registry.promote("1", "1-v1-copy", by="test", reason="test")
    (entry,) = predict(client, [task(1, "good.png")]).get_json()["results"]
    assert entry["model_version"] == "1-v1-copy"
    backend.registry.roll_back("1", by="test", reason="test")
    (again,) = predict(client, [task(1, "good.png")]).get_json()["results"]
    assert again["model_version"] == backend.starter
