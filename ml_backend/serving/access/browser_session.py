"""Who a browser is logged in as: a signed cookie, with a token that every change must repeat."""

from __future__ import annotations

import secrets
from datetime import timedelta

from flask import Flask, request, session

from ml_backend.label_studio.people import Person
from ml_backend.serving.app_state import AppState

# Label Studio on the same host sees our cookies, and we see its: the name must be our own.
COOKIE = "cytoloop_session"
TOKEN_FIELD, TOKEN_HEADER = "csrf_token", "X-CSRF-Token"
DAYS = 7


def configure_sessions(app: Flask, state: AppState) -> None:
    """Let an app keep sessions: not readable by scripts, not sent from pages of other sites."""
    app.secret_key = state.session_key
    app.permanent_session_lifetime = timedelta(days=DAYS)
    app.config.update(
        SESSION_COOKIE_NAME=COOKIE,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=state.settings.tls_certificate is not None,
    )


def log_in(person: Person | None, name: str) -> None:
    """Log the present browser in.

    Args:
        person: The user of Label Studio; None for who named the backend's password, and who so
            cannot annotate.
        name: Under which what is done is recorded.
    """
    session.clear()
    session.permanent = True
    session["name"] = name
    session["token"] = secrets.token_urlsafe(24)
    if person is not None:
        session["person"] = [person.id, person.email]


def log_out() -> None:
    """End the session of the present browser."""
    session.clear()


def is_logged_in() -> bool:
    """Tell whether the present request comes from a browser that logged in."""
    return "token" in session


def get_person() -> Person | None:
    """Return the user of Label Studio who makes the present request, where it is known."""
    held = session.get("person")
    return Person(*held) if held else None


def get_name() -> str:
    """Return under which name the present request is recorded."""
    sent = request.authorization
    return str(session.get("name") or (sent.username if sent else "") or "")


def get_token() -> str:
    """Return the token that each change of the present session must carry; "" without one."""
    return str(session.get("token", ""))


def has_token() -> bool:
    """Tell whether the present request repeats the token of its session."""
    sent = request.headers.get(TOKEN_HEADER) or request.form.get(TOKEN_FIELD, "")
    return secrets.compare_digest(sent.encode(), get_token().encode())
