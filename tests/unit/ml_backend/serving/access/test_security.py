"""Who is let in, and what a browser is told about the answer."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml_backend.label_studio.webhooks import write_basic_authorization
from ml_backend.serving.access.security import CONTENT_SECURITY_POLICY
from ml_backend.system.credentials import read_event_password

EVENT = {"action": "ANNOTATION_CREATED", "project": 1}


@pytest.mark.parametrize("path", ["/", "/scans/", "/metrics", "/nowhere"])
def test_a_stranger_sees_nothing_but_how_to_get_in(
    app: Flask, browser: dict[str, str], path: str
) -> None:
    client = app.test_client()
    answer = client.get(path, headers=browser)
    assert answer.status_code == 303 and "Leaves" not in answer.text
    page = client.get(answer.location, headers=browser)
    assert page.status_code == 200 and "cytoloop page" in page.text and "Leaves" not in page.text
    assert f'name="next" value="{path}"' in page.text
    plain = client.get(path)
    assert plain.status_code == 401 and set(plain.get_json()) == {"error"}
    assert plain.headers["WWW-Authenticate"] == 'Basic realm="cytoloop"'


def test_a_page_may_load_only_what_is_of_this_server(
    client: FlaskClient, browser: dict[str, str]
) -> None:
    for path in ("/", "/nowhere"):
        answer = client.get(path, headers=browser)
        assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert set(answer.headers["Vary"].split(", ")) == {"Accept", "Cookie"}
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "http://www" not in answer.text
        assert all("src=" in script for script in answer.text.split("<script")[1:])


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8080", "https://evil.example", "null"])
def test_a_page_of_another_site_can_change_nothing(client: FlaskClient, origin: str) -> None:
    answer = client.post("/webhook", json=EVENT, headers={"Origin": origin})
    assert answer.status_code == 403 and set(answer.get_json()) == {"error"}


def test_label_studio_and_our_own_pages_may(client: FlaskClient) -> None:
    assert client.post("/webhook", json=EVENT).status_code == 200
    own = {"Origin": "http://localhost"}
    assert client.post("/webhook", json=EVENT, headers=own).status_code == 200
    assert client.get("/", headers={"Origin": "https://evil.example"}).status_code == 200


def test_the_password_of_the_webhook_opens_nothing_but_its_events(app: Flask) -> None:
    settings = app.extensions["cytoloop"].settings
    sent = write_basic_authorization(settings.backend_user, read_event_password(settings))
    headers = {"Authorization": sent}
    client = app.test_client()
    assert client.post("/webhook", json=EVENT, headers=headers).status_code == 200
    training = {**EVENT, "action": "START_TRAINING"}
    assert client.post("/webhook", json=training, headers=headers).status_code == 403
    for method, path in (
        *(("post", "/predict"), ("post", "/setup"), ("get", "/versions"), ("get", "/metrics")),
        *(("get", "/"), ("get", "/projects/1/"), ("post", "/projects/1/train")),
    ):
        assert client.open(path, method=method.upper(), headers=headers).status_code == 401
    assert set(client.get("/health", headers=headers).get_json()) == {"status", "model_class"}
