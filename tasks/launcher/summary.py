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
    lines.append(escape(connection.describe_labels()))
    lines += _list_problems("could not be read", result.unreadable)
    lines += _list_problems("could not be pre-annotated", left_out)
    if advice:
        lines += ["", f"[yellow]{escape(advice)}[/]"]
    marked = connection.trained and not advice
    if connection.is_boxed:
        task = "correct its boxes" if marked else "box its cells"
    else:
        task = "check its choice" if marked else "choose its class"
    model = "a better" if marked else "a first"
    after = (
        f"After {settings.retrain_after} corrected tasks {model} version is trained, sooner with"
    )
    if connection.project.tasks + result.new < settings.retrain_after:
        after = f"To have {model} version trained:"
    lines += [
        "",
        f"Open the first task, {task}, press Submit, and go on with the next. {after} press "
        "Start training (on the page below, or Settings, Model). Ctrl-C here ends everything.",
    ]
    if marked and connection.is_boxed:
        lines.append(
            "A few images come without boxes on purpose (see 'blind'): mark all their cells."
        )
    return Panel("\n".join(lines), title="cytoloop is up", expand=False)


def _list_problems(title: str, problems: Sequence[tuple[str, str]]) -> list[str]:
    """How many there are, and the first of them."""
    if not problems:
        return []
    lines = [f"[yellow]{len(problems)} {title}:[/]"]
    lines += [f"  {escape(name)}: {escape(reason)}" for name, reason in problems[:_NAMED]]
    return lines + (["  ..."] if len(problems) > _NAMED else [])
