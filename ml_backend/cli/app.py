"""The commands of the service, and the one console script that joins all commands."""

from __future__ import annotations

import copy
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ml_backend.cli import console
from ml_backend.cli.console import JsonOption, PortOption

if TYPE_CHECKING:
    from ml_backend.registry.versions import Registry

app = typer.Typer()
models_app = typer.Typer(
    no_args_is_help=True,
    help="The versions: list, show, promote, roll back.",
    epilog="Example: cytoloop models list --project 1",
)
app.add_typer(models_app, name="models")

ModelOption = Annotated[
    str,
    typer.Option(
        "--model", help="A version, a .safetensors file, starter:mitosis or starter:tetrads."
    ),
]

StrategyOption = Annotated[
    str | None,
    typer.Option(help="What orders the project's tasks, such as certainty or random."),
]

ProjectOption = Annotated[
    int, typer.Option("--project", help="The project's id, as in its address.")
]


def main() -> None:
    """The console script `cytoloop`."""
    root = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Label Studio with the cells already marked, and corrections that make it better.",
    )

    @root.callback(epilog="Example: cytoloop up --demo")
    def common(
        context: typer.Context,
        data_dir: Annotated[
            Path | None,
            typer.Option(
                "--data-dir",
                envvar="CYTOLOOP_DATA_DIR",
                help="Folder that holds everything; the platform's user data folder by default.",
            ),
        ] = None,
    ) -> None:
        context.obj = data_dir

    # `up` first in --help: it is what people meet first.
    entries = entry_points(group="cytoloop.commands")
    for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
        root.add_typer(entry.load())
    group = typer.main.get_command(root)
    option = next(one for one in group.params if one.name == "data_dir")
    _also_after_commands(group, option)
    console.run(group)


def _also_after_commands(group: Any, option: Any) -> None:
    """Let the data folder be named after a command too, where most people write options."""

    def keep(context: Any, _: Any, value: Path | None) -> None:
        if value is not None:
            context.obj = value

    for command in getattr(group, "commands", {}).values():
        again = copy.copy(option)
        again.expose_value, again.callback = False, keep
        again.envvar = None  # what stands before the command goes before the variable
        command.params.append(again)
        _also_after_commands(command, option)


@app.command(epilog="Example: cytoloop serve --port 9090")
def serve(
    context: typer.Context,
    port: Annotated[int, PortOption(help="Port to listen on.")] = 9090,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the ML backend alone."""
    from ml_backend.serving.server import serve as run
    from ml_backend.system.atomic_files import check_data_folder
    from ml_backend.system.processes import check_port

    settings = console.settings(context)
    check_data_folder(settings.data_dir)
    check_port(port, "the ML backend", "--port or --host", host)
    run(settings, host, port)


@app.command(epilog="Example: cytoloop worker")
def worker(context: typer.Context) -> None:
    """Run the worker alone: it trains, judges, promotes and refreshes."""
    from ml_backend.retraining.worker import work
    from ml_backend.system.atomic_files import check_data_folder

    settings = console.settings(context)
    check_data_folder(settings.data_dir)
    work(settings)


@app.command(
    epilog="Example: cytoloop connect --url http://localhost:8080 --token TOKEN --project 3"
)
def connect(
    context: typer.Context,
    url: Annotated[str, typer.Option(help="Address of Label Studio.")],
    token: Annotated[str, typer.Option(help="Personal access token (Account & Settings).")],
    project: ProjectOption,
    backend_url: Annotated[
        str, typer.Option(help="Address at which Label Studio reaches the ML backend.")
    ] = "http://127.0.0.1:9090",
    strategy: StrategyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Connect a project of a running Label Studio to this backend."""
    from ml_backend.serving.connect import connect as run

    result = run(console.settings(context), url, token, project, backend_url, strategy)
    console.say(result.to_json(), as_json=as_json, text=result.describe)


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
    as_json: JsonOption = False,
) -> None:
    """Train a version: of a project, or on a labelled folder."""
    import time

    from ml_backend.registry.versions import Registry
    from ml_backend.retraining.labelled_folder import train_folder
    from ml_backend.retraining.train_version import Wishes

    if (project is None) == (dataset is None):
        raise typer.BadParameter("give either --project ID or --dataset DIR")
    started = time.monotonic()
    settings = console.settings(context)
    registry = Registry(settings.versions, settings.champions)
    wishes = Wishes(base, epochs, imgsz, name)
    promoted, reasons = False, ["nothing is promoted with --dataset"]
    skipped: list[tuple[str, str]] = []
    changed: list[tuple[str, str]] = []
    lost: list[tuple[str, str]] = []
    with console.progress("Training") as bar:

        def show(step: dict[str, Any]) -> None:
            if "epoch" in step:
                bar(step["epoch"], step["epochs"])
            if "skipped" in step:
                skipped.append((step["skipped"], step["reason"]))

        if dataset is not None:
            version, unread = train_folder(settings, registry, dataset, wishes, show)
            skipped += unread
            snapshot = version.snapshot
        else:
            from ml_backend.retraining.collect import open_submissions
            from ml_backend.retraining.pipeline import Pipeline
            from ml_backend.state.projects import Projects

            assert project is not None
            projects = Projects(settings.projects_database)
            taken = open_submissions(settings, projects, registry).take(project)
            snapshot = taken.name
            pipeline = Pipeline(settings, projects, registry)
            version = pipeline.train(taken, wishes, show)
            decision = pipeline.try_out(version, taken, wishes, show)
            promoted, reasons = decision.promoted, list(decision.reasons)
            if said := taken.describe_missing_side():
                reasons.append(said)
            skipped += [(f"task {task}", reason) for task, reason in taken.left_out]
            changed += [(f"task {i.task}", said) for i in taken.items for said in i.problems]
            lost += [(f"task {task}", reason) for task, reason in taken.lost]
            if promoted:
                pipeline.promote(version.name, project, reasons, by=console.name_user())
            projects.attempted(project, snapshot, reasons[0])
    result = {
        "version": version.name,
        "promoted": promoted,
        "reasons": reasons,
        "seconds": round(time.monotonic() - started, 2),
        "snapshot": snapshot,
        **{
            name: [{"source": source, "reason": reason} for source, reason in told]
            for name, told in (("skipped", skipped), ("changed", changed), ("lost", lost))
        },
    }
    console.say(
        result,
        as_json=as_json,
        text=lambda: "\n".join(
            [
                f"{version.name}, trained in {result['seconds']:.0f} s"
                + (", is the champion now" if promoted else ""),
                *reasons,
                *(f"left out: {source}: {reason}" for source, reason in skipped),
                *(f"not as it was drawn: {source}: {reason}" for source, reason in changed),
                *(f"not held out any more: {source}: {reason}" for source, reason in lost),
            ]
        ),
    )


@app.command(epilog="Example: cytoloop evaluate --dataset my_images --model starter:mitosis")
def evaluate(
    context: typer.Context,
    dataset: Annotated[Path, typer.Option(help="A labelled folder.")],
    model: ModelOption = "starter:mitosis",
    as_json: JsonOption = False,
) -> None:
    """The figures of a model on a labelled folder."""
    from ml_backend.cli import tables
    from ml_backend.retraining.labelled_folder import evaluate_folder

    with console.progress("Evaluating") as bar:
        figures, skipped = evaluate_folder(_registry(context), dataset, model, bar)
    result = {**figures, "skipped": [{"source": s, "reason": r} for s, r in skipped]}
    console.say(result, as_json=as_json, text=lambda: tables.figures(result))


@models_app.command("list", epilog="Example: cytoloop models list --project 1")
def list_models(
    context: typer.Context,
    project: Annotated[
        str | None, typer.Option(help="Only this project's versions and its champion.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """All versions, oldest first."""
    from ml_backend.cli import tables

    registry = _registry(context)
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
    console.say({"models": rows}, as_json=as_json, text=lambda: tables.versions(rows))


@models_app.command("show", epilog="Example: cytoloop models show 1-v2-0a1b2c3d")
def show_model(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="A version, or starter:KIND.")],
    as_json: JsonOption = False,
) -> None:
    """One version: where it comes from, its figures, the decision about it."""
    from ml_backend.cli import tables
    from ml_backend.registry.resolve import resolve_model

    registry = _registry(context)
    found = resolve_model(version, registry)
    result = {**asdict(found), "card": asdict(registry.read_card(found.name))}
    console.say(result, as_json=as_json, text=lambda: tables.version(result))


@models_app.command(epilog="Example: cytoloop models promote 1-v2-0a1b2c3d --project 1")
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

    settings, registry = console.settings(context), _registry(context)
    projects = Projects(settings.projects_database)
    labels = LabelingConfig.parse(projects.get(project).label_config)
    name = resolve_model(version, registry).name
    card = registry.read_card(name)
    if not match_labels(card, labels):
        raise ValueError(
            f"{name} boxes {', '.join(card.headline)}, which project {project} has no label for"
        )
    pipeline = Pipeline(settings, projects, registry)
    pipeline.promote(name, project, ["promoted by hand"], by=console.name_user())
    _say_champion(name, project, as_json)


@models_app.command(epilog="Example: cytoloop models rollback --project 1")
def rollback(
    context: typer.Context,
    project: ProjectOption,
    as_json: JsonOption = False,
) -> None:
    """Go back to the champion before the present one."""
    from ml_backend.state.projects import Projects

    projects = Projects(console.settings(context).projects_database)
    projects.get(project)
    by = console.name_user()
    change = _registry(context).roll_back(str(project), by=by, reason="rolled back by hand")
    projects.leave(project, "publish")
    _say_champion(change.version, project, as_json)


def _registry(context: typer.Context) -> Registry:
    from ml_backend.registry.versions import Registry

    settings = console.settings(context)
    return Registry(settings.versions, settings.champions)


def _say_champion(version: str, project: int, as_json: bool) -> None:
    text = (
        f"{version} is the champion of project {project}; "
        "the worker brings its pre-annotations up to it"
    )
    console.say({"project": project, "champion": version}, as_json=as_json, text=lambda: text)
