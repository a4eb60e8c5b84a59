"""The command that shows some tasks a second time."""

from __future__ import annotations

from typing import Annotated

import typer

from ml_backend.cli import console
from ml_backend.cli.options import JsonOption, ProjectOption
from ml_backend.system.plurals import format_count

app = typer.Typer()


@app.command(epilog="Example: cytoloop repeat --project 1 --share 0.05")
def repeat(
    context: typer.Context,
    project: ProjectOption,
    share: Annotated[
        float, typer.Option(min=0.001, max=1, help="The probability that a task is shown again.")
    ] = 0.05,
    as_json: JsonOption = False,
) -> None:
    """Show a few reviewed tasks again, at random places: do people agree with themselves?"""
    from ml_backend.dataset.repeats import choose_repeats
    from ml_backend.label_studio.client import Studio
    from ml_backend.label_studio.labeling_config import parse_labels
    from ml_backend.state.projects import Projects

    settings = console.load_settings(context)
    projects = Projects(settings.projects_database)
    known = projects.get(project)
    studio = Studio(known.url, known.token)
    labels = parse_labels(studio.get_project(project).label_config)
    chosen = choose_repeats(studio.list_tasks(project), labels.image_key, share)
    ids = studio.import_tasks(project, chosen) if chosen else []
    if ids:
        projects.add_note(project, "publish")  # they get pre-annotations and a place
    result = {"project": project, "share": share, "tasks": ids}
    text = (
        f"{format_count(len(ids), 'task')} will be shown again; "
        f"compare with: cytoloop report agreement --project {project}"
    )
    console.print_result(result, as_json=as_json, text=lambda: text)
