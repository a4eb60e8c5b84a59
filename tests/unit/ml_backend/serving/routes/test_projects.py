"""The pages of a project, and what may be started from them."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml_backend.label_studio.people import Person
from ml_backend.registry.versions import Registry
from ml_backend.serving.app_state import EXTENSION, AppState
from ml_backend.settings import Settings
from ml_backend.state.login_links import make_link_secret
from ml_backend.state.projects import Projects
from ml_backend.state.questions import Questions

PAGES = ["", "now", "versions/", "confirm/train", "cells/"]


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_of_an_empty_project_say_what_to_do(
    client: FlaskClient, browser: dict[str, str], page: str
) -> None:
    answer = client.get(f"/projects/1/{page}", headers=browser)
    assert answer.status_code == 200 and answer.mimetype == "text/html"
    assert "style=" not in answer.text, "the security policy forbids it"


@pytest.mark.parametrize(
    "page",
    [
        "/projects/77/", "/projects/1/versions/none", "/projects/1/confirm/rollback",
        "/projects/1/confirm/promote?version=none", "/projects/1/cells/1.jpg",
        "/projects/99999999999999999999/",
    ],
)  # fmt: skip
def test_what_is_not_there_is_404(client: FlaskClient, browser: dict[str, str], page: str) -> None:
    answer = client.get(page, headers=browser)
    assert answer.status_code == 404 and "What to do" in answer.text


def test_a_training_is_asked_for_by_somebody(app: Flask, client: FlaskClient) -> None:
    state: AppState = app.extensions[EXTENSION]
    assert client.post("/projects/1/train").status_code == 303
    assert [note for _, note, *_ in state.projects.list_notes()] == ["train"]
    ((what, who, _),) = state.projects.list_requests(1)
    assert (what, who) == ("training asked for", state.settings.backend_user)
    assert "training asked for" in client.get("/projects/1/versions/").text


@pytest.fixture
def starter(app: Flask, settings: Settings, starter_versions: Path) -> str:
    shutil.copytree(starter_versions, settings.versions, dirs_exist_ok=True)
    (version,) = Registry(settings.versions, settings.champions).list_versions()
    return version.name


def test_a_version_without_a_label_here_is_not_promoted(
    app: Flask, client: FlaskClient, starter: str
) -> None:
    state: AppState = app.extensions[EXTENSION]
    answer = client.post("/projects/1/promote", data={"version": starter}, follow_redirects=True)
    assert "no label for" in answer.text and state.registry.get_champion("1") is None


def test_promotion_and_rollback_name_who_did_it(
    app: Flask, client: FlaskClient, starter: str
) -> None:
    state: AppState = app.extensions[EXTENSION]
    labels = state.projects.get(1).label_config.replace("Stoma", "Mitotic cell")
    state.projects.update_labels(1, labels)
    other = state.settings.versions / "other"
    shutil.copytree(state.settings.versions / starter, other)
    record = (other / "version.json").read_text().replace(starter, "other")
    (other / "version.json").write_text(record)
    for name in (starter, "other"):
        client.post("/projects/1/promote", data={"version": name})
    assert state.registry.get_champion("1") == "other"
    asked = client.get("/projects/1/confirm/rollback").text
    assert starter in asked and "other" in asked
    client.post("/projects/1/rollback", data={"of": "other"})
    assert state.registry.get_champion("1") == starter
    assert {change.by for change in state.registry.list_changes("1")} == {"cytoloop"}
    late = client.post("/projects/1/rollback", data={"of": "other"}, follow_redirects=True)
    assert "Nothing was changed" in late.text


def test_a_version_without_weights_says_so_and_is_not_promoted(
    app: Flask, client: FlaskClient, browser: dict[str, str], starter: str
) -> None:
    state: AppState = app.extensions[EXTENSION]
    state.registry.record(replace(state.registry.get(starter), project="1"))
    state.registry.remove_weights(starter)
    assert "weights removed" in client.get("/projects/1/versions/").text
    assert "Promote" not in client.get(f"/projects/1/versions/{starter}").text
    asked = client.get(f"/projects/1/confirm/promote?version={starter}", headers=browser)
    assert asked.status_code == 409 and "removed by cytoloop tidy" in asked.text
    answer = client.post("/projects/1/promote", data={"version": starter}, follow_redirects=True)
    assert "Nothing was changed" in answer.text and state.registry.get_champion("1") is None


@pytest.mark.parametrize(
    "body",
    [
        None, [], {}, {"kind": "confirm"}, {"kind": "burn", "numbers": [1]},
        {"kind": "confirm", "numbers": ["1"]}, {"kind": "confirm", "numbers": [1] * 3000},
        {"kind": "rename", "numbers": [1], "label": "Nothing"},
    ],
)  # fmt: skip
def test_what_is_no_decision_is_refused(
    app: Flask, settings: Settings, browser: dict[str, str], body: object
) -> None:
    client = app.test_client()
    secret = make_link_secret(settings.login_links, Person(7, "ada@example.org"))
    page = client.get(f"/login?link={secret}", headers=browser, follow_redirects=True)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token
    headers = {"X-CSRF-Token": token[1]}
    answer = client.post("/projects/1/cells/decisions", json=body, headers=headers)
    assert answer.status_code == 400 and set(answer.get_json()) == {"error"}


def test_only_a_person_of_label_studio_decides(client: FlaskClient) -> None:
    decision = {"kind": "confirm", "numbers": [1]}
    for address in ("decisions", "undo"):
        answer = client.post(f"/projects/1/cells/{address}", json=decision)
        assert answer.status_code == 403 and "Log in" in answer.get_json()["error"]


def test_the_second_look_is_a_click_away(
    client: FlaskClient, browser: dict[str, str], settings: Settings
) -> None:
    page = client.get("/projects/1/", headers=browser).text
    assert "cytoloop second-look --project 1 --send 50" in page
    Questions(project=12).write(settings.questions, 1)
    page = client.get("/projects/1/", headers=browser).text
    assert re.search(r'href="http[^"]+/projects/12/data"', page) and "--apply" in page


def test_what_a_project_that_counts_holds_is_shown(
    client: FlaskClient, browser: dict[str, str], settings: Settings
) -> None:
    record = {
        **{"what": "Stoma", "kind": "count", "sample": "", "value": 41.6, "counted": 12.0},
        **{"interval": [30.2, 55.9], "holds": "whenever you stop", "naive": 20, "method": "drawn"},
        **{"classical_interval": [33.0, 50.0], "reviewed": 60, "total": 400},
    }
    unknown = {**record, "what": "index", "kind": "share", "value": None, "interval": None}
    projects = Projects(settings.projects_database)
    page = client.get("/projects/1/", headers=browser).text
    assert "How many there are" not in page
    advice = "Stop: the next 50 would bring under a cell."
    projects.keep_estimate(1, {"estimates": [record, unknown], "advice": advice})
    page = client.get("/projects/1/", headers=browser).text
    assert "How many there are" in page and "Of all 400 tiles, from the 60" in page
    assert "42" in page and "30 to 56" in page and "whenever you stop" in page
