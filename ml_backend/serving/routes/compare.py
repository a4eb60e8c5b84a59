"""Two versions of a project side by side, and the pictures of its tasks."""

from __future__ import annotations

import cv2
from flask import Blueprint, Response, abort, render_template, request

from ml_backend.imaging.decode import UnreadableImage, decode, measure_decoded
from ml_backend.imaging.decode_budget import BUDGET
from ml_backend.registry.versions import UnknownVersion, Version
from ml_backend.serving.app_state import AppState, get_app_state
from ml_backend.serving.project_page.learning import find_earlier_champion
from ml_backend.state.projects import Project

routes = Blueprint("compare", __name__, url_prefix="/projects/<int:number>/compare")

# Tasks that are compared at a time.
MOST_TASKS = 24
_LONGEST_SIDE = 900  # of a picture, px


@routes.get("/")
def show(number: int) -> str:
    """Show what two versions drew, where they differ first."""
    state = get_app_state()
    return render_template("cytoloop/compare.html", **_describe(state, state.projects.get(number)))


@routes.get("/pictures")
def show_pictures(number: int) -> str:
    """Show the pictures alone, for a page that keeps itself up to date."""
    state = get_app_state()
    described = _describe(state, state.projects.get(number))
    return render_template("cytoloop/compared.html", **described)


@routes.get("/<int:task>.jpg")
def picture(number: int, task: int) -> Response:
    """Answer the image of a task, small enough for a page."""
    state = get_app_state()
    gallery = state.galleries.get(state.projects.get(number))
    found = gallery.catalogue.get_task(task)
    if found is None:
        abort(404, "There is no such task.")
    content = gallery.fetch(found[0])
    if isinstance(content, Exception):
        abort(404, str(content))
    try:
        taken = measure_decoded(content)
        if not BUDGET.take(taken, 20.0):
            abort(503, "The memory for images is in use; load the page again.")
        try:
            pixels = decode(content)
        finally:
            BUDGET.give_back(taken)
    except UnreadableImage as error:
        abort(404, str(error))
    scale = min(1.0, _LONGEST_SIDE / max(pixels.shape[:2]))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    answer = Response(encoded.tobytes(), mimetype="image/jpeg")
    answer.headers["Cache-Control"] = "private, max-age=3600"
    return answer


def _describe(state: AppState, project: Project) -> dict:
    registry, number = state.registry, str(project.id)
    champion = registry.get_champion(number) or ""
    versions = [v for v in registry.list_versions(number)[::-1] if not v.weights_removed]
    names = list(dict.fromkeys([champion, *(version.name for version in versions)]))
    names = [name for name in names if registry.has(name)]
    changes = registry.list_changes(number)
    earlier = find_earlier_champion(changes)
    # The older one left: both champions, or before a promotion the champion and the newest version.
    newer = names[:1] if earlier or len(names) < 2 else names[1:]
    right = request.args.get("right") or (newer[0] if newer else "")
    others = [name for name in (earlier, *names) if name and name != right]
    left = request.args.get("left") or (others[0] if others else right)
    for name in {left, right} - {""}:
        if not registry.has(name):
            abort(404, f"There is no version {name}.")
    gallery = state.galleries.get(project)
    tasks = _choose_tasks(state, project, right)
    compared = []
    if left and right and left != right:
        compared = gallery.comparer.compare(left, right, tasks)
        if len(compared) < len(tasks):
            gallery.comparer.start((left, right), tasks)
    return {
        "project": project,
        "names": [*names, *(name for name in (earlier,) if name and name not in names)],
        "left": left,
        "right": right,
        "tasks": tasks,
        "compared": compared,
        "drawing": gallery.comparer.is_drawing,
        "problem": gallery.comparer.problem,
    }


def _choose_tasks(state: AppState, project: Project, right: str) -> list[int]:
    """The tasks that a version was judged by; else reviewed ones, else any."""
    judged: list[int] = []
    try:
        version: Version = state.registry.get(right)
        judged = list(version.decision.get("judged") or [])
    except UnknownVersion:
        pass
    catalogue, _ = state.catalogues.get(project.id)
    there = set(catalogue.list_task_ids())
    chosen = [task for task in judged if task in there]
    chosen += [task for task, *_ in catalogue.list_submitted()]
    chosen += sorted(there)
    return list(dict.fromkeys(chosen))[:MOST_TASKS]
