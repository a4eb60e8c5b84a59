"""The pages for a browser. `/` is one, and tells other clients the same in JSON."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, make_response, render_template

from ml_backend import __version__
from ml_backend.serving.access.browser_session import get_name, get_token
from ml_backend.serving.access.security import is_authorised
from ml_backend.serving.app_state import get_app_state
from ml_backend.serving.extra_pages import list_menu
from ml_backend.serving.negotiation import prefers_html
from ml_backend.serving.status import describe_project, group_by_reason, read_status

routes = Blueprint("pages", __name__)

# Tasks left out that the page looks at, of one project; the newest.
MOST_LEFT_OUT = 1000


@routes.get("/")
def root() -> Response:
    """Show the projects: what pre-annotates each, and its tasks that were left out."""
    state = get_app_state()
    if not prefers_html():
        return jsonify(read_status(state))
    projects = [
        describe_project(project, state.models)
        | {
            "annotators": state.projects.get_agreement(project.id),
            "url": f"{project.url.rstrip('/')}/projects/{project.id}/data",
            "left_out": group_by_reason(state.projects.list_left_out(project.id, MOST_LEFT_OUT)),
        }
        for project in state.projects.list_projects()
    ]
    page = render_template("cytoloop/projects.html", projects=projects, most=MOST_LEFT_OUT)
    return make_response(page)


@routes.app_context_processor
def describe_server() -> dict[str, Any]:
    """Give every template the menu, the release, and who looks at it."""
    return {
        "menu": list_menu(current_app),
        "release": __version__,
        "logged_in": is_authorised(),
        "person_name": get_name(),
        "csrf_token": get_token(),
    }
