"""The ML backend: Label Studio's contract over HTTP, and nothing else.

The server only reads: the champion's pointer, the versions' files, the connected
projects. What is to be done later it leaves as a note for the worker.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, jsonify, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from werkzeug.exceptions import HTTPException

from ml_backend import __version__
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.registry.versions import Registry
from ml_backend.serving.model_cache import Serving, parse_labels, untrained
from ml_backend.serving.preannotation import QUEUED, LeftOut, PreAnnotation
from ml_backend.settings import Settings
from ml_backend.state.projects import NotConnected, Note, Project, Projects
from ml_backend.state.training_progress import running
from ml_backend.system.credentials import backend_password

# What Label Studio tells us, and the notes that it leaves for the worker. Each is only a
# hint: what really changed is read from Label Studio when the job runs.
NOTES: dict[str, tuple[Note, ...]] = {
    "START_TRAINING": ("train",),
    "ANNOTATION_CREATED": ("changed",),
    "ANNOTATIONS_CREATED": ("changed",),
    "ANNOTATION_UPDATED": ("changed",),
    "ANNOTATIONS_DELETED": ("changed",),
    "TASKS_CREATED": ("publish",),
    "TASKS_DELETED": ("changed",),
    "PROJECT_UPDATED": ("changed",),
}


class BadRequest(ValueError):
    """What the caller must change, in one line."""


class Trainings(Collector):
    """The running trainings for /metrics, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        found = running(self._folder)
        for name, what, value in (
            ("epoch", "The last epoch that is finished", lambda one: one.epoch),
            ("epochs", "How many epochs there will be", lambda one: one.epochs),
            ("loss", "The mean loss of the last epoch", lambda one: one.loss),
            ("seconds_left", "Estimated", lambda one: one.seconds_left),
            ("started_timestamp_seconds", "Since 1970", lambda one: one.started),
            ("told_timestamp_seconds", "When it was last heard of", lambda one: one.told),
        ):
            gauge = GaugeMetricFamily(f"cytoloop_training_{name}", what, labels=["project"])
            for one in found:
                if value(one) is not None:
                    gauge.add_metric([one.project], value(one))
            yield gauge


class Figures:
    """The server's counts for /metrics."""

    def __init__(self, progress: Path) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Trainings(progress))
        self.requests = Counter(
            "cytoloop_requests", "Requests answered", ["route", "code"], registry=self.registry
        )
        self.seconds = Histogram(
            "cytoloop_request_seconds",
            "Time to answer",
            ["route"],
            registry=self.registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30, 60, 100),
        )
        self.preannotated = Counter(
            "cytoloop_tasks_preannotated", "Tasks answered", ["project"], registry=self.registry
        )
        self.left_out = Counter(
            "cytoloop_tasks_left_out",
            "Tasks answered with nothing to store",
            ["project"],
            registry=self.registry,
        )


def create_app(settings: Settings) -> Flask:
    """The Flask app over one data folder."""
    app = Flask("cytoloop")
    projects = Projects(settings.projects_database)
    registry = Registry(settings.versions, settings.champions)
    serving = Serving(settings, registry)
    figures = Figures(settings.progress)
    password = backend_password(settings)
    images: dict[Project, ImageSource] = {}
    images_lock = threading.Lock()

    def image_source(project: Project) -> ImageSource:
        with images_lock:
            if project not in images:
                images[project] = ImageSource(
                    project.url, project.token, media=settings.media, project=project.id
                )
            return images[project]

    def authorised() -> bool:
        sent = request.authorization
        return (
            sent is not None
            and sent.type == "basic"
            and _same(str(sent.username), settings.backend_user)
            and _same(str(sent.password), password)
        )

    @app.before_request
    def start() -> Response | None:
        g.started = time.perf_counter()
        # /health answers anyone that it is up; only the authorised see more.
        if request.endpoint == "health" or authorised():
            return None
        answer = jsonify(error="wrong user or password for the ML backend; run cytoloop connect")
        answer.status_code = 401
        answer.headers["WWW-Authenticate"] = 'Basic realm="cytoloop"'
        return answer

    @app.after_request
    def count(response: Response) -> Response:
        route = request.endpoint or "unknown"
        figures.requests.labels(route, response.status_code).inc()
        figures.seconds.labels(route).observe(time.perf_counter() - g.started)
        return response

    @app.errorhandler(BadRequest)
    def bad_request(error: BadRequest) -> tuple[Response, int]:
        return jsonify(error=str(error)), 400

    @app.errorhandler(NotConnected)
    def not_connected(error: NotConnected) -> tuple[Response, int]:
        return jsonify(error=str(error.args[0])), 404

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=error.description), error.code or 500

    @app.errorhandler(Exception)
    def fault(error: Exception) -> tuple[Response, int]:
        app.logger.exception("%s failed", request.path)
        return jsonify(error=f"{type(error).__name__}; the backend's log has the details"), 500

    @app.get("/health")
    @app.get("/", endpoint="root")
    def health() -> Response:
        if not authorised():
            return jsonify(status="UP", model_class="cytoloop")
        return jsonify(
            status="UP",
            model_class="cytoloop",
            release=__version__,
            projects=[_state(project, serving) for project in projects.all()],
            left_out=projects.left_out(limit=100),
            dropped={
                f"{annotator.version}": dict(annotator.dropped)
                for annotator in serving.loaded()
                if annotator.dropped
            },
        )

    @app.post("/setup")
    def setup() -> Response:
        body = _body()
        project = projects.get(_project_id(body))
        schema = body.get("schema")
        if isinstance(schema, str) and schema.strip() and schema != project.label_config:
            _check_labels(schema)
            projects.update_labels(project.id, schema)
            project = projects.get(project.id)
        # The first Retrieve predictions should not have to wait for the detector to load.
        serving.prepare(project)
        return jsonify(model_version=serving.version(project))

    @app.get("/versions")
    def versions() -> Response:
        names = [version.name for version in registry.all()]
        return jsonify(versions=names + [untrained(project.id) for project in projects.all()])

    @app.post("/predict")
    def predict() -> Response:
        deadline = time.monotonic() + settings.predict_seconds
        body = _body()
        tasks = body.get("tasks")
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise BadRequest("'tasks' must be a list of Label Studio tasks")
        project = projects.get(_project_id(body))
        annotator = serving.annotator(project)
        # An empty list is an answer that stores nothing.
        results: list[Any] = [[] for _ in tasks]
        if annotator is None:
            return jsonify(results=results)
        left_out: list[tuple[Any, str]] = []
        drawn: list[tuple[int, PreAnnotation]] = []
        fetch = image_source(project).fetch
        for index, outcome in annotator.annotate(tasks, fetch, deadline):
            if isinstance(outcome, LeftOut):
                left_out.append((tasks[index].get("id"), outcome.reason))
            elif not outcome.blind:
                drawn.append((index, outcome))
        known = partial(projects.certainties, project.id, annotator.version)
        for index, one in annotator.queued(tasks, drawn, known):
            results[index] = one.entry()
        done = [tasks[index].get("id") for index, _ in drawn]
        projects.leave_out(project.id, [(i, why) for i, why in left_out if _is_id(i)])
        projects.let_in(project.id, [i for i in done if _is_id(i)])
        if any(reason == QUEUED for _, reason in left_out):
            projects.leave(project.id, "publish")
        figures.preannotated.labels(project.id).inc(len(done))
        figures.left_out.labels(project.id).inc(len(left_out))
        return jsonify(results=results, model_version=annotator.version)

    @app.post("/webhook")
    def webhook() -> Response:
        body = _body()
        action = body.get("action")
        if not isinstance(action, str):
            raise BadRequest("'action' is missing")
        project = projects.get(_project_id(body))
        for note in NOTES.get(action, ()):
            projects.leave(project.id, note)
        return jsonify(status="noted" if action in NOTES else "ignored", action=action)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(figures.registry), mimetype="text/plain; version=0.0.4")

    return app


def _same(sent: str, known: str) -> bool:
    return secrets.compare_digest(sent.encode(), known.encode())


def _is_id(value: Any) -> bool:
    """Can it be a task's id in Label Studio's database, and in ours?"""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63


def _check_labels(schema: str) -> None:
    try:
        parse_labels(schema)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def _body() -> dict[str, Any]:
    try:
        body = request.get_json(force=True, silent=True)
    except RecursionError:
        body = None
    if not isinstance(body, dict):
        raise BadRequest("the request's body must be a JSON object")
    return body


def _project_id(body: dict[str, Any]) -> int:
    """The project's id, from `5`, `"5"`, `"5.1700000000"` or `{"id": 5}`."""
    project = body.get("project")
    if isinstance(project, dict):
        project = project.get("id")
    if isinstance(project, bool) or not isinstance(project, (int, str)):
        raise BadRequest("'project' is missing")
    try:
        return int(str(project).split(".")[0])
    except ValueError:
        raise BadRequest(f"'project' must be a project's id, not {project!r}") from None


def _state(project: Project, serving: Serving) -> dict[str, Any]:
    version = serving.version(project)
    state: dict[str, Any] = {"id": project.id, "title": project.title, "version": version}
    if version == untrained(project.id):
        state["note"] = (
            "no detector matches this project's labels, so nothing is pre-annotated; "
            "label some tasks and press Start training"
        )
    return state


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until ended: one process, threads; gunicorn, or waitress on Windows.

    More processes would each load every detector, on the same cores.
    """
    import sys

    if sys.platform == "win32":
        import waitress

        waitress.serve(create_app(settings), host=host, port=port, threads=16)
        return

    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):
        def load_config(self) -> None:
            options = {
                "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
                "workers": 1,
                "threads": 16,
                "timeout": 120,
                "graceful_timeout": 5,
                "proc_name": "cytoloop",
                "loglevel": "warning",
            }
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self) -> Flask:
            return create_app(settings)

    Server().run()
