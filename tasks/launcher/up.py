"""`cytoloop up`: Label Studio, backend and worker, and a project whose cells are marked.

Everything that may be wrong is looked at before anything is started, and everything
that was started ends together: with Ctrl-C, or when one of the three dies.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import webbrowser
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from ml_backend.active_learning.strategies.table import find_strategy
from ml_backend.cli import console
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.http import studio_http
from ml_backend.label_studio.installation import StudioEnvironment
from ml_backend.label_studio.session import ProjectGone
from ml_backend.registry.resolve import resolve
from ml_backend.registry.starters import choose_starter
from ml_backend.registry.versions import Registry
from ml_backend.serving.connect import Connection, connect, parse
from ml_backend.serving.preannotation import QUEUED
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.state.training_progress import running
from ml_backend.system.atomic_files import check_data_folder, read_json, write_json
from ml_backend.system.plurals import format_count
from ml_backend.system.processes import Children, Process, check_port
from tasks.launcher.import_images import Intake, Source, sources, take_in
from tasks.launcher.worker_log import News, doing

TITLES = {
    "mitosis": "Dividing cells",
    "phases": "Phases of mitosis",
    "tetrads": "Tetrads",
}

# Without a single new pre-annotation for so many seconds, the rest is left to the worker.
_PATIENCE = 120.0


class UpFailed(RuntimeError):
    """One line that says what is in the way."""


@dataclass(frozen=True)
class Options:
    """What the command line asked for. labels: a ready-made config's name, or an XML file.

    strategy: what orders the project's tasks from now on; None leaves it as it is.
    """

    demo: bool = False
    images: Path | None = None
    labels: str = "mitosis"
    port: int = 8080
    backend_port: int = 9090
    browser: bool = True
    strategy: str | None = None


def up(options: Options, settings: Settings) -> None:
    """Start everything and stay until Ctrl-C.

    Raises UpFailed, PortTaken, StudioError and what `connect` raises, all in one line.
    """
    label_config = read_labels(options.labels)
    find_strategy(options.strategy or settings.strategy)
    if options.images and not options.images.is_dir():
        raise UpFailed(f"{options.images} is not a folder of images")
    if options.images and not sources(options.images)[0]:
        raise UpFailed(f"there are no images in {options.images}")
    children = Children(settings.data_dir / "children.json")
    with _alone(settings), _ended_by_signals():
        children.end_orphans()
        for port, what, option in (
            (options.port, "Label Studio", "--port"),
            (options.backend_port, "the ML backend", "--backend-port"),
        ):
            check_port(port, what, option)
        if options.port == options.backend_port:
            raise UpFailed("--port and --backend-port must differ")
        try:
            home = Home(options, settings, children)
            home.start(label_config)
            home.fill(label_config)
            home.watch()
        except KeyboardInterrupt:
            console.open_stderr().print("Ending Label Studio, the backend and the worker ...")
        finally:
            children.end()


class Home:
    """One data folder's Label Studio, backend and worker, while they run."""

    def __init__(self, options: Options, settings: Settings, children: Children) -> None:
        self._options = options
        self._settings = settings
        self._children = children
        self._say = console.open_stderr().print
        self._environment = StudioEnvironment(settings.studio, settings.label_studio_env)
        self._state_file = settings.studio / "home.json"
        self._projects = Projects(settings.projects_database)

    @property
    def _backend_url(self) -> str:
        return f"http://127.0.0.1:{self._options.backend_port}"

    # Starting.

    def start(self, label_config: str) -> None:
        """Install Label Studio where it is not; start it and the backend."""
        if not self._environment.installed():
            self._install()
        logs = self._settings.logs
        with console.open_stderr().status("Starting Label Studio and the ML backend"):
            studio = self._environment.start(
                self._options.port, self._settings.media, logs / "label-studio.log"
            )
            self._children.add("Label Studio", studio)
            self._start_own("ML backend", "serve", "--port", str(self._options.backend_port))
            # The starter's files for serving are made meanwhile; it takes torch some seconds.
            with ThreadPoolExecutor(1) as pool:
                made = pool.submit(self._make_starter, label_config)
                self._environment.wait_ready()
                made.result()
            self.account = self._environment.account()
            self.studio = Studio(self._environment.url, self.account.token)
        self._move()

    def _install(self) -> None:
        with console.open_stderr().status("Installing Label Studio (once, about 0.5 GB)") as status:
            self._environment.ensure(
                lambda line: status.update(f"Installing Label Studio (once): {line[:60]}")
            )

    def _make_starter(self, label_config: str) -> None:
        registry = Registry(self._settings.versions, self._settings.champions)
        if starter := choose_starter(parse(label_config)):
            resolve(starter, registry)

    def _start_own(self, name: str, *command: str) -> None:
        folder = str(self._settings.data_dir)
        child = Process.start(
            [sys.executable, "-P", "-m", "ml_backend", "--data-dir", folder, *command],
            self._settings.logs / f"{command[0]}.log",
            dict(os.environ),
            self._settings.data_dir,
        )
        self._children.add(name, child)

    def _move(self) -> None:
        """Our own Label Studio may answer on another port, or with another token, now."""
        state = read_json(self._state_file, {})
        url, token = self._environment.url, self.account.token
        self._projects.move(state.get("url", url), url, token)
        write_json(self._state_file, state | {"url": url})

    # The project.

    def fill(self, label_config: str) -> None:
        """The project, connected, with its images, pre-annotated; and say how to go on."""
        connection = self._project(label_config)
        number = connection.project.id
        self._start_own("worker", "worker")
        origin, images, passed_over = self._images()
        intake = self._take_in(images, number, connection)
        self._projects.leave(number, "publish")
        if connection.trained:
            self._wait_pre_annotated(connection)
        intake = replace(intake, bad=(*passed_over, *intake.bad))
        Console().print(self._panel(connection, intake, origin))
        if self._options.browser:
            webbrowser.open(self._address(number))

    def _project(self, label_config: str) -> Connection:
        """The project for these labels: the one made by an earlier start, else a new one."""
        state = read_json(self._state_file, {})
        name = project_name(self._options)
        number = state.get("projects", {}).get(name)
        with suppress(ProjectGone):
            if number is not None:
                self.studio.project(number)
                return self._connect(number)
        kind = TITLES.get(self._options.labels, Path(self._options.labels).stem)
        # Label Studio wants three characters at least.
        title = f"{kind} (demo)" if self._options.demo else kind
        number = self.studio.create_project(f"{title:_<3}", label_config).id
        state.setdefault("projects", {})[name] = number
        write_json(self._state_file, state)
        return self._connect(number)

    def _connect(self, number: int) -> Connection:
        folder = self._settings.media / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        self.studio.add_media_folder(number, folder)
        with console.open_stderr().status("Connecting the project"):
            self._wait_for_backend()
            url, token = self._environment.url, self.account.token
            strategy = self._options.strategy
            return connect(self._settings, url, token, number, self._backend_url, strategy)

    def _wait_for_backend(self) -> None:
        deadline = time.monotonic() + 60
        with studio_http(self._backend_url, 5) as http:
            while time.monotonic() < deadline:
                self._children.check()
                with suppress(Exception):
                    if http.get(f"{self._backend_url}/health").status_code == 200:
                        return
                time.sleep(0.1)
        log = self._children.log("ML backend")
        raise UpFailed(f"the ML backend does not answer on {self._backend_url}; see {log}")

    def _images(self) -> tuple[str, list[Source], list[tuple[str, str]]]:
        """Where the images come from, in words, the images, and what was passed over."""
        if self._options.images:
            return "", *sources(self._options.images)
        if not self._options.demo:
            return "", [], []
        from ml_backend.demo.demo_images import demo_images

        folder = self._settings.data_dir / "demo"
        with console.show_progress("Demo images") as bar:
            demo = demo_images(folder, bar)
        return demo.origin, *sources(folder / ("real" if demo.real else "generated"))

    def _take_in(self, images: list[Source], number: int, connection: Connection) -> Intake:
        if not images:
            return Intake(0, 0, 0, ())
        with console.show_progress("Importing images") as bar:
            return take_in(
                images,
                self.studio,
                number,
                image_key=parse(connection.project.label_config).image_key,
                media=self._settings.media,
                holdout_share=self._settings.holdout_share,
                blind_share=self._settings.blind_share,
                progress=bar,
            )

    def _wait_pre_annotated(self, connection: Connection) -> None:
        """Until every untouched task has its pre-annotation, or is left out with a reason."""
        number, version = connection.project.id, connection.version
        total = self.studio.count_untouched(number)
        best, moved = total + 1, time.monotonic()
        with console.show_progress("Pre-annotating") as bar:
            while True:
                self._children.check()
                waiting = self.studio.count_untouched(number, without=version)
                open_tasks = max(0, waiting - len(self._left_out(number)))
                bar(total - open_tasks, total)
                if open_tasks == 0:
                    return
                if open_tasks < best:
                    best, moved = open_tasks, time.monotonic()
                if time.monotonic() - moved > _PATIENCE:
                    log = self._children.log("worker")
                    left = format_count(open_tasks, "task")
                    self._say(f"not pre-annotated yet: {left}; see {log}")
                    return
                time.sleep(0.5)

    def _left_out(self, number: int) -> list[dict[str, Any]]:
        listed = self._projects.left_out(number, limit=1_000_000)
        return [one for one in listed if one["reason"] != QUEUED]

    # Saying how to go on.

    def _address(self, number: int) -> str:
        return f"{self._environment.url}/projects/{number}/data"

    def _panel(self, connection: Connection, intake: Intake, origin: str) -> Panel:
        number = connection.project.id
        lines = [
            f"[bold]Label Studio[/]  {self._address(number)}",
            f"[bold]Login[/]         {self.account.username}",
            f"[bold]Password[/]      {escape(self.account.password)}",
            f"[bold]Data folder[/]   {escape(str(self._settings.data_dir))}",
            "",
            intake.text(),
        ]
        if origin:
            lines.append(escape(origin))
        lines.append(escape(connection.labels_text()))
        lines += _listed("could not be read", intake.bad)
        left_out = [(f"task {one['task']}", one["reason"]) for one in self._left_out(number)]
        lines += _listed("could not be pre-annotated", left_out)
        boxed = connection.trained
        do, what = ("correct its boxes", "a better") if boxed else ("box its cells", "a first")
        lines += [
            "",
            f"Open the first task, {do}, press Submit, and go on with the next. "
            f"After {self._settings.retrain_after} corrected tasks {what} detector is trained, "
            "sooner with Start training (Settings, Model). Ctrl-C here ends everything.",
        ]
        if boxed:
            lines.append(
                "A few images come without boxes on purpose (see 'blind'): mark all their cells."
            )
        return Panel("\n".join(lines), title="cytoloop is up", expand=False)

    def watch(self) -> None:
        """Tell what the worker does until a child dies. Raises ChildDied then; Ctrl-C is a
        KeyboardInterrupt."""
        news = News(self._children.log("worker"))
        screen = console.open_stderr()
        with screen.status("") as status:
            while True:
                self._children.check()
                for line in news.lines():
                    screen.print(line, markup=False, highlight=False, soft_wrap=True)
                status.update(doing(running(self._settings.progress)))
                time.sleep(0.5)


def project_name(options: Options) -> str:
    """By which a later start finds the project: a file of labels is the same from any folder."""
    labels = options.labels
    known = labels if labels in TITLES else str(Path(labels).resolve())
    return f"{known} demo" if options.demo else known


def read_labels(labels: str) -> str:
    """The labeling config of that name, or in that file. Raises UpFailed or ValueError."""
    ready_made = files("ml_backend.label_studio.configs") / f"{labels}.xml"
    if labels in TITLES:
        text = ready_made.read_text(encoding="utf-8")
    else:
        try:
            text = Path(labels).read_text(encoding="utf-8")
        except OSError as error:
            raise UpFailed(
                f"--labels {labels}: neither one of {', '.join(TITLES)} nor a file that can be "
                f"read ({error.strerror or error})"
            ) from error
    parse(text)
    return text


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold the data folder. Raises NotWritable, and UpFailed where it is in use."""
    folder = settings.data_dir
    check_data_folder(folder)
    try:
        with FileLock(folder / "up.lock", timeout=0):
            yield
    except Timeout:
        raise UpFailed(f"cytoloop up is running on {folder} already") from None


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal act as Ctrl-C does; once ending, no second one counts."""

    def end(number: int, frame: FrameType | None) -> None:
        for each in earlier:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    earlier = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _listed(what: str, rows: Sequence[tuple[str, str]], most: int = 5) -> list[str]:
    """Lines for the first of the rows, and how many there are."""
    if not rows:
        return []
    lines = [f"[yellow]{len(rows)} {what}:[/]"]
    lines += [f"  {escape(name)}: {escape(reason)}" for name, reason in rows[:most]]
    return lines + (["  ..."] if len(rows) > most else [])
