"""The backend by its own description: requests of every shape are answered as it says."""

from __future__ import annotations

import base64

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings

from ml_backend.serving.app import create_app
from ml_backend.serving.openapi import describe_api
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.credentials import read_backend_password

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Mitotic cell"/></RectangleLabels></View>'
)
CHECKS = ["not_a_server_error", "status_code_conformance", "response_schema_conformance"]
POSTED = [path for path, methods in describe_api()["paths"].items() if "post" in methods]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """A server that knows project 1."""
    options = Settings(data_dir=tmp_path_factory.mktemp("data"))
    Projects(options.projects_database).connect(
        Project(1, "http://127.0.0.1:9/", "token", "Roots", CONFIG)
    )
    return create_app(options)


@pytest.fixture(scope="module")
def headers(app: Flask) -> dict[str, str]:
    state = app.extensions["cytoloop"]
    sent = f"{state.settings.backend_user}:{read_backend_password(state.settings)}"
    return {"Authorization": f"Basic {base64.b64encode(sent.encode()).decode()}"}


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_requests_of_every_shape_are_answered_as_described(
    app: Flask, headers: dict[str, str], path: str, mode: str
) -> None:
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app, headers=headers)
    how = schemathesis.GenerationMode(mode)
    strategy = schema[path]["POST"].as_strategy(generation_mode=how)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def ask(case: schemathesis.Case) -> None:
        response = case.call(headers={**headers, "Content-Type": "application/json"})
        case.validate_response(
            response,
            headers=headers,
            checks=schemathesis.checks.CHECKS.get_by_names(CHECKS),
        )

    ask()


def test_the_description_names_every_route_of_programs_and_no_other(app: Flask) -> None:
    described = set(describe_api()["paths"])
    served = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint.split(".")[0] in ("label_studio", "metrics") and "<" not in rule.rule
    }
    assert described == served


def test_the_description_wants_the_password(app: Flask, headers: dict[str, str]) -> None:
    client = app.test_client()
    assert client.get("/openapi.json").status_code == 401
    answer = client.get("/openapi.json", headers=headers)
    assert answer.status_code == 200 and answer.json == describe_api()
