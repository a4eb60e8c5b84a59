"""What is counted of each request."""

from __future__ import annotations

from flask import Flask
from flask.testing import FlaskClient


def test_requests_are_counted_by_their_route(app: Flask, client: FlaskClient) -> None:
    client.get("/health")
    client.get("/")
    client.get("/nowhere")
    client.post("/setup", data="[]")
    app.test_client().get("/metrics")
    lines = client.get("/metrics").text.splitlines()
    for route, code in (
        ("health", 200),
        ("root", 200),
        ("unknown", 404),
        ("setup", 400),
        ("metrics", 401),
    ):
        assert f'cytoloop_requests_total{{code="{code}",route="{route}"}} 1.0' in lines
        assert f'cytoloop_request_seconds_count{{route="{route}"}} 1.0' in lines
