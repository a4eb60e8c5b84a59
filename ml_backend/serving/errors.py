"""Errors as answers: one line of JSON, or a page where a browser asks."""

from __future__ import annotations

from http import HTTPStatus

from flask import (
    Flask,
    Response,
    current_app,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ml_backend.serving.access.security import CHALLENGE
from ml_backend.serving.backend import BadLabelingConfig
from ml_backend.serving.request_body import BadRequest
from ml_backend.serving.routes.negotiation import prefers_html
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
    if status == HTTPStatus.UNAUTHORIZED:
        return _show_way_in(message)
    if prefers_html():
        page = render_template("cytoloop/error.html", status=status, message=message)
        return make_response(page, status)
    return make_response(jsonify(error=message), status)


def _show_way_in(message: str | None) -> Response:
    """Send a browser to the login page, and ask any other client for user and password."""
    if prefers_html():
        wanted = request.full_path.rstrip("?") if request.method == "GET" else "/"
        return make_response(redirect(url_for("login.form", next=wanted), 303))
    answer = make_response(jsonify(error=message), HTTPStatus.UNAUTHORIZED)
    answer.headers["WWW-Authenticate"] = CHALLENGE
    return answer
