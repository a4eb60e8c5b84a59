"""The overviews of a project, over tasks as Label Studio gives them."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml_backend.serving.app import create_app
from ml_backend.serving.app_state import EXTENSION
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.retry import wait_until
from tasks.reports.counts import MarkedObject, ReportImage, group_images
from tasks.reports.overviews_page import ReadProject, build_page
from tasks.reports.source import ReportSource

LABELS = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Mitotic cell"/></RectangleLabels></View>'
)


def make_source() -> ReportSource:
    """A scan of two tiles, the left one reviewed, with a cell each."""
    left = MarkedObject("A", (5, 5, 25, 25), None)
    right = MarkedObject("A", (150, 5, 170, 25), 0.9)
    tiles = [
        ReportImage("task 1", 0, 0, 100, 80, "reviewed", (left,)),
        ReportImage("task 2", 100, 0, 100, 80, "detected", (right,)),
    ]
    group = group_images("leaf", "leaf", tiles, None)
    return ReportSource("Leaves", [group], ("A",), ("A",), {"A": "#E69F00"})


@pytest.fixture
def client(tmp_path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    settings = Settings(data_dir=tmp_path)
    Projects(settings.projects_database).connect(
        Project(1, "http://127.0.0.1:9", "token", "Leaves", LABELS)
    )
    app: Flask = create_app(settings)
    if "overviews" not in app.blueprints:
        page = build_page(app.extensions[EXTENSION])
        app.register_blueprint(page, url_prefix="/overviews")
    client = app.test_client()
    form = {"user": "cytoloop", "password": app.extensions[EXTENSION].password}
    client.post("/login", data=form)
    return client


def test_before_it_is_read_the_page_says_so(client: FlaskClient) -> None:
    assert "Leaves" in client.get("/overviews/").text
    page = client.get("/overviews/1/").text
    assert "Reading the project" in page and 'data-refresh="/overviews/1/reading"' in page
    assert client.get("/overviews/1/reading").status_code in (200, 205)
    assert client.get("/overviews/1/0/").status_code == 404
    assert client.get("/overviews/7/").status_code == 404


def test_a_scan_is_one_picture_with_its_boxes(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: ReadProject, get: object) -> None:
        self.source, self.read = make_source(), 1.0

    monkeypatch.setattr(ReadProject, "refresh", read)
    assert client.get("/overviews/1/reading").status_code == 205, "the page is to be loaded again"
    listed = client.get("/overviews/1/").text
    assert "leaf" in listed and 'href="/overviews/1/0/"' in listed
    page = client.get("/overviews/1/0/").text
    assert 'viewBox="0 0 200 80"' in page and page.count("<image ") == 2
    assert page.count('class="box dashed"') == 1 and page.count('class="box"') == 1
    assert client.get("/overviews/1/0/0-small.jpg").status_code == 404, "no pixels here"
    assert client.get("/overviews/1/0/9-large.jpg").status_code == 404


def test_a_project_that_cannot_be_read_says_why() -> None:
    def fail() -> ReportSource:
        raise ValueError("the labels hold nothing to count")

    project = ReadProject()
    project.refresh(fail)
    assert wait_until(lambda: project.problem != "", every=0.01, timeout=5)
    assert project.problem == "the labels hold nothing to count" and project.source is None
