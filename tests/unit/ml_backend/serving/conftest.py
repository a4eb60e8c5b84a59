"""A server over a new data folder, asked by someone who names the password."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml_backend.serving.app import create_app
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.credentials import read_backend_password

STOMATA = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Stoma"/></RectangleLabels></View>'
)
# What Chromium sends.
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/png,*/*;q=0.8"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder with project 1, for whose labels there is no detector."""
    settings = Settings(data_dir=tmp_path / "data")
    Projects(settings.projects_database).connect(
        Project(1, "http://127.0.0.1:9/", "token", "<b>Leaves & roots</b>", STOMATA)
    )
    return settings


@pytest.fixture
def app(settings: Settings) -> Flask:
    return create_app(settings)


@pytest.fixture
def password_header(settings: Settings) -> dict[str, str]:
    sent = f"{settings.backend_user}:{read_backend_password(settings)}"
    return {"Authorization": f"Basic {base64.b64encode(sent.encode()).decode()}"}


@pytest.fixture
def client(app: Flask, password_header: dict[str, str]) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = password_header["Authorization"]
    return client


@pytest.fixture
def browser() -> dict[str, str]:
    """The headers of a browser."""
    return dict(BROWSER)
