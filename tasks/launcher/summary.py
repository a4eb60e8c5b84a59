"""What `cytoloop up` prints when everything runs: where to log in, and how to go on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.panel import Panel

from ml_backend.label_studio.installation import Account
from ml_backend.serving.connect import ConnectedProject
from ml_backend.settings import Settings
from tasks.launcher.import_images import ImportResult

# Of images that were left out, so many are named.
_NAMED = 5


def render_summary(
    connection: ConnectedProject,
    result: ImportResult,
    *,
    address: str,
    account: Account,
    settings: Settings,
    origin: str,
    advice: str = "",
    left_out: Sequence[tuple[str, str]],
) -> Panel:
    """Lay out the summary.

    Args:
        connection: The connected project.
        result: What became of its images.
        address: The address of the project in Label Studio.
        account: The account to log in with.
        settings: Of the data folder.
        origin: Where the images come from, in a sentence; "" where the user knows.
        advice: What to do where no shipped detector knows these images; "" where one does.
        left_out: (task, reason) of the tasks that cannot be pre-annotated.
    """
    lines = [
        f"[bold]Label Studio[/]  {address}",
        f"[bold]Login[/]         {account.username}",
        f"[bold]Password[/]      {escape(account.password)}",
        f"[bold]Data folder[/]   {escape(str(settings.data_dir))}",
        "[bold]How it learns[/] the link below, or: cytoloop page",
        "",
    ]
    if result != ImportResult():
        lines.append(result.describe())
    if origin:
        lines.append(escape(origin))
    if connection.trained or not advice:  # which says it too
        lines.append(escape(connection.describe_labels()))
    lines += _list_problems("could not be read", result.unreadable)
    lines += _list_problems("could not be pre-annotated", left_out)
    if advice:
        lines += ["", f"[yellow]{escape(advice)}[/]"]
    tasks = connection.project.tasks + result.new
    lines += ["", *_list_steps(connection, tasks, settings.retrain_after, known=not advice)]
    return Panel("\n".join(lines), title="cytoloop is up", expand=False)


def _list_steps(
    connection: ConnectedProject, tasks: int, retrain_after: int, *, known: bool
) -> list[str]:
    """What to do now. known: what pre-annotates the project knows such images."""
    end = "Ctrl-C here ends everything."
    if not tasks:
        number = connection.project.id
        return [
            "The project is empty: import images in Label Studio, or send a scan with cytoloop "
            f"scan FOLDER --project {number}. {end}"
        ]
    marked = connection.trained and known
    if connection.is_boxed:
        task = "correct its boxes" if marked else "box its cells"
        if connection.has_region_choices:
            task += " and what is chosen of each" if marked else " and choose for each what it is"
    else:
        task = "check its choice" if marked else "choose its class"
    version = "a better version" if marked else "a first version"
    after = f"After {retrain_after} corrected tasks {version} is trained; for one sooner"
    if tasks < retrain_after:
        after = f"To have {version} trained"
    steps = [
        f"Open the first task, {task}, press Submit, and go on with the next. {after}, press Start "
        f"training (on the page below, or Settings, Model). {end}"
    ]
    if marked and connection.is_boxed:
        steps.append(
            "A few images come without boxes on purpose (see 'blind'): mark all their cells."
        )
    return steps


def _list_problems(title: str, problems: Sequence[tuple[str, str]]) -> list[str]:
    """How many there are, and the first of them."""
    if not problems:
        return []
    lines = [f"[yellow]{len(problems)} {title}:[/]"]
    lines += [f"  {escape(name)}: {escape(reason)}" for name, reason in problems[:_NAMED]]
    return lines + (["  ..."] if len(problems) > _NAMED else [])
