"""The command that lists labels which are worth a second look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ml_backend.cli import console
from ml_backend.cli.options import JsonOption
from ml_backend.system.plurals import format_count

app = typer.Typer()


@app.command("second-look", epilog="Example: cytoloop second-look --project 1 --send 50")
def second_look(
    context: typer.Context,
    project: Annotated[
        int | None, typer.Option(help="Check the corrected tasks of this project.")
    ] = None,
    dataset: Annotated[Path | None, typer.Option(help="Check this labelled folder.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="With --dataset: a model that never saw the images; without it two are trained, "
            "each on a part, to check the other one."
        ),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="How many to list.")] = 50,
    send: Annotated[
        int | None,
        typer.Option(min=1, help="Send so many to Label Studio, as questions that a key answers."),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the answers into the annotations.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Labels that may be wrong, the likeliest errors first: missed, swapped or badly placed."""
    from ml_backend.registry.versions import Registry

    if (project is None) == (dataset is None):
        raise typer.BadParameter("give either --project ID or --dataset DIR")
    if dataset is not None and (send or apply):
        raise typer.BadParameter("--send and --apply are for a project of Label Studio")
    if project is not None and model:
        raise typer.BadParameter("--model is for --dataset; a project has its own versions")
    settings = console.load_settings(context)
    registry = Registry.open(settings)
    result: dict[str, Any] = {"skipped": []}
    if dataset is not None:
        from ml_backend.retraining.second_look import look_again_at_folder

        done: dict[int, int] = {}  # passes, by fold
        with console.show_progress("Checking") as bar:

            def follow(step: dict[str, Any]) -> None:
                if "epoch" in step:
                    done[step["fold"]] = step["epoch"]
                    bar(sum(done.values()), step["folds"] * step["epochs"])

            findings, images, skipped = look_again_at_folder(
                settings, registry, dataset, model, follow
            )
        result |= {"dataset": str(dataset), "images": images}
        result["skipped"] = [{"source": source, "reason": reason} for source, reason in skipped]
    else:
        from ml_backend.retraining.second_look import ProjectSecondLook
        from ml_backend.state.projects import Projects

        assert project is not None
        look = ProjectSecondLook(settings, Projects(settings.projects_database), registry, project)
        result |= {"project": project}
        left_out: list[tuple[int, str]] = []
        if apply:
            taken = look.apply()
            result |= {"changed": taken.changed, "confirmed": len(taken.confirmed)}
            left_out += taken.left_out
        if send:
            with console.show_progress("Drawing") as bar:
                url, sent, unread = look.send(send, bar)
            result |= {"url": url, "sent": sent}
            left_out += unread
        findings = look.list_findings()
        result["skipped"] = [
            {"source": f"task {task}", "reason": reason} for task, reason in left_out
        ]
    result |= {
        "total": len(findings),
        "findings": [
            {**finding.to_json(), "reason": finding.issue.reason} for finding in findings[:most]
        ],
    }
    console.print_and_exit(result, as_json=as_json, lines=lambda: _lines(result))


def _lines(result: dict[str, Any]) -> list[str]:
    lines = []
    if "changed" in result:
        changed = format_count(result["changed"], "annotation")
        lines.append(f"{changed} corrected, {result['confirmed']} confirmed as they were")
    if "url" in result:
        lines.append(f"{format_count(result['sent'], 'new question')} at {result['url']}")
    if not result["total"]:
        return [*lines, "nothing is doubtful; a project is looked at whenever a version is judged"]
    shown = result["findings"]
    lines.append(f"{format_count(result['total'], 'label')} worth a second look, the worst first:")
    for row in shown:
        where = f"task {row['task']}" if "project" in result else row["image"]
        place = row["issue"]["box"] or row["issue"]["suggested_box"]
        at = f" at {place[0]:.0f}, {place[1]:.0f}" if place else ""
        lines.append(f"  {row['issue']['score']:.2f}  {where}{at}: {row['reason']}")
    return lines
