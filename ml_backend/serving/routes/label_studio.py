"""Label Studio's contract with an ML backend."""

from __future__ import annotations

import time

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import Forbidden

from ml_backend.serving.access.security import is_authorised
from ml_backend.serving.app_state import get_app_state
from ml_backend.serving.backend import Backend, list_versions
from ml_backend.serving.openapi import describe_api
from ml_backend.serving.request_body import (
    read_action,
    read_body,
    read_context,
    read_label_config,
    read_project_id,
    read_tasks,
)
from ml_backend.serving.status import read_status

routes = Blueprint("label_studio", __name__)


@routes.get("/health")
def health() -> Response:
    """Answer that the server is up, and how it is to whoever names the password."""
    if not is_authorised():
        return jsonify(status="UP", model_class="cytoloop")
    return jsonify(read_status(get_app_state()))


@routes.post("/setup")
def setup() -> Response:
    """Take over the labeling config, and answer the version that pre-annotates."""
    body = read_body(request)
    backend = Backend(get_app_state(), read_project_id(body), read_label_config(body))
    backend.setup()
    return jsonify(model_version=backend.model_version)


@routes.get("/versions")
def versions() -> Response:
    """Answer all version strings."""
    return jsonify(versions=list_versions(get_app_state()))


@routes.get("/openapi.json")
def openapi() -> Response:
    """Describe the routes that a program may ask."""
    return jsonify(describe_api())


@routes.post("/predict")
def predict() -> Response:
    """Answer one entry for each task, in time."""
    state = get_app_state()
    # Reading thousands of tasks takes its time too.
    deadline = time.monotonic() + state.settings.predict_seconds
    body = read_body(request)
    tasks, context = read_tasks(body), read_context(body)
    with state.turns:
        backend = Backend(state, read_project_id(body), read_label_config(body))
        response = backend.predict(tasks, context, deadline=deadline)
    if response.model_version is None:
        return jsonify(results=response.predictions)
    return jsonify(results=response.predictions, model_version=response.model_version)


@routes.post("/webhook")
def webhook() -> Response:
    """Leave a note of what happened in Label Studio."""
    body = read_body(request)
    action = read_action(body)
    if action == "START_TRAINING" and not is_authorised():
        raise Forbidden("the password of events starts no training")
    noted = Backend(get_app_state(), read_project_id(body)).fit(action, body)
    return jsonify(status="noted" if noted else "ignored", action=action)
