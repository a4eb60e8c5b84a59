"""The commands that run the service: the ML backend, its worker, and connecting a project."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ml_backend.cli import console
from ml_backend.cli.options import (
    AnnotationsOption,
    GoalOption,
    JsonOption,
    PortOption,
    ProjectOption,
    StrategyOption,
)

app = typer.Typer()


@app.command(epilog="Example: cytoloop serve --port 9090")
def serve(
    context: typer.Context,
    port: Annotated[int, PortOption(help="Port to listen on.")] = 9090,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the ML backend alone."""
    from ml_backend.label_studio.http import LOOPBACK
    from ml_backend.serving.server import serve as run
    from ml_backend.system.atomic_files import check_data_folder
    from ml_backend.system.processes import check_port

    settings = console.load_settings(context)
    check_data_folder(settings.data_dir)
    check_port(port, "the ML backend", "--port or --host", host)
    if host not in LOOPBACK and settings.tls_certificate is None:
        _warn_of_plain_text(host, port)
    scheme = "http" if settings.tls_certificate is None else "https"
    console.open_stderr().print(
        f"The ML backend serves {settings.data_dir} on {scheme}://{host}:{port} until Ctrl-C; "
        "cytoloop page opens its pages.",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    run(settings, host, port)


def _warn_of_plain_text(host: str, port: int) -> None:
    from rich.panel import Panel

    text = (
        f"The ML backend listens on {host}:{port} WITHOUT ENCRYPTION. Whoever sees the network's "
        "traffic reads its password and every image and box, and can change them.\n\n"
        "Set CYTOLOOP_TLS_CERTIFICATE and CYTOLOOP_TLS_KEY, put a proxy with TLS before it, or "
        "serve on 127.0.0.1. See docs/security.md."
    )
    console.open_stderr().print(Panel(text, title="WARNING", border_style="bold red"))


@app.command(epilog="Example: cytoloop worker")
def worker(context: typer.Context) -> None:
    """Run the worker alone: it trains, judges, promotes and refreshes."""
    from ml_backend.retraining.worker import work
    from ml_backend.system.atomic_files import check_data_folder

    settings = console.load_settings(context)
    check_data_folder(settings.data_dir)
    work(settings)


@app.command(epilog="Example: cytoloop connect --url http://localhost:8080 --token - --project 3")
def connect(
    context: typer.Context,
    url: Annotated[str, typer.Option(help="Address of Label Studio.")],
    token: Annotated[
        str,
        typer.Option(
            envvar="CYTOLOOP_LABEL_STUDIO_TOKEN",
            help="Personal access token (Account & Settings). Better in the variable, or '-' to "
            "be asked for it or to read it from standard input: what stands in a command line is "
            "seen by other users of the machine.",
        ),
    ],
    project: ProjectOption,
    backend_url: Annotated[
        str, typer.Option(help="Address at which Label Studio reaches the ML backend.")
    ] = "http://127.0.0.1:9090",
    poll: Annotated[
        bool,
        typer.Option(
            "--poll",
            help="Label Studio calls nobody: the worker asks it what changed. For a hosted one, or "
            "one whose protection refuses this machine's address.",
        ),
    ] = False,
    strategy: StrategyOption = None,
    goal: GoalOption = None,
    annotations: AnnotationsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Connect a project of a running Label Studio to this backend."""
    from ml_backend.serving.connect import connect as run

    settings = console.load_settings(context)
    token = _read_token() if token == "-" else token  # noqa: S105 (a dash is none)
    address = None if poll else backend_url
    result = run(settings, url, token, project, address, strategy, goal, annotations)
    console.print_result(result.to_json(), as_json=as_json, text=result.describe)


@app.command(epilog="Example: cytoloop page")
def page(
    context: typer.Context,
    backend_url: Annotated[
        str | None,
        typer.Option(
            help="Address at which your browser reaches the ML backend; else the one that Label "
            "Studio knows.",
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Open the page of the projects, logged in by a link that works once."""
    import webbrowser

    from ml_backend.label_studio.client import Studio
    from ml_backend.label_studio.inspection import find_backend
    from ml_backend.state.login_links import make_link_secret
    from ml_backend.state.projects import Projects

    settings = console.load_settings(context)
    projects = Projects(settings.projects_database).list_projects()
    if not projects:
        raise ValueError("no project is connected yet: run cytoloop connect, or cytoloop up --demo")
    studio = Studio(projects[0].url, projects[0].token)
    if backend_url is None:
        backend_url = find_backend(studio.session, projects[0].id) or "http://127.0.0.1:9090"
    person = studio.get_person()
    secret = make_link_secret(settings.login_links, person)
    link = f"{backend_url.rstrip('/')}/login?link={secret}"
    if browser:
        webbrowser.open(link)
    text = f"{link}\nIt logs {person.email} in once, within an hour."
    result = {"link": link, "user": person.email}
    console.print_result(result, as_json=as_json, text=lambda: text)


def _read_token() -> str:
    """Ask for the token at the terminal, where it is not shown; else read it from stdin.

    Raises:
        ValueError: There is none.
    """
    terminal = sys.stdin is not None and sys.stdin.isatty()
    token = typer.prompt("Token", hide_input=True) if terminal else sys.stdin.readline()
    if not token.strip():
        raise ValueError("there is no token on standard input")
    return token.strip()
