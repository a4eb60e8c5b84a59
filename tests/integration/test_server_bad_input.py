"""Whatever is sent to the backend: a 4xx with one JSON line, or an entry that stores nothing."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from PIL import Image
from werkzeug.test import TestResponse

from ml_backend.registry.starters import name_starter
from ml_backend.registry.versions import Registry
from ml_backend.serving.app import create_app
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.credentials import read_backend_password

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="Mitotic cell"/></RectangleLabels>
</View>"""
NO_RECTANGLES = '<View><Text name="t" value="$text"/></View>'
UNTRAINED, TRAINED = 1, 2
VERSION = name_starter("starter:mitosis")

Post = Callable[..., TestResponse]


def header(user: str, password: str) -> dict[str, str]:
    sent = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {sent}"}


@pytest.fixture(scope="module")
def settings(starter_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A data folder with a project without a detector and one with a detector."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    projects = Projects(settings.projects_database)
    for number in (UNTRAINED, TRAINED):
        # Nothing listens there: images come from the media folder, or not at all.
        projects.connect(Project(number, "http://127.0.0.1:9", "token", "A project", CONFIG))
    shutil.copytree(starter_versions, settings.versions)
    registry = Registry(settings.versions, settings.champions)
    registry.promote(str(TRAINED), VERSION, by="test", reason="test")
    settings.media.mkdir(parents=True, exist_ok=True)
    return settings


@pytest.fixture(scope="module")
def app(settings: Settings) -> Flask:
    return create_app(settings)


@pytest.fixture
def post(app: Flask, settings: Settings) -> Iterator[Post]:
    sent = header(settings.backend_user, read_backend_password(settings))
    with app.test_client() as client:
        yield lambda route, **body: client.post(route, headers=sent, **body)


def assert_refused(answer: TestResponse, *codes: int) -> str:
    assert answer.status_code in (codes or (400,)), answer.text
    assert set(answer.json) == {"error"}
    message = answer.json["error"]
    assert isinstance(message, str) and message and "\n" not in message
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize("route", ["/setup", "/predict", "/webhook"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b'{"project": ',
        b"\xff\xfe\x00",
        b"null",
        b"3",
        b'"text"',
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"project": {}, "tasks": [], "action": "START_TRAINING"}',
        b'{"project": null, "tasks": [], "action": "START_TRAINING"}',
        b'{"project": true, "tasks": [], "action": "START_TRAINING"}',
        b'{"project": [1], "tasks": [], "action": "START_TRAINING"}',
        b'{"project": "", "tasks": [], "action": "START_TRAINING"}',
        b'{"project": "one", "tasks": [], "action": "START_TRAINING"}',
        b'{"project": {"id": {"id": 1}}, "tasks": [], "action": "START_TRAINING"}',
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
def test_a_body_that_says_nothing_is_refused(post: Post, route: str, body: bytes) -> None:
    assert_refused(post(route, data=body))
    assert_refused(post(route, data=body, content_type="application/json"))


@pytest.mark.parametrize("route", ["/setup", "/predict", "/webhook"])
@pytest.mark.parametrize("project", [77, "77.1700000000", {"id": 77}, -1, 10**30, str(10**30)])
def test_an_unknown_project_is_not_found(post: Post, route: str, project: Any) -> None:
    body = {"project": project, "tasks": [], "action": "ANNOTATION_CREATED"}
    message = assert_refused(post(route, json=body), 404)
    assert "connect" in message


@pytest.mark.parametrize("tasks", [None, {}, "tasks", 3, [3], [None], [[]], ["task"]])
def test_tasks_must_be_tasks(post: Post, tasks: Any) -> None:
    assert_refused(post("/predict", json={"project": f"{TRAINED}.17", "tasks": tasks}))


def test_a_task_may_carry_any_id(post: Post) -> None:
    numbers = [None, True, -1, 0, 1.5, float("inf"), 2**63, 10**30, "7", {}]
    tasks = [{"id": number, "data": {}} for number in numbers]
    answer = post("/predict", json={"project": TRAINED, "tasks": tasks})
    assert answer.status_code == 200 and answer.json["results"] == [[]] * len(numbers)


@pytest.mark.parametrize("action", [None, 3, ["START_TRAINING"], {}])
def test_an_action_must_be_named(post: Post, action: Any) -> None:
    assert_refused(post("/webhook", json={"project": {"id": UNTRAINED}, "action": action}))


def test_an_unknown_action_is_ignored(post: Post) -> None:
    answer = post("/webhook", json={"project": {"id": UNTRAINED}, "action": "MOON_IS_FULL"})
    assert answer.status_code == 200 and answer.json["status"] == "ignored"


@pytest.mark.parametrize("extra", [None, "text", {"a": {"b": 1}}, [1], 3])
def test_setup_takes_any_extra_params(post: Post, extra: Any) -> None:
    body = {"project": f"{TRAINED}.17", "schema": CONFIG, "extra_params": extra}
    answer = post("/setup", json=body)
    assert answer.status_code == 200 and answer.json == {"model_version": VERSION}


@pytest.mark.parametrize("schema", ["<View>", "no xml", "<a>&b;</a>"])
def test_a_broken_labeling_config_is_refused_and_not_kept(post: Post, schema: str) -> None:
    for project in (TRAINED, UNTRAINED):
        assert_refused(post("/setup", json={"project": str(project), "schema": schema}))
    answer = post("/setup", json={"project": str(TRAINED)})
    assert answer.status_code == 200 and answer.json == {"model_version": VERSION}


@pytest.mark.parametrize("schema", [None, "", 3, {}, ["<View/>"]])
def test_setup_without_a_config_keeps_the_one_it_has(post: Post, schema: Any) -> None:
    answer = post("/setup", json={"project": str(TRAINED), "schema": schema})
    assert answer.status_code == 200 and answer.json == {"model_version": VERSION}


def test_a_config_without_rectangles_leaves_the_project_untrained(post: Post) -> None:
    answer = post("/setup", json={"project": str(TRAINED), "schema": NO_RECTANGLES})
    assert answer.json == {"model_version": f"{TRAINED}-untrained"}
    answer = post("/predict", json={"project": str(TRAINED), "tasks": [{"id": 1, "data": {}}]})
    assert answer.json["results"] == [[]]
    answer = post("/setup", json={"project": str(TRAINED), "schema": CONFIG})
    assert answer.json == {"model_version": VERSION}


def test_an_untrained_project_stores_nothing(post: Post) -> None:
    tasks = [{"id": 1, "data": {"image": "/data/upload/1.png"}}, {}]
    answer = post("/predict", json={"project": str(UNTRAINED), "tasks": tasks})
    assert answer.status_code == 200 and answer.json["results"] == [[], []]


def png(**options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(file, "PNG", **options)
    return file.getvalue()


BAD_FILES = {
    "empty.png": b"",
    "text.png": b"this is not an image",
    "page.png": b"<html>404</html>",
    "cut.png": png()[:60],
    "nul.png": b"\0" * 4096,
}
BAD_DATA: list[Any] = [
    {},
    None,
    [],
    ["image"],
    "image",
    3,
    {"image": None},
    {"image": 3},
    {"image": ["/a.png"]},
    {"image": {"url": "/a.png"}},
    {"image": ""},
    {"image": " "},
    {"image": "/data/local-files/?d=missing.png"},
    {"image": "/data/local-files/?d=../../../etc/passwd"},
    {"image": "/data/local-files/?d=%00"},
    {"image": "http://[::1"},
    {"image": "http://127.0.0.1:9/a.png"},
    {"image": "file:///etc/passwd"},
    {"image": "data:image/png;base64,####"},
    {"image": "\x00"},
    {"image": "é\ud800.png"},
    {"photo": "/data/local-files/?d=good.png"},
    *({"image": f"/data/local-files/?d={name}"} for name in BAD_FILES),
]


def test_a_bad_task_stores_nothing_is_listed_and_harms_no_other(
    post: Post, app: Flask, settings: Settings
) -> None:
    (settings.media / "good.png").write_bytes(png())
    for name, content in BAD_FILES.items():
        (settings.media / name).write_bytes(content)
    good = {"image": "/data/local-files/?d=good.png"}
    tasks = [{"id": n, "data": data} for n, data in enumerate([good, *BAD_DATA, good], 100)]
    tasks.append({"data": good})  # without an id
    tasks.append({"id": "x"})  # without data
    answer = post("/predict", json={"project": f"{TRAINED}.17", "tasks": tasks})
    assert answer.status_code == 200, answer.text
    results = answer.json["results"]
    assert len(results) == len(tasks)
    for position in (0, len(BAD_DATA) + 1, len(BAD_DATA) + 2):
        assert results[position]["model_version"] == VERSION
        assert 0 <= results[position]["score"] <= 1
    bad = results[1 : len(BAD_DATA) + 1]
    assert bad == [[]] * len(BAD_DATA)
    assert results[-1] == []

    sent = header(settings.backend_user, read_backend_password(settings))
    health = app.test_client().get("/health", headers=sent).json
    listed = {entry["task"]: entry["reason"] for entry in health["left_out"]}
    assert set(range(101, 101 + len(BAD_DATA))) <= set(listed)
    assert not {100, 101 + len(BAD_DATA)} & set(listed)
    assert all(reason and "Traceback" not in reason for reason in listed.values())
    assert not any("root:" in reason for reason in listed.values())


@pytest.mark.parametrize(
    "sent",
    [
        {},
        header("cytoloop", "wrong"),
        header("other", ""),
        header("é", "ü"),
        {"Authorization": "Basic"},
        {"Authorization": "Basic ###"},
        {"Authorization": "Bearer x"},
    ],
)
@pytest.mark.parametrize("route", ["/setup", "/predict", "/webhook"])
def test_a_wrong_password_is_refused(app: Flask, route: str, sent: dict[str, str]) -> None:
    assert_refused(app.test_client().post(route, headers=sent, json={}), 401)


def test_health_tells_strangers_only_that_it_is_up(app: Flask) -> None:
    answer = app.test_client().get("/health", headers=header("é", "ü"))
    assert answer.status_code == 200 and set(answer.json) == {"status", "model_class"}


def test_unknown_routes_and_methods_are_answered_in_json(app: Flask, settings: Settings) -> None:
    sent = header(settings.backend_user, read_backend_password(settings))
    client = app.test_client()
    assert_refused(client.get("/nowhere", headers=sent), 404)
    assert_refused(client.get("/predict", headers=sent), 405)
