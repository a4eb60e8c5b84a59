"""Authorisation of requests, and headers that restrict what a browser does with the answer."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from flask import Response, request
from werkzeug.exceptions import Forbidden, Unauthorized

from ml_backend.serving.app_state import get_app_state

# Answers anyone that the server is up; only who names the password sees more.
OPEN_ENDPOINT = "label_studio.health"

# The header of an answer 401, by which a browser asks for user and password.
CHALLENGE = 'Basic realm="cytoloop"'

# Styles, scripts and pictures from this server alone; pictures may also stand in the page.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def is_authorised() -> bool:
    """Tell whether the present request carries the backend's user and password."""
    state, sent = get_app_state(), request.authorization
    return (
        sent is not None
        and sent.type == "basic"
        and _is_same(str(sent.username), state.settings.backend_user)
        and _is_same(str(sent.password), state.password)
    )


def check_request() -> None:
    """Refuse a request that is not authorised.

    Raises:
        Unauthorized: It has no password, or a wrong one.
        Forbidden: A page of another site made a browser send it, which adds the password by
            itself once a person has typed it in.
    """
    if request.endpoint == OPEN_ENDPOINT:
        return
    if not is_authorised():
        raise Unauthorized("wrong user or password for the ML backend; run cytoloop connect")
    origin = request.headers.get("Origin")
    changes = request.method not in ("GET", "HEAD", "OPTIONS")
    if changes and origin is not None and _read_host(origin) != request.host:
        raise Forbidden("this request comes from a page of another web site, so it is refused")


def add_headers(response: Response) -> Response:
    """Forbid a browser to guess types, and a page to load or run what is not of this server."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.vary.add("Accept")
    if response.mimetype == "text/html":
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    return response


def _read_host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _is_same(sent: str, known: str) -> bool:
    return secrets.compare_digest(sent.encode(), known.encode())
