"""The commands about versions: list, show, promote, roll back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ml_backend.cli import console
from ml_backend.cli.options import JsonOption, ProjectOption

if TYPE_CHECKING:
    from ml_backend.registry.versions import Registry

app = typer.Typer(
    no_args_is_help=True,
    help="The versions: list, show, promote, roll back.",
    epilog="Example: cytoloop models list --project 1",
)


@app.command("list", epilog="Example: cytoloop models list --project 1")
def list_models(
    context: typer.Context,
    project: Annotated[
        str | None, typer.Option(help="Only this project's versions and its champion.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """All versions, oldest first."""
    from ml_backend.cli import tables

    registry = _open_registry(context)
    rows = [
        {
            "project": version.project,
            "version": version.name,
            "champion": bool(registry.list_projects_led_by(version.name)),
            "created": version.created,
            "f1": version.figures.get("f1"),
        }
        for version in registry.list_versions()
        if project in (None, version.project, *registry.list_projects_led_by(version.name))
    ]
    console.print_result(
        {"models": rows}, as_json=as_json, text=lambda: tables.render_versions(rows)
    )


@app.command("show", epilog="Example: cytoloop models show 1-v2-0a1b2c3d")
def show_model(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="A version, or starter:KIND.")],
    as_json: JsonOption = False,
) -> None:
    """One version: where it comes from, its figures, the decision about it."""
    from ml_backend.cli import tables
    from ml_backend.registry.resolve import resolve_model

    registry = _open_registry(context)
    resolved = resolve_model(version, registry)
    result = {**asdict(resolved), "card": asdict(registry.read_card(resolved.name))}
    console.print_result(result, as_json=as_json, text=lambda: tables.render_version(result))


@app.command(epilog="Example: cytoloop models promote 1-v2-0a1b2c3d --project 1")
def promote(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="The version to make the champion.")],
    project: ProjectOption,
    as_json: JsonOption = False,
) -> None:
    """Make a version the champion of a project."""
    from ml_backend.label_studio.labeling_config import LabelingConfig
    from ml_backend.learners.kinds import match_labels
    from ml_backend.registry.resolve import resolve_model
    from ml_backend.retraining.pipeline import Pipeline
    from ml_backend.state.projects import Projects

    settings, registry = console.load_settings(context), _open_registry(context)
    projects = Projects(settings.projects_database)
    labels = LabelingConfig.parse(projects.get(project).label_config)
    name = registry.get_loadable(resolve_model(version, registry).name).name
    card = registry.read_card(name)
    if not match_labels(card, labels):
        raise ValueError(
            f"{name} finds {', '.join(card.headline)}, which project {project} has no label for: "
            "add one of that name under Settings, Labeling Interface"
        )
    pipeline = Pipeline(settings, projects, registry)
    pipeline.promote(name, project, ["promoted by hand"], by=console.name_user())
    _print_champion(name, project, as_json)


@app.command(epilog="Example: cytoloop models rollback --project 1")
def rollback(
    context: typer.Context,
    project: ProjectOption,
    as_json: JsonOption = False,
) -> None:
    """Go back to the champion before the present one."""
    from ml_backend.state.projects import Projects

    projects = Projects(console.load_settings(context).projects_database)
    projects.get(project)
    by = console.name_user()
    change = _open_registry(context).roll_back(str(project), by=by, reason="rolled back by hand")
    projects.add_note(project, "publish")
    _print_champion(change.version, project, as_json)


def _open_registry(context: typer.Context) -> Registry:
    from ml_backend.registry.versions import Registry

    settings = console.load_settings(context)
    return Registry.open(settings)


def _print_champion(version: str, project: int, as_json: bool) -> None:
    text = (
        f"{version} is the champion of project {project}; "
        "the worker brings its pre-annotations up to it"
    )
    console.print_result(
        {"project": project, "champion": version}, as_json=as_json, text=lambda: text
    )
