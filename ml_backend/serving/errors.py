"""Errors as answers: one line of JSON, or a page where a browser asks."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from flask import Flask, Response, current_app, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ml_backend.serving.app_state import get_app_state
from ml_backend.serving.backend import BadLabelingConfig
from ml_backend.serving.negotiation import prefers_html
from ml_backend.serving.request_body import BadRequest
from ml_backend.serving.security import CHALLENGE
from ml_backend.state.projects import NotConnected

# The faults of a caller, each with its status.
_STATUS: dict[type[Exception], HTTPStatus] = {
    BadRequest: HTTPStatus.BAD_REQUEST,
    BadLabelingConfig: HTTPStatus.BAD_REQUEST,
    NotConnected: HTTPStatus.NOT_FOUND,
}


def register_error_handlers(app: Flask) -> None:
    """Let the app answer every error with its status and one line that says what is wrong."""
    for kind in _STATUS:
        app.register_error_handler(kind, _answer_fault_of_caller)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_fault_of_ours)


def _answer_fault_of_caller(error: Exception) -> Response:
    return _answer(_STATUS[type(error)], str(error.args[0]))


def _answer_http_error(error: HTTPException) -> Response:
    answer = _answer(error.code or 500, error.description)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        answer.headers["Allow"] = ", ".join(error.valid_methods)
    return answer


def _answer_fault_of_ours(error: Exception) -> Response:
    current_app.logger.exception("%s failed", request.path)
    return _answer(500, f"{type(error).__name__}; the backend's log has the details")


def _answer(status: int, message: str | None) -> Response:
    if not prefers_html():
        answer = jsonify(error=message)
    elif status == HTTPStatus.UNAUTHORIZED:
        answer = _render_login_help()
    else:
        answer = make_response(
            render_template("cytoloop/error.html", status=status, message=message)
        )
    answer.status_code = status
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = CHALLENGE
    return answer


def _render_login_help() -> Response:
    """The page that a browser shows to who typed in no password, or a wrong one.

    The stylesheet's address wants the password too, so this page carries the text itself.
    """
    style = Path(current_app.static_folder or "", "cytoloop.css").read_text(encoding="utf-8")
    user = get_app_state().settings.backend_user
    answer = make_response(render_template("cytoloop/login.html", style=style, user=user))
    answer.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return answer
