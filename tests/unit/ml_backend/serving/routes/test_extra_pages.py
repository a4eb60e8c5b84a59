"""Pages that other packages add, as an installed package would."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from ml_backend.serving.app import create_app
from ml_backend.settings import Settings

Install = Callable[[str, str, str], None]

COUNT = """
from flask import Blueprint, render_template_string

def build_page(state):
    page = Blueprint("task_counts", __name__)

    @page.get("/")
    def index():
        return render_template_string(
            '{% extends "cytoloop/page.html" %}{% block title %}Counts{% endblock %}'
            '{% block main %}{{ titles|join(", ") }}{% endblock %}',
            titles=[project.title for project in state.projects.list_projects()],
        )

    @page.get("/<int:number>/")
    def show(number):
        return render_template_string(
            '{% extends "cytoloop/page.html" %}'
            '{% import "cytoloop/macros.html" as parts with context %}'
            '{% block heading %}{{ parts.tabs(project, "Task counts") }}{% endblock %}',
            project=state.projects.get(number),
        )

    return page
"""
READY_MADE = """
from flask import Blueprint

page = Blueprint("hello", __name__, url_prefix="/greetings")

@page.get("/hello")
def hello():
    return "<p>Hello</p>"
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Lays a package with one page where Python finds it: (module, its text, the page in it)."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(module: str, text: str, page: str) -> None:
        (site / f"{module}.py").write_text(text, encoding="utf-8")
        metadata = site / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(
            f"[cytoloop.pages]\n{module} = {module}:{page}\n"
        )
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def ask(settings: Settings, headers: dict[str, str]) -> FlaskClient:
    client = create_app(settings).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = headers["Authorization"]
    return client


def test_a_function_of_the_state_adds_a_page(
    settings: Settings, password_header: dict[str, str], browser: dict[str, str], install: Install
) -> None:
    install("stranger_count", COUNT, "build_page")
    client = ask(settings, password_header)
    page = client.get("/task_counts/", headers=browser)
    assert page.status_code == 200
    assert "&lt;b&gt;Leaves &amp; roots&lt;/b&gt;" in page.text
    assert '<a href="/task_counts/">Task counts</a>' in client.get("/", headers=browser).text
    assert '<a href="/task_counts/1/">' in client.get("/projects/1/", headers=browser).text
    own = client.get("/task_counts/1/", headers=browser).text
    assert '<a href="/task_counts/1/" aria-current="page">Task counts</a>' in own
    assert create_app(settings).test_client().get("/task_counts/").status_code == 401


def test_a_blueprint_is_a_page_at_its_own_prefix(
    settings: Settings, password_header: dict[str, str], browser: dict[str, str], install: Install
) -> None:
    install("stranger_hello", READY_MADE, "page")
    client = ask(settings, password_header)
    assert client.get("/greetings/hello").text == "<p>Hello</p>"
    # Without a view `index` it has no place in the menu.
    assert "greetings" not in client.get("/", headers=browser).text


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("import a_module_that_is_not_installed", "page"),
        ("page = 3", "page"),
        ("def page(state):\n    return None", "page"),
        ("def page(state):\n    raise RuntimeError('broken')", "page"),
        ("", "page"),
        ("from flask import Blueprint\npage = Blueprint('label_studio', __name__)", "page"),
    ],
    ids=["import", "number", "nothing", "raises", "missing", "name taken"],
)
def test_a_page_that_fails_is_left_out_and_the_server_starts(
    settings: Settings,
    password_header: dict[str, str],
    browser: dict[str, str],
    install: Install,
    caplog: pytest.LogCaptureFixture,
    text: str,
    page: str,
) -> None:
    install("stranger_broken", text, page)
    client = ask(settings, password_header)
    assert "the page stranger_broken (stranger_broken:page) is left out" in caplog.text
    assert client.get("/", headers=browser).status_code == 200
    assert client.get("/health").get_json()["status"] == "UP"
