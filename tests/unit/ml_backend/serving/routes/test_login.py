"""The way in: links that work once, passwords, and what a session may do."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml_backend.label_studio.people import Person
from ml_backend.serving.app import create_app
from ml_backend.settings import Settings
from ml_backend.state.login_links import make_link_secret
from ml_backend.system.attempt_limit import MOST_FAILURES
from ml_backend.system.credentials import read_backend_password

EVENT = {"action": "ANNOTATION_CREATED", "project": 1}


@pytest.fixture
def stranger(app: Flask, browser: dict[str, str]) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_ACCEPT"] = browser["Accept"]
    return client


def make_link(settings: Settings) -> str:
    secret = make_link_secret(settings.login_links, Person(7, "ada@example.org"))
    return f"/login?link={secret}&next=/scans/"


def read_token(client: FlaskClient) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/").text)
    assert found
    return found[1]


def test_a_link_logs_in_once(app: Flask, stranger: FlaskClient, settings: Settings) -> None:
    link = make_link(settings)
    answer = stranger.get(link)
    assert answer.status_code == 303 and answer.location == "/scans/"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert "ada@example.org" in stranger.get("/").text
    second = app.test_client()
    assert second.get(link).status_code == 403
    assert second.get("/").status_code == 401


def test_the_password_of_the_backend_logs_in(stranger: FlaskClient, settings: Settings) -> None:
    form = {"user": settings.backend_user, "password": read_backend_password(settings)}
    answer = stranger.post("/login", data={**form, "next": "https://evil.example"})
    assert answer.status_code == 303 and answer.location == "/"
    assert stranger.get("/").status_code == 200


def test_guessing_ends_and_says_for_how_long(stranger: FlaskClient, settings: Settings) -> None:
    form = {"user": settings.backend_user, "password": "guess"}
    for _ in range(MOST_FAILURES):
        answer = stranger.post("/login", data=form)
        assert answer.status_code == 403 and "do not belong together" in answer.text
    right = {**form, "password": read_backend_password(settings)}
    assert stranger.post("/login", data=right).status_code == 429
    assert stranger.get(make_link(settings)).status_code == 429
    assert "guess" not in answer.text


def test_a_change_repeats_the_token_of_its_session(
    stranger: FlaskClient, settings: Settings
) -> None:
    stranger.get(make_link(settings))
    assert stranger.post("/webhook", json=EVENT).status_code == 403
    wrong = {"X-CSRF-Token": "guess"}
    assert stranger.post("/webhook", json=EVENT, headers=wrong).status_code == 403
    token = {"X-CSRF-Token": read_token(stranger)}
    assert stranger.post("/webhook", json=EVENT, headers=token).status_code == 200
    assert stranger.post("/logout").status_code == 403
    stranger.post("/logout", data={"csrf_token": token["X-CSRF-Token"]})
    assert stranger.get("/").status_code == 303


def test_a_session_outlives_a_restart_and_no_new_password(
    stranger: FlaskClient, settings: Settings, browser: dict[str, str]
) -> None:
    cookie = stranger.get(make_link(settings)).headers["Set-Cookie"].split(";")[0]
    again = create_app(settings).test_client(use_cookies=False)
    assert again.get("/", headers={**browser, "Cookie": cookie}).status_code == 200
    other = settings.model_copy(update={"backend_password": "another"})
    ended = create_app(other).test_client(use_cookies=False)
    assert ended.get("/", headers={**browser, "Cookie": cookie}).status_code == 303


def test_a_label_studio_that_is_away_is_named(stranger: FlaskClient) -> None:
    answer = stranger.post("/login", data={"user": "ada@example.org", "password": "x"})
    assert answer.status_code == 503 and "does not answer" in answer.text
