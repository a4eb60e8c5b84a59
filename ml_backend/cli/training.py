"""The commands that train a version and evaluate one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ml_backend.cli import console
from ml_backend.cli.options import JsonOption, ModelOption, TaskOption

if TYPE_CHECKING:
    from ml_backend.registry.versions import Registry
    from ml_backend.retraining.labelled_folder import Task
    from ml_backend.retraining.train_version import Wishes
    from ml_backend.settings import Settings

app = typer.Typer()


@app.command(epilog="Example: cytoloop train --dataset my_images --base starter:mitosis")
def train(
    context: typer.Context,
    project: Annotated[
        int | None, typer.Option(help="Train on the corrected tasks of this project.")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Train on this labelled folder; nothing is promoted.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="Model to start from: a version, a .safetensors or .npz file, starter:KIND."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the images; else the recipe's.")
    ] = None,
    imgsz: Annotated[
        int | None,
        typer.Option(min=64, help="Longest image side at the network, px; else the recipe's."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="A word for the version's name.")] = None,
    task: TaskOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a version: of a project, or on a labelled folder."""
    from ml_backend.registry.versions import Registry
    from ml_backend.retraining.train_version import Wishes

    if (project is None) == (dataset is None):
        raise typer.BadParameter("give either --project ID or --dataset DIR")
    if task and project is not None:
        raise typer.BadParameter("a project's labels say what is learned; leave --task out")
    started = time.monotonic()
    settings = console.load_settings(context)
    registry = Registry.open(settings)
    wishes = Wishes(base, epochs, imgsz, name)
    skipped: list[tuple[str, str]] = []
    with console.show_progress("Training") as bar:

        def follow(step: dict[str, Any]) -> None:
            if "fold" in step:
                return  # of a model that is trained beside it, on some of the same images
            if "epoch" in step:
                bar(step["epoch"], step["epochs"])
            if "skipped" in step:
                skipped.append((step["skipped"], step["reason"]))

        if dataset is not None:
            outcome = _train_on_folder(settings, registry, dataset, wishes, follow, task)
        else:
            assert project is not None
            outcome = _train_on_project(settings, registry, project, wishes, follow)
    outcome.skipped[:0] = skipped
    seconds = round(time.monotonic() - started, 2)
    console.print_result(
        outcome.to_json(seconds), as_json=as_json, text=lambda: outcome.describe(seconds)
    )


@dataclass
class _Outcome:
    """What came of a training, with (source, reason) of what could not be used as it was."""

    version: str
    snapshot: str | None
    reasons: list[str]
    promoted: bool = False
    skipped: list[tuple[str, str]] = field(default_factory=list)
    changed: list[tuple[str, str]] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)

    def to_json(self, seconds: float) -> dict[str, Any]:
        def list_sources(rows: list[tuple[str, str]]) -> list[dict[str, str]]:
            return [{"source": source, "reason": reason} for source, reason in rows]

        return {
            "version": self.version,
            "promoted": self.promoted,
            "reasons": self.reasons,
            "seconds": seconds,
            "snapshot": self.snapshot,
            "skipped": list_sources(self.skipped),
            "changed": list_sources(self.changed),
            "lost": list_sources(self.lost),
        }

    def describe(self, seconds: float) -> str:
        now_champion = ", is the champion now" if self.promoted else ""
        lines = [f"{self.version}, trained in {seconds:.0f} s{now_champion}", *self.reasons]
        for words, rows in (
            ("left out", self.skipped),
            ("not as it was drawn", self.changed),
            ("not held out any more", self.lost),
        ):
            lines += [f"{words}: {source}: {reason}" for source, reason in rows]
        return "\n".join(lines)


def _train_on_folder(
    settings: Settings,
    registry: Registry,
    dataset: Path,
    wishes: Wishes,
    progress: Callable[[dict[str, Any]], None],
    task: Task | None,
) -> _Outcome:
    from ml_backend.retraining.labelled_folder import train_folder

    version, unread = train_folder(settings, registry, dataset, wishes, progress, task)
    reasons = [
        "no project uses it by itself; use it with "
        f"cytoloop detect --model {version.name}, or give it to a project whose labels fit: "
        f"cytoloop models promote {version.name} --project 1"
    ]
    return _Outcome(version.name, version.snapshot, reasons, skipped=unread)


def _train_on_project(
    settings: Settings,
    registry: Registry,
    project: int,
    wishes: Wishes,
    progress: Callable[[dict[str, Any]], None],
) -> _Outcome:
    """Train on the project's corrected tasks, and promote the version if it is better."""
    from ml_backend.retraining.collect import open_collector
    from ml_backend.retraining.pipeline import Pipeline
    from ml_backend.state.projects import Projects

    projects = Projects(settings.projects_database)
    snapshot = open_collector(settings, projects, registry).take_snapshot(project)
    pipeline = Pipeline(settings, projects, registry)
    version = pipeline.train(snapshot, wishes, progress)
    decision = pipeline.try_out(version, snapshot, wishes, progress)
    reasons = list(decision.reasons)
    if warning := snapshot.describe_missing_side():
        reasons.append(warning)
    if decision.promoted:
        pipeline.promote(version.name, project, reasons, by=console.name_user())
    projects.record_attempt(project, snapshot.name, reasons[0])
    return _Outcome(
        version.name,
        snapshot.name,
        reasons,
        decision.promoted,
        skipped=[(f"task {task}", reason) for task, reason in snapshot.left_out],
        changed=[
            (f"task {item.task}", problem) for item in snapshot.items for problem in item.problems
        ],
        lost=[(f"task {task}", reason) for task, reason in snapshot.lost],
    )


@app.command(epilog="Example: cytoloop evaluate --dataset my_images --model starter:mitosis")
def evaluate(
    context: typer.Context,
    dataset: Annotated[Path, typer.Option(help="A labelled folder.")],
    model: ModelOption = "starter:mitosis",
    task: TaskOption = None,
    beside: Annotated[
        str | None,
        typer.Option(
            help="With a classifier of images: a detector whose boxes answer the same question."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The figures of a model on a labelled folder."""
    from ml_backend.cli import tables
    from ml_backend.registry.versions import Registry
    from ml_backend.retraining.labelled_folder import evaluate_folder

    settings = console.load_settings(context)
    registry = Registry.open(settings)
    with console.show_progress("Evaluating") as bar:
        figures, skipped = evaluate_folder(registry, dataset, model, bar, task, beside)
    rows = [{"source": source, "reason": reason} for source, reason in skipped]
    result = {**figures, "skipped": rows}
    console.print_result(result, as_json=as_json, text=lambda: tables.render_figures(result))
