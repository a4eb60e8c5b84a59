"""What the backend's machine interface is, in OpenAPI 3.1: served, tested and fuzzed by it."""

from __future__ import annotations

from typing import Any

from ml_backend import __version__

_PROJECT = {
    "description": "The project's id; Label Studio writes it as a number, a string, a string "
    "with a time behind it, or an object.",
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": "^[0-9]{1,18}(\\.[0-9]+)?$"},
        {
            "type": "object",
            "properties": {"id": {"type": "integer", "minimum": 1}},
            "required": ["id"],
        },
    ],
}
_LABEL_CONFIG = {"type": "string", "description": "The project's labeling config, XML."}
_REGION = {
    "type": "object",
    "description": "An item of a result, as Label Studio writes it.",
    "properties": {
        "id": {"type": "string"},
        "type": {"type": "string"},
        "from_name": {"type": "string"},
        "to_name": {"type": "string"},
        "original_width": {"type": "number"},
        "original_height": {"type": "number"},
        "score": {"type": ["number", "null"]},
        "value": {
            "type": "object",
            "properties": {
                side: {"type": "number", "description": "Percent of the image."}
                for side in ("x", "y", "width", "height")
            },
        },
    },
}
_TASK = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "data": {"type": "object", "description": "With the image's address."},
        "annotations": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"result": {"type": "array", "items": _REGION}},
            },
        },
    },
}
_PREDICTION = {
    "description": "[] for a task without a pre-annotation.",
    "anyOf": [
        {"type": "array", "maxItems": 0},
        {
            "type": "object",
            "properties": {
                "result": {"type": "array", "items": _REGION},
                "score": {"type": "number", "minimum": 0, "maximum": 1},
                "model_version": {"type": "string"},
            },
            "required": ["result", "score", "model_version"],
        },
    ],
}
_ERROR = {
    "type": "object",
    "properties": {"error": {"type": ["string", "null"]}},
    "required": ["error"],
}
_REFUSALS = {
    "400": "The body cannot be used; one line says what to change.",
    "401": "User or password is missing or wrong.",
    "404": "The project is not connected.",
    "413": "The body has 64 MB or more.",
}


def describe_api() -> dict[str, Any]:
    """Describe every route that a program may ask, in OpenAPI 3.1."""
    predict = {
        "project": _PROJECT,
        "label_config": _LABEL_CONFIG,
        "tasks": {"type": "array", "items": _TASK},
        "params": {"type": "object", "properties": {"context": {"type": ["object", "null"]}}},
    }
    setup = {"project": _PROJECT, "schema": _LABEL_CONFIG}
    webhook = {"project": _PROJECT, "action": {"type": "string"}}
    version = {"model_version": {"type": "string"}}
    anything: dict[str, Any] = {"type": "object"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cytoloop",
            "version": __version__,
            "description": "The ML backend that Label Studio asks for pre-annotations.",
            "license": {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
        },
        "components": {"securitySchemes": {"basic": {"type": "http", "scheme": "basic"}}},
        "security": [{"basic": []}],
        "paths": {
            "/health": {
                "get": _operation("Is the server up", _object({"status": {"const": "UP"}}))
                | {"security": [{"basic": []}, {}]}
            },
            "/versions": {
                "get": _operation(
                    "All version strings",
                    _object({"versions": {"type": "array", "items": {"type": "string"}}}),
                )
            },
            "/setup": {
                "post": _operation(
                    "Take over a project's labeling config", _object(version), setup, ["project"]
                )
            },
            "/predict": {
                "post": _operation(
                    "Pre-annotate tasks",
                    {
                        "type": "object",
                        "properties": {
                            "results": {"type": "array", "items": _PREDICTION},
                            **version,
                        },
                        "required": ["results"],
                    },
                    predict,
                    ["project", "tasks"],
                )
            },
            "/webhook": {
                "post": _operation(
                    "Hear of an event in Label Studio",
                    _object({"status": {"enum": ["noted", "ignored"]}, "action": {}}),
                    webhook,
                    ["project", "action"],
                )
            },
            "/metrics": {"get": _operation("Counts for Prometheus", None)},
            "/openapi.json": {"get": _operation("This description", anything)},
        },
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties]}


def _operation(
    summary: str,
    answer: dict[str, Any] | None,
    body: dict[str, Any] | None = None,
    required: list[str] | None = None,
) -> dict[str, Any]:
    """Describe one operation.

    Args:
        summary: What it does.
        answer: Schema of the JSON answer; None where the answer is text.
        body: Properties of the JSON object that is sent.
        required: Those of them that must be there.
    """
    content = {"text/plain": {}} if answer is None else {"application/json": {"schema": answer}}
    refusals = _REFUSALS if body else {"401": _REFUSALS["401"]}
    described: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": content},
            **{
                status: {
                    "description": reason,
                    "content": {"application/json": {"schema": _ERROR}},
                }
                for status, reason in refusals.items()
            },
        },
    }
    if body:
        schema = {"type": "object", "properties": body, "required": required or []}
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return described
