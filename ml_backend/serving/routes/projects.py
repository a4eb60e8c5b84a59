"""The pages of one project, and what a person may start from them."""

from __future__ import annotations

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)

from ml_backend.evaluation.bootstrap import FEWEST_GROUPS
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.learners.kinds import match_labels
from ml_backend.registry.versions import UnknownVersion, WeightsRemoved
from ml_backend.serving.access.browser_session import get_name
from ml_backend.serving.app_state import get_app_state
from ml_backend.serving.project_page.learning import describe_learning, find_earlier_champion
from ml_backend.serving.project_page.now import describe_now
from ml_backend.state.questions import Questions

routes = Blueprint("projects", __name__, url_prefix="/projects/<int:number>")

# What changed the champion, in words.
_WHAT = {"promotion": "promotion of {}", "rollback": "rollback to {}"}


@routes.get("/")
def show(number: int) -> str:
    """Show a project: what happens now, and what it has learned."""
    state = get_app_state()
    project = state.projects.get(number)
    catalogue, _ = state.catalogues.get(number)
    return render_template(
        "cytoloop/project.html",
        project=project,
        now=describe_now(state, project),
        learning=describe_learning(state.registry, project, catalogue),
        estimate=state.projects.get_estimate(number),
        fewest_groups=FEWEST_GROUPS,
        questions=Questions.read(state.settings.questions, number).project,
    )


@routes.get("/now")
def show_now(number: int) -> str | tuple[str, int]:
    """Show what happens now alone, for a page that keeps itself up to date.

    A page that came before anything was read (`empty` in the query) is to be loaded again then.
    """
    state = get_app_state()
    now = describe_now(state, state.projects.get(number))
    if "empty" in request.args and now.counts.tasks and now.reading.finished:
        return "", 205
    return render_template("cytoloop/now.html", now=now, project=now.project)


@routes.get("/versions/")
def versions(number: int) -> str:
    """List the versions of a project, with who changed the champion and why."""
    state = get_app_state()
    project = state.projects.get(number)
    catalogue, _ = state.catalogues.get(number)
    history = [
        (change.at, _WHAT[change.kind].format(change.version), change.by, change.reason)
        for change in state.registry.list_changes(str(number))
    ]
    history += [(at, what, person, "") for what, person, at in state.projects.list_requests(number)]
    history += [
        (at, "training", "cytoloop", outcome)
        for outcome, at in state.projects.list_attempts(number)
    ]
    return render_template(
        "cytoloop/versions.html",
        project=project,
        learning=describe_learning(state.registry, project, catalogue),
        history=sorted(history, reverse=True),
    )


@routes.get("/versions/<name>")
def version(number: int, name: str) -> str:
    """Show one version: where it comes from, how it was judged, and what became of it."""
    state = get_app_state()
    project = state.projects.get(number)
    try:
        found = state.registry.get(name)
    except UnknownVersion:
        abort(404, f"There is no version {name} of this project.")
    return render_template(
        "cytoloop/version.html",
        project=project,
        version=found,
        champion=state.registry.get_champion(str(number)),
    )


@routes.get("/confirm/<any(train, promote, rollback):action>")
def confirm(number: int, action: str) -> str:
    """Ask before something is started or changed."""
    state = get_app_state()
    project = state.projects.get(number)
    champion = state.registry.get_champion(str(number)) or ""
    history = state.registry.list_changes(str(number))
    earlier = find_earlier_champion(history)
    wanted = request.args.get("version", "")
    if action == "promote":
        try:
            state.registry.get_loadable(wanted)
        except UnknownVersion:
            abort(404, "There is no such version.")
        except WeightsRemoved as error:
            abort(409, f"It cannot be promoted: {error}.")
    if action == "rollback" and not earlier:
        abort(404, "There is no earlier champion to go back to.")
    return render_template(
        "cytoloop/confirm.html",
        project=project,
        action=action,
        version=wanted if action == "promote" else earlier,
        champion=champion,
    )


@routes.post("/train")
def train(number: int) -> Response:
    """Ask the worker for a training."""
    state = get_app_state()
    project = state.projects.get(number)
    state.projects.add_note(number, "train")
    state.projects.record_request(number, "training asked for", get_name())
    flash(f"Asked for a training of {project.title}; it begins in a moment.")
    return _back(number)


@routes.post("/promote")
def promote(number: int) -> Response:
    """Make a version the champion."""
    state = get_app_state()
    project = state.projects.get(number)
    name = request.form.get("version", "")
    try:
        card = state.registry.read_card(state.registry.get_loadable(name).name)
    except UnknownVersion:
        abort(404, "There is no such version.")
    except WeightsRemoved as error:
        flash(f"Nothing was changed: {error}.", "problem")
        return _back(number)
    if not match_labels(card, parse_labels(project.label_config)):
        found = ", ".join(card.headline)
        flash(f"{name} finds {found}, which this project has no label for.", "problem")
        return _back(number)
    state.registry.promote(str(number), name, by=get_name(), reason="promoted on the page")
    state.projects.add_note(number, "publish")
    flash(f"{name} is the champion now; its boxes come into Label Studio by and by.")
    return _back(number)


@routes.post("/rollback")
def rollback(number: int) -> Response:
    """Go back to the champion before."""
    state = get_app_state()
    state.projects.get(number)
    of = request.form.get("of") or None
    try:
        change = state.registry.roll_back(
            str(number), by=get_name(), reason="rolled back on the page", of=of
        )
    except (UnknownVersion, WeightsRemoved) as error:
        flash(f"Nothing was changed: {error}.", "problem")
        return _back(number)
    state.projects.add_note(number, "publish")
    flash(f"{change.version} is the champion again.")
    return _back(number)


def _back(number: int) -> Response:
    current_app.logger.info("project %s: %s by %s", number, request.endpoint, get_name())
    return make_response(redirect(url_for("projects.show", number=number), 303))
