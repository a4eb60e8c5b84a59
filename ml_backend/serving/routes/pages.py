"""The pages for a browser. `/` is one, and tells other clients the same in JSON."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, make_response, render_template

from ml_backend import __version__
from ml_backend.serving.access.browser_session import get_name, get_token
from ml_backend.serving.access.security import is_authorised
from ml_backend.serving.app_state import AppState, get_app_state
from ml_backend.serving.project_page.now import describe_now
from ml_backend.serving.routes.extra_pages import list_menu, list_tabs
from ml_backend.serving.routes.negotiation import prefers_html
from ml_backend.serving.status import read_status

routes = Blueprint("pages", __name__)


@routes.get("/")
def root() -> Response:
    """Show the projects: what pre-annotates each, what happens, and what does not work."""
    state = get_app_state()
    if not prefers_html():
        return jsonify(read_status(state))
    return make_response(render_template("cytoloop/projects.html", **_describe(state)))


@routes.get("/projects/list")
def list_projects() -> str:
    """Show the projects alone, for a page that keeps itself up to date."""
    return render_template("cytoloop/project_list.html", **_describe(get_app_state()))


def _describe(state: AppState) -> dict[str, Any]:
    projects = [describe_now(state, project) for project in state.projects.list_projects()]
    agreements = {now.project.id: state.projects.get_agreement(now.project.id) for now in projects}
    return {"projects": projects, "agreements": agreements}


@routes.app_context_processor
def describe_server() -> dict[str, Any]:
    """Give every template the menu, the tabs of a project, the release, and who looks at it."""
    return {
        "menu": list_menu(current_app),
        "project_pages": list_tabs(current_app),
        "release": __version__,
        "logged_in": is_authorised(),
        "person_name": get_name(),
        "csrf_token": get_token(),
    }
