"""Authorisation of requests, and headers that restrict what a browser does with the answer."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from flask import Response, request
from werkzeug.exceptions import Forbidden, Unauthorized

from ml_backend.serving.access.browser_session import has_token, is_logged_in
from ml_backend.serving.app_state import get_app_state

# What anyone may ask for: that the server is up, the way in, and what all pages look like.
OPEN_ENDPOINTS = ("label_studio.health", "login.form", "login.enter", "static")

# What a webhook of Label Studio may ask for with the password of events.
EVENT_ENDPOINT = "label_studio.webhook"

# The header of an answer 401, by which a client asks for user and password.
CHALLENGE = 'Basic realm="cytoloop"'

# Styles, scripts and pictures from this server alone; pictures may also stand in the page.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def is_authorised() -> bool:
    """Tell whether the present request is of a logged-in browser, or carries the password."""
    return has_password() or is_logged_in()


def has_password() -> bool:
    """Tell whether the present request carries the backend's user and password."""
    return _carries(get_app_state().password)


def tells_event() -> bool:
    """Tell whether the present request is a webhook that carries the password of events."""
    return request.endpoint == EVENT_ENDPOINT and _carries(get_app_state().event_password)


def _carries(password: str) -> bool:
    sent = request.authorization
    return (
        sent is not None
        and sent.type == "basic"
        and _is_same(str(sent.username), get_app_state().settings.backend_user)
        and _is_same(str(sent.password), password)
    )


def check_request() -> None:
    """Refuse a request that is not authorised.

    Raises:
        Unauthorized: It is not logged in, and has no password or a wrong one.
        Forbidden: A page of another site made a browser send it, which adds cookies and password
            by itself.
    """
    changes = request.method not in ("GET", "HEAD", "OPTIONS")
    origin = request.headers.get("Origin")
    if request.endpoint not in OPEN_ENDPOINTS and not (is_authorised() or tells_event()):
        raise Unauthorized("wrong user or password for the ML backend; run cytoloop connect")
    if changes and origin is not None and _read_host(origin) != request.host:
        raise Forbidden("this request comes from a page of another web site, so it is refused")
    if changes and is_logged_in() and not has_password() and not has_token():
        raise Forbidden("this page is older than your login; load it again and repeat what you did")


def add_headers(response: Response) -> Response:
    """Forbid a browser to guess types, and a page to load or run what is not of this server."""
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.vary.add("Accept")
    if response.mimetype == "text/html":
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        # What a page shows is of who logged in, and is outdated soon.
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _read_host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _is_same(sent: str, known: str) -> bool:
    return secrets.compare_digest(sent.encode(), known.encode())
