"""The way in for people: a link that was made for them, or their account of Label Studio."""

from __future__ import annotations

import secrets

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from ml_backend.label_studio.people import check_password
from ml_backend.label_studio.session import StudioFault, StudioUnreachable
from ml_backend.serving.access.browser_session import log_in, log_out
from ml_backend.serving.access.page_address import choose_next
from ml_backend.serving.app_state import AppState, get_app_state
from ml_backend.state.login_links import use_link

routes = Blueprint("login", __name__)

WRONG = "That user and password do not belong together. Check both and try again."
USED = "This link was used already, or is older than an hour. Log in here, or make a new one."


@routes.get("/login")
def form() -> Response:
    """Show the form, or log in whoever brings a link."""
    secret = request.args.get("link")
    if secret is None:
        return _show("")
    state, sender = get_app_state(), _name_sender()
    if wait := state.attempts.compute_wait(sender):
        return _show(_describe_wait(wait), 429)
    person = use_link(state.settings.login_links, secret)
    if person is None:
        state.attempts.note_failure(sender)
        return _show(USED, 403)
    log_in(person, person.email)
    return _go_on()


@routes.post("/login")
def enter() -> Response:
    """Log in who names a user and password of Label Studio, or those of the backend."""
    state, sender = get_app_state(), _name_sender()
    if wait := state.attempts.compute_wait(sender):
        return _show(_describe_wait(wait), 429)
    user, password = request.form.get("user", "").strip(), request.form.get("password", "")
    # Counted before it is checked, so that many at once are no way around the limit.
    state.attempts.note_failure(sender)
    try:
        entered = _enter(state, user, password)
    except (StudioUnreachable, StudioFault) as error:
        return _show(f"{error}. Start it, then try again.", 503)
    if not entered:
        return _show(WRONG, 403)
    state.attempts.forget(sender)
    return _go_on()


@routes.post("/logout")
def leave() -> Response:
    """Log out."""
    log_out()
    return make_response(redirect(url_for("login.form"), 303))


def _enter(state: AppState, user: str, password: str) -> bool:
    if user == state.settings.backend_user:
        right = secrets.compare_digest(password.encode(), state.password.encode())
        if right:
            log_in(None, user)
        return right
    url = next((project.url for project in state.projects.list_projects()), None)
    person = check_password(url, user, password) if url and user and password else None
    if person is not None:
        log_in(person, person.email)
    return person is not None


def _go_on() -> Response:
    return make_response(redirect(choose_next(request.values.get("next", "")), 303))


def _show(problem: str, status: int = 200) -> Response:
    page = render_template(
        "cytoloop/login.html",
        problem=problem,
        user=get_app_state().settings.backend_user,
        next=choose_next(request.values.get("next", "")),
    )
    return make_response(page, status)


def _describe_wait(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"Too many wrong passwords. Try again in {minutes} min."


def _name_sender() -> str:
    return request.remote_addr or ""
