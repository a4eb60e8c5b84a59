"""`/metrics`, in the form that Prometheus reads; and the clock that every request runs on."""

from __future__ import annotations

import time

from flask import Blueprint, Response, g, request
from prometheus_client import generate_latest

from ml_backend.serving.app_state import get_app_state

routes = Blueprint("metrics", __name__)

# Blueprints whose routes are counted under their bare names, such as `predict`.
_OWN = ("label_studio", "metrics", "pages")


@routes.get("/metrics")
def metrics() -> Response:
    """Answer every count of this process, and how far the trainings are."""
    text = generate_latest(get_app_state().metrics.registry)
    return Response(text, mimetype="text/plain; version=0.0.4")


@routes.before_app_request
def start_clock() -> None:
    """Remember when the request came."""
    g.started = time.perf_counter()


@routes.after_app_request
def count_request(response: Response) -> Response:
    """Count the request by its route, with the time it took."""
    counts, route = get_app_state().metrics, _route()
    counts.requests.labels(route, response.status_code).inc()
    counts.seconds.labels(route).observe(time.perf_counter() - g.started)
    return response


def _route() -> str:
    endpoint = request.endpoint or "unknown"
    return endpoint.rpartition(".")[2] if request.blueprint in _OWN else endpoint
