"""The gallery of a project's cells, their pictures, and what people decide about them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, jsonify, render_template, request, url_for

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.label_studio.session import STUDIO_ERRORS
from ml_backend.serving.access.browser_session import get_person
from ml_backend.serving.app_state import AppState, get_app_state
from ml_backend.serving.catalogue.cells import Cell
from ml_backend.serving.catalogue.decisions import (
    KINDS,
    count_begun_tasks,
    decide,
    list_decisions,
    list_whole_tasks,
)
from ml_backend.serving.gallery.wish import PAGE, STATES, read_wish
from ml_backend.serving.project_page.now import refresh_now
from ml_backend.state.projects import Project

routes = Blueprint("cells", __name__, url_prefix="/projects/<int:number>/cells")

# Cells that one decision may be about.
MOST_AT_ONCE = 2000
ORDERS = (
    ("unsure", "least confident first"),
    ("confident", "most confident first"),
    ("disagreement", "disagreement of model and person"),
    ("class", "class"),
    ("sample", "sample"),
    ("newest", "newest task"),
)


@routes.get("/")
def gallery(number: int) -> str:
    """Show a page of cells."""
    state = get_app_state()
    project = state.projects.get(number)
    tools = state.galleries.get(project)
    refresh_now(state, project, at_once=False)
    wish, labels = read_wish(request.args), parse_labels(project.label_config)
    compared = 0
    if wish.alike is not None:
        cells, compared = tools.find_alike(wish.alike, wish.filter, PAGE)
        total = len(cells)
    else:
        offset = (wish.page - 1) * PAGE
        cells = tools.catalogue.find_cells(wish.filter, wish.order, PAGE, offset)
        total = tools.catalogue.count_cells(wish.filter)
    return render_template(
        "cytoloop/gallery.html",
        project=project,
        cells=cells,
        decisions=list_decisions(tools.catalogue, [cell.number for cell in cells]),
        total=total,
        pages=max(1, -(-total // PAGE)),
        wish=wish,
        compared=compared,
        labels=labels.box_names,
        boxed=bool(labels.controls),
        shown=tools.catalogue.list_values("shown"),
        samples=tools.catalogue.list_values("sample"),
        states=STATES,
        orders=ORDERS,
        begun=count_begun_tasks(tools.catalogue),
        person=get_person(),
        reading=state.catalogues.get(number)[1].state,
        counts=tools.catalogue.count(),
    )


@routes.get("/<int:cell>.jpg")
def picture(number: int, cell: int) -> Response:
    """Answer the picture of a cell; a browser may keep it, since a cell of this number stays."""
    state = get_app_state()
    tools = state.galleries.get(state.projects.get(number))
    found = tools.catalogue.get_cells([cell])
    if not found:
        abort(404, "There is no such cell any more; load the gallery again.")
    try:
        content = tools.crops.get(found[0])
    except UnreadableImage as error:
        abort(404, str(error))
    answer = Response(content, mimetype="image/jpeg")
    answer.headers["Cache-Control"] = "private, max-age=604800, immutable"
    return answer


@routes.post("/decisions")
def decisions(number: int) -> Response | tuple[Response, int]:
    """Keep what a person decided about some cells."""
    state = get_app_state()
    project = state.projects.get(number)
    person = get_person()
    if person is None:
        return jsonify(error="Log in with your account of Label Studio to decide."), 403
    body = request.get_json(silent=True)
    body = body if isinstance(body, dict) else {}
    kind, label = body.get("kind"), body.get("label") or ""
    numbers = body.get("numbers")
    is_list = isinstance(numbers, list) and len(numbers) <= MOST_AT_ONCE
    if kind not in KINDS or not is_list or not all(type(n) is int for n in numbers or [None]):
        return jsonify(error="this is no decision about cells"), 400
    if kind == "rename" and label not in parse_labels(project.label_config).box_names:
        return jsonify(error=f"the project has no label {label!r}"), 400
    tools = state.galleries.get(project)
    kept = [value for value in numbers or [] if 0 < value < 2**63]
    decided = decide(tools.catalogue, person.id, kept, kind, label if kind == "rename" else "")
    tools.storer.start()
    return jsonify(_describe(state, project, decided))


@routes.post("/undo")
def take_back(number: int) -> Response | tuple[Response, int]:
    """Undo what the person decided last."""
    state = get_app_state()
    project = state.projects.get(number)
    person = get_person()
    if person is None:
        return jsonify(error="Log in with your account of Label Studio to decide."), 403
    tools = state.galleries.get(project)
    try:
        numbers = tools.storer.undo(person.id)
    except STUDIO_ERRORS as error:
        return jsonify(error=f"Nothing was undone: {error}"), 503
    return jsonify(_describe(state, project, list(numbers)) | {"undone": bool(numbers)})


@routes.get("/status")
def status(number: int) -> Response:
    """Answer what became of the cells with the numbers in the query."""
    state = get_app_state()
    project = state.projects.get(number)
    texts = request.args.get("numbers", "").split(",")[:MOST_AT_ONCE]
    numbers = [int(text) for text in texts if text.isascii() and text.isdecimal()]
    return jsonify(_describe(state, project, [value for value in numbers if value < 2**63]))


def _describe(state: AppState, project: Project, numbers: list[int]) -> dict[str, Any]:
    """What became of cells, and of the tasks that were decided."""
    tools = state.galleries.get(project)
    made = list_decisions(tools.catalogue, numbers)
    cells = {cell.number: cell for cell in tools.catalogue.get_cells(numbers)}
    return {
        "cells": {
            str(value): _describe_cell(cells.get(value), made.get(value)) for value in numbers
        },
        "storing": len(list_whole_tasks(tools.catalogue)),
        "begun": count_begun_tasks(tools.catalogue),
        "problems": [f"Task {task}: {why}" for task, why in tools.storer.problems],
        "away": tools.storer.away,
        "begun_address": url_for("cells.gallery", number=project.id, begun=1, order="newest"),
    }


def _describe_cell(cell: Cell | None, decision: Any) -> dict[str, Any]:
    if cell is not None and cell.state != "detected":
        return {"state": "stored", "kind": cell.state, "label": cell.label}
    if decision is not None:
        return {"state": "decided", "kind": decision.kind, "label": decision.label}
    return {"state": "open", "kind": "", "label": ""}
