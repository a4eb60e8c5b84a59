"""The page of projects, and the same for other clients."""

from __future__ import annotations

import re

from flask import Flask
from flask.testing import FlaskClient

from ml_backend.serving.app_state import EXTENSION, AppState


def test_a_browser_sees_the_projects(
    app: Flask, client: FlaskClient, browser: dict[str, str]
) -> None:
    state: AppState = app.extensions[EXTENSION]
    left_out = [(task, "answered HTTP 404 <a.png>") for task in range(100, 130)]
    state.projects.add_left_out(1, [(7, "the file is empty"), *left_out])
    page = client.get("/", headers=browser)
    assert page.status_code == 200 and page.mimetype == "text/html"
    assert "&lt;b&gt;Leaves &amp; roots&lt;/b&gt;" in page.text and "<b>Leaves" not in page.text
    assert "Not trained yet" in page.text
    assert "30 tasks" in page.text and "and 18 more" in page.text
    assert "Export the image again" in page.text and "HTTP 404 &lt;a.png&gt;" in page.text
    assert 'href="http://127.0.0.1:9/projects/1/data?task=7"' in page.text


def test_other_clients_get_what_health_tells(client: FlaskClient) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        answer = client.get("/", headers=headers)
        assert answer.mimetype == "application/json"
        assert answer.get_data() == client.get("/health").get_data()


def test_a_new_data_folder_says_how_to_begin(
    app: Flask, client: FlaskClient, browser: dict[str, str]
) -> None:
    state: AppState = app.extensions[EXTENSION]
    state.projects.forget(1)
    assert "cytoloop connect" in client.get("/", headers=browser).text


def test_all_that_a_page_names_is_there(client: FlaskClient, browser: dict[str, str]) -> None:
    page = client.get("/", headers=browser)
    named = re.findall(r'(?:href|src)="(/[^"]*)"', page.text)
    assert {"/", "/static/cytoloop.css", "/static/icon.svg"} <= set(named)
    for address in named:
        assert client.get(address, headers=browser).status_code == 200, address
