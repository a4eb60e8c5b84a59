"""Reading what Label Studio sends; anything else is refused in one line."""

from __future__ import annotations

from typing import Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

# Bytes of a request's body: some 100,000 tasks of Label Studio.
MOST_BODY_BYTES = 64_000_000


class BadRequest(ValueError):
    """A request that cannot be answered; the message says what to change, in one line."""


def read_body(request: Request) -> dict[str, Any]:
    """Return the JSON object in a request, whatever its content type.

    Raises:
        BadRequest: The body is not JSON, or not an object.
        RequestEntityTooLarge: It has `MOST_BODY_BYTES` or more.
    """
    # Flask refuses a greater length that a header tells; a body in chunks it cuts without a word.
    if len(request.get_data(cache=True)) >= MOST_BODY_BYTES:
        raise RequestEntityTooLarge
    try:
        body = request.get_json(force=True, silent=True)
    except RecursionError:
        body = None
    if not isinstance(body, dict):
        raise BadRequest("the request's body must be a JSON object")
    return body


def read_project_id(body: dict[str, Any]) -> int:
    """Return the project's id, from `5`, `"5"`, `"5.1700000000"` or `{"id": 5}`.

    Raises:
        BadRequest: There is none.
    """
    project = body.get("project")
    if isinstance(project, dict):
        project = project.get("id")
    if isinstance(project, bool) or not isinstance(project, (int, str)):
        raise BadRequest("'project' is missing")
    try:
        return int(str(project).split(".")[0])
    except ValueError:
        raise BadRequest(f"'project' must be a project's id, not {project!r}") from None


def read_tasks(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tasks to pre-annotate.

    Raises:
        BadRequest: They are not a list of objects.
    """
    tasks = body.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise BadRequest("'tasks' must be a list of Label Studio tasks")
    return tasks


def read_context(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return what an annotator just drew with a smart tool; None where nobody did."""
    params = body.get("params")
    context = params.get("context") if isinstance(params, dict) else None
    return context if isinstance(context, dict) else None


def read_label_config(body: dict[str, Any]) -> str | None:
    """Return the labeling config that `/setup` or `/predict` brings; None where it brings none.

    Raises:
        BadRequest: It holds half a surrogate pair.
    """
    for name in ("schema", "label_config"):
        config = body.get(name)
        if isinstance(config, str) and config.strip():
            return _check_encodable(config, name)
    return None


def read_action(body: dict[str, Any]) -> str:
    """Return the name of a webhook's event.

    Raises:
        BadRequest: There is none.
    """
    action = body.get("action")
    if not isinstance(action, str):
        raise BadRequest("'action' is missing")
    return _check_encodable(action, "action")


def _check_encodable(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{name!r} holds half a surrogate pair, which is no text") from None
    return text
