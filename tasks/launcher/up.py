"""Start Label Studio, backend and worker, with a project whose cells are already marked.

What may be wrong is checked before anything is started. What was started ends together: with
Ctrl-C, or when one of the three processes dies.
"""

from __future__ import annotations

import os
import signal
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

from ml_backend.active_learning.strategies.table import find_strategy
from ml_backend.cli import console
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.http import open_studio_client
from ml_backend.label_studio.installation import StudioInstallation
from ml_backend.label_studio.instructions import write_instructions
from ml_backend.label_studio.session import ProjectGone
from ml_backend.learners.kinds import load_model
from ml_backend.registry.resolve import resolve_model
from ml_backend.registry.starters import choose_starter
from ml_backend.registry.versions import Registry
from ml_backend.serving.connect import ConnectedProject, connect, parse_learnable_labels
from ml_backend.serving.preannotation import QUEUED
from ml_backend.settings import Settings
from ml_backend.state.login_links import make_link_secret
from ml_backend.state.projects import Goal, Projects
from ml_backend.state.training_progress import list_trainings
from ml_backend.system.atomic_files import check_data_folder, read_json, write_json
from ml_backend.system.child_module import build_command
from ml_backend.system.plurals import format_count
from ml_backend.system.processes import Children, Process, check_port
from ml_backend.system.retry import wait_until
from tasks.launcher.first_images import (
    MARK_FIRST,
    FirstLook,
    choose_opening,
    choose_to_mark,
    look_at,
)
from tasks.launcher.import_images import FolderImage, ImportResult, find_images, import_images
from tasks.launcher.summary import render_summary
from tasks.launcher.worker_log import WorkerLog, describe_trainings

TITLES = {
    "mitosis": "Dividing cells",
    "phases": "Phases of mitosis",
    "mitosis-stages": "Dividing cells and their stages",
    "click": "Dividing cells by one click",
    "tetrads": "Tetrads",
    "spreads": "Chromosomes in their spreads",
    "images": "Images with chromosomes",
    "stages": "Stages of single cells",
    "shapes": "Shapes of chromosomes",
    "adviser": "What is wrong with a preparation",
}

# Corrected tasks after which the demo trains, where no setting says it: it has few images.
DEMO_RETRAIN_AFTER = 10

# After so many seconds without a new pre-annotation, `up` no longer waits for the worker.
_PATIENCE = 120.0


class UpFailed(RuntimeError):
    """Why `cytoloop up` cannot start, in one line."""


@dataclass(frozen=True)
class UpOptions:
    """The options of `cytoloop up`.

    Attributes:
        demo: Bring images to try it on.
        images: A folder of images to import.
        labels: The name of a ready-made labeling config, or an XML file.
        port: The port of Label Studio.
        backend_port: The port of the ML backend.
        browser: Open the project in a browser.
        strategy: What orders the project's tasks from now on; None leaves it as it is.
        goal: What the project's queue serves from now on; None leaves it as it is.
        annotations: How many people are to annotate each task; None leaves it as it is.
    """

    demo: bool = False
    images: Path | None = None
    labels: str = "mitosis"
    port: int = 8080
    backend_port: int = 9090
    browser: bool = True
    strategy: str | None = None
    goal: Goal | None = None
    annotations: int | None = None


def launch(options: UpOptions, settings: Settings) -> None:
    """Start everything and stay until Ctrl-C.

    Args:
        options: What the user asked for.
        settings: Of the data folder in which everything lies.

    Raises:
        UpFailed: Something is in the way of the start.
        PortTaken: Another program listens on one of the ports.
        StudioError: Label Studio refuses something or does not answer.
        ChildDied: One of the three processes has ended by itself.
        ValueError: Nothing can be drawn with these labels, or there is no such strategy.
    """
    label_config = read_labels(options.labels)
    find_strategy(options.strategy or settings.strategy)
    if options.images and not options.images.is_dir():
        raise UpFailed(f"{options.images} is not a folder of images")
    if options.images and not find_images(options.images)[0]:
        raise UpFailed(f"there are no images in {options.images}")
    settings = settle_settings(options, settings)
    children = Children(settings.data_dir / "children.json")
    with _hold_data_folder(settings), _end_on_signals():
        children.end_orphans()
        for port, what, option in (
            (options.port, "Label Studio", "--port"),
            (options.backend_port, "the ML backend", "--backend-port"),
        ):
            check_port(port, what, option)
        if options.port == options.backend_port:
            raise UpFailed("--port and --backend-port must differ")
        try:
            launcher = Launcher(options, settings, children)
            launcher.start(label_config)
            launcher.fill(label_config)
            launcher.watch()
        except KeyboardInterrupt:
            console.open_stderr().print("Ending Label Studio, the backend and the worker ...")
        finally:
            children.end()


def settle_settings(options: UpOptions, settings: Settings) -> Settings:
    """Return the settings of this start: the demo trains sooner, unless the user said when."""
    if not options.demo or "retrain_after" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"retrain_after": DEMO_RETRAIN_AFTER})


class Launcher:
    """The Label Studio, the backend and the worker of one data folder, while they run.

    Attributes:
        account: The account of Label Studio that `start` logged in with.
        studio: The client of the Label Studio that `start` started.
    """

    def __init__(self, options: UpOptions, settings: Settings, children: Children) -> None:
        self._options = options
        self._settings = settings
        self._children = children
        self._environment = StudioInstallation(settings.studio, settings.label_studio_env)
        self._state_file = settings.studio / "home.json"
        self._projects = Projects(settings.projects_database)

    @property
    def _backend_url(self) -> str:
        return f"http://127.0.0.1:{self._options.backend_port}"

    # Starting.

    def start(self, label_config: str) -> None:
        """Install Label Studio if it is not there; start it and the backend.

        Args:
            label_config: The labeling config of the project, as XML.
        """
        if not self._environment.is_installed():
            self._install()
        logs = self._settings.logs
        with console.open_stderr().status("Starting Label Studio and the ML backend"):
            studio = self._environment.start(
                self._options.port, self._settings.media, logs / "label-studio.log"
            )
            self._children.add("Label Studio", studio)
            self._start_child("ML backend", "serve", "--port", str(self._options.backend_port))
            # Meanwhile the starter is exported for serving, for which torch needs some seconds.
            with ThreadPoolExecutor(1) as pool:
                exported = pool.submit(self._export_starter, label_config)
                self._environment.wait_ready()
                exported.result()
            self.account = self._environment.prepare_account()
            self.studio = Studio(self._environment.url, self.account.token)
        self._note_address()
        self._show_media()

    def _install(self) -> None:
        with console.open_stderr().status("Installing Label Studio (once, about 0.5 GB)") as status:
            self._environment.ensure_installed(
                lambda line: status.update(f"Installing Label Studio (once): {line[:60]}")
            )

    def _export_starter(self, label_config: str) -> None:
        registry = Registry.open(self._settings)
        if starter := choose_starter(parse_learnable_labels(label_config)):
            resolve_model(starter, registry)

    def _start_child(self, name: str, *command: str) -> None:
        folder = str(self._settings.data_dir)
        # The certificate is for `cytoloop serve`; here all stays on this machine.
        tls = ("CYTOLOOP_TLS_CERTIFICATE", "CYTOLOOP_TLS_KEY")
        child = Process.start(
            build_command("ml_backend", "--data-dir", folder, *command),
            self._settings.logs / f"{command[0]}.log",
            {name: value for name, value in os.environ.items() if name not in tls}
            | {"CYTOLOOP_RETRAIN_AFTER": str(self._settings.retrain_after)},
            self._settings.data_dir,
        )
        self._children.add(name, child)

    def _note_address(self) -> None:
        """Correct the projects' address and token: both may differ from those of the last start."""
        state = read_json(self._state_file, {})
        url, token = self._environment.url, self.account.token
        self._projects.move(state.get("url", url), url, token)
        write_json(self._state_file, state | {"url": url})

    def _show_media(self) -> None:
        """Let Label Studio show the images of all projects where the data folder lies now.

        It keeps whole paths, and a folder that was restored or moved has others.
        """
        for project in self._projects.list_projects():
            folder = self._settings.media / str(project.id)
            if folder.is_dir():
                with suppress(ProjectGone):
                    self.studio.add_media_folder(project.id, folder)

    # The project.

    def fill(self, label_config: str) -> None:
        """Connect the project, import its images, wait for their pre-annotations, print a summary.

        Args:
            label_config: The labeling config of the project, as XML.
        """
        connection = self._open_project(label_config)
        number = connection.project.id
        self._start_child("worker", "worker")
        origin, images, skipped = self._find_images()
        result = self._import_images(images, number, connection)
        self._projects.add_note(number, "publish")
        if connection.trained:
            self._wait_pre_annotated(connection)
        address, advice = self._address(number), ""
        if self._projects.get_goal(number) == "count":
            pass  # the queue was drawn by lot, and nothing may come before it
        elif result.new and self._options.demo:
            self._order_opening(number)
        elif result.new and not (look := self._look_at(images, connection)).is_known:
            advice = look.describe(connection.project.tasks + result.new)
            address += f"?tab={self._list_to_mark(number)}"
        summary = render_summary(
            connection,
            replace(result, unreadable=(*skipped, *result.unreadable)),
            address=address,
            account=self.account,
            settings=self._settings,
            origin=origin,
            advice=advice,
            left_out=[(f"task {task['task']}", task["reason"]) for task in self._left_out(number)],
        )
        terminal = console.open_terminal()
        terminal.print(summary)
        # Outside the frame, which would break it: a link that is broken cannot be opened.
        link = self._make_page_link(number)
        terminal.print(f"How it learns, logged in once: {link}", soft_wrap=True, markup=False)
        if self._options.browser:
            webbrowser.open(self._make_page_link(number))
            webbrowser.open(address)

    def _open_project(self, label_config: str) -> ConnectedProject:
        """Connect the project that an earlier start made for these labels, else a new one."""
        state = read_json(self._state_file, {})
        name = name_project(self._options)
        number = state.get("projects", {}).get(name)
        with suppress(ProjectGone):
            if number is not None:
                self.studio.get_project(number)
                return self._connect(number)
        kind = TITLES.get(self._options.labels, Path(self._options.labels).stem)
        # Label Studio accepts no title of less than three characters.
        title = f"{kind} (demo)" if self._options.demo else kind
        instructions = write_instructions(parse_learnable_labels(label_config))
        number = self.studio.create_project(
            f"{title:_<3}", label_config, instructions=instructions
        ).id
        state.setdefault("projects", {})[name] = number
        write_json(self._state_file, state)
        return self._connect(number)

    def _connect(self, number: int) -> ConnectedProject:
        folder = self._settings.media / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        self.studio.add_media_folder(number, folder)
        with console.open_stderr().status("Connecting the project"):
            self._wait_for_backend()
            url, token = self._environment.url, self.account.token
            asked = self._options
            return connect(
                self._settings,
                url,
                token,
                number,
                self._backend_url,
                asked.strategy,
                asked.goal,
                asked.annotations,
            )

    def _wait_for_backend(self) -> None:
        with open_studio_client(self._backend_url, 5) as http:

            def answers() -> bool:
                self._children.check()
                with suppress(Exception):
                    return http.get(f"{self._backend_url}/health").status_code == 200
                return False

            if not wait_until(answers, every=0.1, timeout=60):
                log = self._children.find_log("ML backend")
                raise UpFailed(f"the ML backend does not answer on {self._backend_url}; see {log}")

    def _find_images(self) -> tuple[str, list[FolderImage], list[tuple[str, str]]]:
        """Where the images come from, in words; the images; what was left out."""
        if self._options.images:
            return "", *find_images(self._options.images)
        if not self._options.demo:
            return "", [], []
        from ml_backend.demo.demo_images import prepare_demo_images

        folder = self._settings.data_dir / "demo"
        with console.show_progress("Demo images") as bar:
            demo = prepare_demo_images(folder, bar)
        return demo.origin, *find_images(folder / ("real" if demo.real else "generated"))

    def _import_images(
        self, images: list[FolderImage], number: int, connection: ConnectedProject
    ) -> ImportResult:
        if not images:
            return ImportResult()
        with console.show_progress("Importing images") as bar:
            return import_images(
                images,
                self.studio,
                number,
                image_key=parse_learnable_labels(connection.project.label_config).image_key,
                media=self._settings.media,
                holdout_share=self._settings.holdout_share,
                blind_share=self._settings.blind_share,
                brighten=self._options.demo,
                progress=bar,
            )

    def _wait_pre_annotated(self, connection: ConnectedProject) -> None:
        """Wait until every untouched task is pre-annotated, or left out with a reason.

        And until they are in the order of the queue: before the project points to the version,
        Label Studio hands out any.
        """
        number, version = connection.project.id, connection.version
        total = self.studio.count_untouched(number)
        best, moved = total + 1, time.monotonic()
        with console.show_progress("Pre-annotating") as bar:
            while True:
                self._children.check()
                waiting = self.studio.count_untouched(number, without=version)
                open_tasks = max(0, waiting - len(self._left_out(number)))
                bar(total - open_tasks, total)
                ordered = self.studio.get_project(number).model_version == version
                if open_tasks == 0 and (ordered or not total - len(self._left_out(number))):
                    return
                if open_tasks < best:
                    best, moved = open_tasks, time.monotonic()
                if time.monotonic() - moved > _PATIENCE:
                    log = self._children.find_log("worker")
                    left = format_count(open_tasks, "task")
                    console.open_stderr().print(f"not pre-annotated yet: {left}; see {log}")
                    return
                time.sleep(0.5)

    def _order_opening(self, number: int) -> None:
        """Let the demo begin with a clear image and a doubtful one, before all others."""
        self._put_first(choose_opening(self.studio.list_tasks(number)))

    def _put_first(self, predictions: Sequence[int]) -> None:
        """Let the queue begin with these pre-annotations' tasks, by the lowest scores."""
        for place, prediction in enumerate(predictions):
            self.studio.set_score(prediction, place * 1e-4)

    def _look_at(self, images: Sequence[FolderImage], connection: ConnectedProject) -> FirstLook:
        """Look whether what pre-annotates the project knows such images."""
        if not connection.trained:
            return FirstLook(0, 0)
        registry = Registry.open(self._settings)
        with console.open_stderr().status("Looking whether the detector knows these images"):
            model = load_model(registry.get_folder(connection.version))
            return look_at(model, [image.path for image in images])

    def _list_to_mark(self, number: int) -> int:
        """Make a tab of the images to be marked first, and let the queue begin with them.

        Returns:
            The tab's id.
        """
        tasks = list(self.studio.list_tasks(number))
        chosen = choose_to_mark(tasks)
        drawn = {task["id"]: task["predictions"] for task in tasks}
        self._put_first([made["id"] for task in chosen for made in drawn[task][:1]])
        return self.studio.ensure_view_of(number, MARK_FIRST, chosen)

    def _left_out(self, number: int) -> list[dict[str, Any]]:
        listed = self._projects.list_left_out(number, limit=1_000_000)
        return [task for task in listed if task["reason"] != QUEUED]

    def _address(self, number: int) -> str:
        return f"{self._environment.url}/projects/{number}/data"

    def _make_page_link(self, number: int) -> str:
        """Make a link to the project's page that logs in once."""
        folder = self._settings.login_links
        secret = make_link_secret(folder, self.studio.get_person())
        return f"{self._backend_url}/login?link={secret}&next=/projects/{number}/"

    def watch(self) -> None:
        """Show what the worker does until a process dies.

        Raises:
            ChildDied: One of the three processes has ended.
            KeyboardInterrupt: The user has pressed Ctrl-C.
        """
        log = WorkerLog(self._children.find_log("worker"))
        screen = console.open_stderr()
        with screen.status("") as status:
            while True:
                self._children.check()
                for line in log.read_new_lines():
                    screen.print(line, markup=False, highlight=False, soft_wrap=True)
                status.update(describe_trainings(list_trainings(self._settings.progress)))
                time.sleep(0.5)


def name_project(options: UpOptions) -> str:
    """Name the project as a later start looks it up; a file of labels by its full path."""
    labels = options.labels
    known = labels if labels in TITLES else str(Path(labels).resolve())
    return f"{known} demo" if options.demo else known


def read_labels(labels: str) -> str:
    """Read a labeling config.

    Args:
        labels: The name of a ready-made one, or an XML file.

    Raises:
        UpFailed: There is no config of that name, and no such file.
        ValueError: Nothing can be drawn with it.
    """
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
    parse_learnable_labels(text)
    return text


@contextmanager
def _hold_data_folder(settings: Settings) -> Iterator[None]:
    """Keep other starts off the data folder. Raises NotWritable, or UpFailed if it is in use."""
    folder = settings.data_dir
    check_data_folder(folder)
    try:
        with FileLock(folder / "up.lock", timeout=0):
            yield
    except Timeout:
        raise UpFailed(f"cytoloop up is running on {folder} already") from None


@contextmanager
def _end_on_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal act as Ctrl-C does; the first signal is the only one."""

    def end(number: int, frame: FrameType | None) -> None:
        for handled in earlier:
            signal.signal(handled, signal.SIG_IGN)
        raise KeyboardInterrupt

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    earlier = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
