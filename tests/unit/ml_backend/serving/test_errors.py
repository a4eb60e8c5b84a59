"""Errors: the same status for all, a page for a browser, one line of JSON for others."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

CASES = [
    ("get", "/nowhere", None, 404, "Check the address"),
    ("get", "/predict", None, 405, "Label Studio sends data to this address"),
    ("post", "/predict", "[]", 400, "must be a JSON object"),
    ("post", "/setup", '{"project": 1, "schema": "<View>"}', 400, "try again"),
    ("post", "/webhook", '{"project": 77, "action": "x"}', 404, "cytoloop connect"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "text"), CASES)
def test_a_browser_reads_what_to_do_and_others_get_json(
    client: FlaskClient,
    browser: dict[str, str],
    method: str,
    path: str,
    body: str | None,
    status: int,
    text: str,
) -> None:
    page = client.open(path, method=method.upper(), data=body, headers=browser)
    assert page.status_code == status and page.mimetype == "text/html"
    assert text in page.text and "What to do" in page.text
    plain = client.open(path, method=method.upper(), data=body, headers={"Accept": "*/*"})
    assert plain.status_code == status and set(plain.get_json()) == {"error"}


def test_a_fault_of_ours_is_logged_and_tells_no_details(
    app: Flask,
    client: FlaskClient,
    browser: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("secret")

    page, plain = client.get("/broken", headers=browser), client.get("/broken")
    assert page.status_code == plain.status_code == 500
    assert plain.get_json() == {"error": "RuntimeError; the backend's log has the details"}
    assert "log of the backend" in page.text
    assert "secret" not in page.text and "secret" in caplog.text


def test_what_a_message_quotes_is_escaped(client: FlaskClient, browser: dict[str, str]) -> None:
    body = '{"project": "<img src=x>", "action": "x"}'
    page = client.post("/webhook", data=body, headers=browser)
    assert page.status_code == 400
    assert "<img src=x" not in page.text and "&lt;img src=x&gt;" in page.text


def test_a_method_that_is_not_allowed_names_those_that_are(client: FlaskClient) -> None:
    assert "POST" in client.get("/predict").headers["Allow"]
