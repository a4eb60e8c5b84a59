"""A stand-in of Label Studio's interface, in memory: what the loop asks of a server, no more.

It answers as the real one was seen to (tests/integration/test_crashes.py holds both to
the same walk) and refuses any question that it does not know, so that it cannot drift unseen.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from flask import Flask, Response, abort, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server

TOKEN = "a-legacy-token-of-the-stand-in"
PERSON = "a-token-whose-requests-never-fail"


def _now() -> str:
    return datetime.now(UTC).isoformat()


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open, as the real one's do
    down = False

    def run_wsgi(self) -> None:
        if type(self).down and PERSON not in self.headers.get("Authorization", ""):
            self.close_connection = True
        else:
            super().run_wsgi()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@dataclass
class Task:
    id: int
    project: int
    data: dict[str, Any]
    predictions: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    def matches(self, item: dict[str, Any]) -> bool:
        """One filter of the Data Manager."""
        column, operator, value = item["filter"], item["operator"], item["value"]
        cancelled = sum(entry["was_cancelled"] for entry in self.annotations)
        columns: dict[str, Any] = {
            "id": self.id,
            "total_annotations": len(self.annotations) - cancelled,
            "cancelled_annotations": cancelled,
            "total_predictions": len(self.predictions),
            "draft_exists": False,
        }
        name = column.removeprefix("filter:tasks:")
        if name == "predictions_model_versions":
            held = {prediction["model_version"] for prediction in self.predictions} & set(value)
            return bool(held) == {"contains": True, "not_contains": False}[operator]
        compare: dict[str, Callable[[Any, Any], bool]] = {
            "equal": lambda a, b: a == b,
            "greater": lambda a, b: a > b,
        }
        return compare[operator](columns[name], value)

    def to_json(self, full: bool) -> dict[str, Any]:
        shown = {
            "id": self.id,
            "project": self.project,
            "data": self.data,
            "total_annotations": sum(not entry["was_cancelled"] for entry in self.annotations),
            "cancelled_annotations": sum(entry["was_cancelled"] for entry in self.annotations),
            "total_predictions": len(self.predictions),
        }
        if full:
            shown |= {"annotations": self.annotations, "predictions": self.predictions}
        return shown


class StandIn:
    """The server: start it, and give `url` and `token` to whoever speaks with Label Studio.

    slow: called before every write is done, so that a caller may die while it waits.
    webhook: (address, user, password) of a backend that is told of events as Label Studio
        does it: inside the request, one attempt, one second.
    fault: called with method and path of every request; a status code that it gives is
        answered in place of an answer.
    down: while it is set, connections are closed without an answer.
    person: a token for whom neither fault nor down holds.
    """

    token, person = TOKEN, PERSON

    def __init__(self, slow: Callable[[], float] = lambda: 0.0) -> None:
        self.slow = slow
        self.webhook: dict[int, tuple[str, str, str]] = {}
        self.fault: Callable[[str, str], int | None] = lambda method, path: None
        self._handler = type("_Handler", (_Quiet,), {})
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._projects: dict[int, dict[str, Any]] = {}
        self._tasks: dict[int, Task] = {}
        self._server = make_server(
            "127.0.0.1", 0, self._app(), threaded=True, request_handler=self._handler
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def restore(self, state: dict[str, Any]) -> None:
        """Hold what another stand-in held: its `projects` and `tasks` as JSON, with their ids."""
        self._projects = {project["id"]: project for project in state["projects"]}
        self._tasks = {task["id"]: Task(**task) for task in state["tasks"]}
        held = [
            entry for task in self._tasks.values() for entry in task.predictions + task.annotations
        ]
        used = [*self._projects, *self._tasks, *(entry["id"] for entry in held)]
        self._numbers = itertools.count(max(used) + 1)

    @property
    def down(self) -> bool:
        return self._handler.down

    @down.setter
    def down(self, down: bool) -> None:
        self._handler.down = down

    # What the interface does.

    def _project(self, number: int) -> dict[str, Any]:
        if number not in self._projects:
            abort(404, "No Project matches the given query.")
        return self._projects[number]

    def _of(self, project: int) -> list[Task]:
        return [task for task in self._tasks.values() if task.project == project]

    def _query(self) -> tuple[list[Task], int, int, int]:
        """The tasks asked for, those of the page, and how many all have of what."""
        project = int(request.args["project"])
        self._project(project)
        query = json.loads(request.args.get("query", "{}"))
        unknown = set(query) - {"ordering", "filters", "selectedItems"}
        if unknown or query.get("ordering", ["tasks:id"]) != ["tasks:id"]:
            abort(400, f"not a question that the stand-in knows: {query}")
        items = query.get("filters", {"items": []})["items"]
        found = [t for t in self._of(project) if all(t.matches(item) for item in items)]
        if chosen := query.get("selectedItems"):
            found = [task for task in found if task.id in set(chosen["included"])]
        size, page = int(request.args["page_size"]), int(request.args["page"])
        return (
            sorted(found, key=lambda task: task.id)[(page - 1) * size : page * size],
            len(found),
            sum(len(task.annotations) for task in found),
            sum(len(task.predictions) for task in found),
        )

    def _import_predictions(self, number: int) -> int:
        self._project(number)
        wanted = request.get_json()
        for entry in wanted:
            task = self._tasks.get(entry["task"])
            if task is None or task.project != number:
                abort(400, "task does not exist")
            task.predictions.append(
                {
                    "id": next(self._numbers),
                    "task": entry["task"],
                    "project": number,
                    "model_version": entry["model_version"],
                    "score": entry["score"],
                    "result": entry["result"],
                    "created_at": _now(),
                }
            )
        return len(wanted)

    def _annotate(self, task: Task) -> dict[str, Any]:
        sent = request.get_json()
        parent = sent.get("parent_prediction")
        known = {
            prediction["id"] for other in self._tasks.values() for prediction in other.predictions
        }
        if parent is not None and parent not in known:
            abort(400, f'Invalid pk "{parent}" - object does not exist.')
        annotation = {
            "id": next(self._numbers),
            "task": task.id,
            "project": task.project,
            "result": sent["result"],
            "was_cancelled": bool(sent.get("was_cancelled")),
            "ground_truth": False,
            "lead_time": sent.get("lead_time"),
            "parent_prediction": parent,
            "created_at": _now(),
            "updated_at": _now(),
        }
        task.annotations.append(annotation)
        return annotation

    def _delete_prediction(self, number: int) -> None:
        for task in self._tasks.values():
            for entry in task.predictions:
                if entry["id"] == number:
                    task.predictions.remove(entry)
                    for annotation in task.annotations:
                        if annotation["parent_prediction"] == number:
                            annotation["parent_prediction"] = None
                    return
        abort(404, "No Prediction matches the given query.")

    def tell(self, project: int, action: str, **content: Any) -> bool:
        """An event to the project's backend; False where it was lost."""
        if project not in self.webhook:
            return False
        address, user, password = self.webhook[project]
        body = {"action": action, "project": {"id": project}, **content}
        try:
            return httpx.post(
                address, json=body, auth=(user, password), timeout=1.0, trust_env=False
            ).is_success
        except httpx.TransportError:
            return False

    # Over HTTP.

    def _app(self) -> Flask:
        app = Flask("stand-in")

        @app.errorhandler(HTTPException)
        def failed(error: HTTPException) -> tuple[Response, int]:
            code = error.code or 500
            return jsonify(status_code=code, detail=error.description), code

        @app.before_request
        def admit() -> None:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme != "Token" or token not in (TOKEN, PERSON):
                abort(401, "Invalid token.")
            if token == TOKEN and (status := self.fault(request.method, request.path)):
                abort(status)
            if request.method != "GET":
                time.sleep(self.slow())

        @app.post("/api/projects/")
        def create_project() -> tuple[Response, int]:
            with self._lock:
                number = next(self._numbers)
                self._projects[number] = {
                    "id": number,
                    "title": request.get_json()["title"],
                    "label_config": request.get_json()["label_config"],
                    "model_version": "",
                    "created_at": _now(),
                }
                return jsonify(self._projects[number]), 201

        @app.get("/api/projects/<int:number>/")
        def get_project(number: int) -> Response:
            with self._lock:
                found = {**self._project(number), "task_number": len(self._of(number))}
                return jsonify(found)

        @app.patch("/api/projects/<int:number>/")
        def update_project(number: int) -> Response:
            with self._lock:
                project, changes = self._project(number), request.get_json()
                held = {p["model_version"] for t in self._of(number) for p in t.predictions}
                if "model_version" in changes and changes["model_version"] not in held:
                    abort(400, "model_version: there is no such model version in the project")
                project.update(changes)
            self.tell(number, "PROJECT_UPDATED")
            return jsonify(project)

        @app.delete("/api/projects/<int:number>/")
        def delete_project(number: int) -> tuple[str, int]:
            with self._lock:
                self._project(number)
                del self._projects[number]
                for task in self._of(number):
                    del self._tasks[task.id]
            return "", 204

        @app.post("/api/projects/<int:number>/import")
        def import_tasks(number: int) -> tuple[Response, int]:
            with self._lock:
                self._project(number)
                made = [
                    Task(next(self._numbers), number, entry["data"]) for entry in request.get_json()
                ]
                self._tasks.update({task.id: task for task in made})
            self.tell(number, "TASKS_CREATED", tasks=[{"id": task.id} for task in made])
            return jsonify(task_ids=[task.id for task in made], task_count=len(made)), 201

        @app.get("/api/tasks/")
        def tasks() -> Response:
            with self._lock:
                page, total, annotations, predictions = self._query()
                full = request.args.get("fields") == "all"
                return jsonify(
                    tasks=[task.to_json(full) for task in page],
                    total=total,
                    total_annotations=annotations,
                    total_predictions=predictions,
                )

        @app.post("/api/projects/<int:number>/import/predictions")
        def import_predictions(number: int) -> tuple[Response, int]:
            with self._lock:
                return jsonify(created=self._import_predictions(number)), 201

        @app.delete("/api/predictions/<int:number>/")
        def delete_prediction(number: int) -> tuple[str, int]:
            with self._lock:
                self._delete_prediction(number)
            return "", 204

        @app.post("/api/tasks/<int:number>/annotations/")
        def annotate(number: int) -> tuple[Response, int]:
            with self._lock:
                if number not in self._tasks:
                    abort(404, "No Task matches the given query.")
                task = self._tasks[number]
                annotation = self._annotate(task)
            self.tell(
                task.project,
                "ANNOTATION_CREATED",
                task={"id": number},
                annotation={"id": annotation["id"]},
            )
            return jsonify(annotation), 201

        return app
