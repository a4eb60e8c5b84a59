"""One round of the loop while its processes are killed, and what must hold when it is over.

A round is a data folder and a project of its own. Its champion finds nothing, an annotator
corrects what it shows, so a training starts, its version is better and promoted, and is
published; more corrections come meanwhile and are trained on too. Worker, server and training
are killed on the way, each started again as a supervisor would, and left alone at last.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import psutil
from safetensors.numpy import load_file, save_file
from sqlalchemy import NullPool, create_engine

from ml_backend.dataset import snapshot as snapshots
from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.label_studio.session import STUDIO_ERRORS, StudioFault
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import FILE_NAME, read_card
from ml_backend.registry import resolve
from ml_backend.registry.versions import Registry, Version
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.credentials import read_backend_password
from ml_backend.system.database import connect
from tests.crashing.nursery import Nursery

CONFIG = (
    Path(__file__).parents[2] / "ml_backend" / "label_studio" / "configs" / "mitosis.xml"
).read_text(encoding="utf-8")

SIZE = (480, 360)  # a part of a microscope's field, in pixels
CORRECTED, LATER, UNTOUCHED = 12, 4, 6
SETTLED = 600.0  # seconds a part of a round may take, on a machine that has much else to do


class Broken(AssertionError):
    """Something does not hold that must."""


@dataclass(frozen=True)
class Template:
    """What all rounds start from: a version that finds nothing and one that works, and images."""

    folder: Path
    blind: str
    starter: str
    truth: tuple[Boxes, ...]

    @property
    def registry(self) -> Registry:
        return Registry(self.folder / "versions", self.folder / "champions")


def template(folder: Path, versions: Path | None = None) -> Template:
    """versions: a folder with the mitosis starter in it, ready to serve; else it is made."""
    if versions is not None:
        shutil.copytree(versions, folder / "versions")
    registry = Registry(folder / "versions", folder / "champions")
    starter = resolve.resolve_model("starter:mitosis", registry)
    ready = registry.get_folder(starter.name)
    blind = folder / "blind"
    blind.mkdir()
    for path in ready.iterdir():
        if path.suffix in (".xml", ".bin"):
            shutil.copyfile(path, blind / path.name)
    card = read_card(ready / FILE_NAME)
    metadata = replace(card, threshold=0.9999).to_metadata()
    save_file(load_file(str(ready / FILE_NAME)), str(blind / FILE_NAME), metadata=metadata)
    made = registry.add(
        Version("blind-v1", "lab", 1.0, base="starter:mitosis"), sorted(blind.iterdir())
    )
    images = folder / "images"
    images.mkdir()
    # The truth of a round is what the starter finds, so that its promotion is no matter of luck.
    detector = Detector.load(ready)
    truth: list[Boxes] = []
    for seed in count():
        pixels, _ = generate_field(np.random.default_rng(seed), size=SIZE, dividing=2)
        (found,) = detector.detect([pixels], card.threshold)
        found = found.select(found.label == "Mitotic cell")
        if len(found):
            cv2.imwrite(str(images / f"{len(truth)}.png"), pixels[..., ::-1])
            truth.append(found)
        if len(truth) == CORRECTED + LATER + UNTOUCHED:
            break
    return Template(folder, made.name, starter.name, tuple(truth))


@dataclass
class Running:
    """A process of the product that may be killed and is started again."""

    nursery: Nursery
    order: dict[str, Any]
    pid: int = 0

    @property
    def role(self) -> str:
        return str(self.order["role"])

    @property
    def log(self) -> Path:
        return Path(self.order["log"])

    def start(self) -> None:
        Path(self.order["ended"]).unlink(missing_ok=True)
        self.pid = self.nursery.start(self.order)

    def ended(self) -> int | None:
        """Its exit status; None while it runs, and while the status is being written."""
        ended = Path(self.order["ended"])
        written = ended.read_text() if ended.exists() else ""
        return int(written) if written else None

    def stop(self) -> None:
        """End it and its children, by force."""
        if not self.pid or self.ended() is not None:
            return
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.pid)
            for process in [*family.children(recursive=True), family]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        while self.ended() is None:
            time.sleep(0.05)


Plan = dict[str, Any]


@dataclass
class Round:
    """One round.

    plans: gives each role's next way to die, or None for none any more. tell_webhook: lets
    Label Studio know the backend of a project. port: of the server; 0 for a round without it.
    trouble: called when a part of the round begins: shown, corrected, training, promoted, rest.
    person: the annotator's token, where it is another. database: the address of an empty
    PostgreSQL, on which two workers share the round; else one works on SQLite. store: the
    address of a bucket; the second worker then has a data folder of its own, as on another machine.
    """

    template: Template
    nursery: Nursery
    folder: Path
    studio_url: str
    token: str
    plans: Callable[[str], Plan | None]
    rng: random.Random
    tell_webhook: Callable[[int, tuple[str, str, str]], None] | None = None
    port: int = 0
    trouble: Callable[[str], None] = lambda part: None
    person: str = ""
    database: str | None = None
    store: str | None = None
    submitted: dict[int, dict[str, Any]] = field(default_factory=dict)
    shown: dict[int, int] = field(default_factory=dict)
    deaths: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = Settings(
            data_dir=self.folder / "data", database_url=self.database, store_url=self.store
        )
        self.points = self.folder / "points"
        self.points.mkdir(parents=True, exist_ok=True)
        self.registry = Registry.open(self.settings)
        self.studio = Studio(self.studio_url, self.person or self.token)
        self._prepare()

    def _prepare(self) -> None:
        """A project of corrected and untouched tasks, whose champion finds nothing."""
        made = self.template
        for name in (made.blind, made.starter):
            shutil.copytree(
                made.registry.get_folder(name), self.settings.versions / name, copy_function=_link
            )
            self.registry.publish(name)
        self.project = self.studio.create_project("Killed", CONFIG).id
        images = self.settings.media / str(self.project)
        shutil.copytree(made.folder / "images", images, copy_function=_link)
        address = f"/data/local-files/?d={self.project}/"
        self.tasks = self.studio.import_tasks(
            self.project,
            [
                {
                    "data": {
                        "image": f"{address}{number}.png",
                        "source": f"{number}.png",
                        "split": "holdout" if number % 3 == 2 else "train",
                    }
                }
                for number in range(len(made.truth))
            ],
        )
        self.projects = Projects(self.settings.projects_database)
        self.projects.connect(Project(self.project, self.studio_url, self.token, "Killed", CONFIG))
        self.registry.promote(str(self.project), made.blind, by="round", reason="the first")
        self.projects.add_note(self.project, "publish")

    # The processes.

    def _environment(self) -> dict[str, str]:
        ready = self.settings.versions / self.template.starter
        return {
            "CYTOLOOP_DATA_DIR": str(self.settings.data_dir),
            "CYTOLOOP_DATABASE_URL": self.database or "",
            "CYTOLOOP_STORE_URL": self.store or "",
            "CYTOLOOP_RETRAIN_AFTER": str(CORRECTED),
            "CYTOLOOP_QUIET_SECONDS": "0.3",
            "CYTOLOOP_POLL_SECONDS": "0.1",
            "CYTOLOOP_RECONCILE_SECONDS": "3",
            "CYTOLOOP_EPOCHS": "1",
            "CYTOLOOP_IMGSZ": "64",
            "CRASHES_FOLDER": str(self.points),
            "CRASHES_RECORDER": "none",
            "CRASHES_TRAINED": str(ready),
        }

    def _prepare_elsewhere(self) -> Path:
        """The data folder of another machine, which reads the same images."""
        folder = self.folder / "data-2"
        folder.mkdir(exist_ok=True)
        if not (folder / "media").exists():
            (folder / "media").symlink_to(self.settings.media)
        return folder

    @contextmanager
    def _supervised(self) -> Iterator[list[Running]]:
        here = self._environment()
        there = dict(here)
        if self.store:
            there["CYTOLOOP_DATA_DIR"] = str(self._prepare_elsewhere())
        names = ["worker", "server"] if self.port else ["worker"]
        names += ["worker-2"] if self.database else []
        running = [
            Running(
                self.nursery,
                {
                    "role": name.partition("-")[0],
                    "port": self.port,
                    "environment": there if name == "worker-2" else here,
                    "log": str(self.folder / f"{name}.log"),
                    "ended": str(self.folder / f"{name}.ended"),
                },
            )
            for name in names
        ]
        try:
            for process in running:
                self._plan(process.role)
                process.start()
            self._plan("training")
            yield running
        finally:
            for process in running:
                process.stop()

    def _plan(self, role: str) -> None:
        if (plan := self.plans(role)) is not None:
            path = self.points / f"plan-{role}.json"
            path.with_suffix(".new").write_text(json.dumps(plan))
            path.with_suffix(".new").rename(path)

    def _look(self, running: Sequence[Running]) -> None:
        """Start again who was killed. Raises Broken where a process ended by itself."""
        for process in running:
            if (code := process.ended()) is None:
                continue
            if code != -signal.SIGKILL:
                raise Broken(f"the {process.role} ended with {code}: {self.words(process.log)}")
            self._plan(process.role)
            process.start()
        if not (self.points / "plan-training.json").exists():
            self._plan("training")

    def words(self, log: Path) -> str:
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""

    # The annotator, who goes on whatever happens behind.

    def _correct(self, number: int) -> None:
        """Submit the truth of one task, made from what is shown on it, if anything."""
        task = self.tasks[number]
        (now,) = self.studio.list_tasks(self.project, ids=[task])
        parent = now["predictions"][-1]["id"] if now["predictions"] else None
        labels = LabelingConfig.parse(CONFIG)
        result = labels.write_regions(
            self.template.truth[number],
            width=SIZE[0],
            height=SIZE[1],
            matching=labels.match_classes(["Mitotic cell", "Other"]),
            version="annotator",
        )
        try:
            made = self.studio.submit_annotation(task, result, parent_prediction=parent)
        except StudioFault as fault:
            if "Invalid pk" not in str(fault):
                raise
            # Refreshed under the annotator's eyes: the page is loaded again.
            made = self.studio.submit_annotation(task, result)
            parent = None
        self.submitted[made] = {"task": task, "result": result}
        if parent is not None:
            self.shown[made] = parent

    def ask_backend(self, route: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Ask our server as Label Studio does; None where it does not answer."""
        auth = (self.settings.backend_user, read_backend_password(self.settings))
        try:
            reply = httpx.post(
                f"http://127.0.0.1:{self.port}{route}",
                json=body,
                auth=auth,
                timeout=30,
                trust_env=False,
            )
        except httpx.TransportError:
            return None
        return reply.json() if reply.is_success else None

    def _retrieve(self, number: int) -> None:
        """What Retrieve predictions does: skip what has the version of /setup, store the answer."""
        project = f"{self.project}.0"
        setup = self.ask_backend("/setup", {"project": project, "schema": CONFIG})
        (task,) = self.studio.list_tasks(self.project, ids=[self.tasks[number]])
        held = {prediction["model_version"] for prediction in task["predictions"]}
        if setup is None or setup["model_version"] in held:
            return
        answer = self.ask_backend("/predict", {"project": project, "tasks": [task], "params": {}})
        for entry in (answer or {"results": []})["results"]:
            if entry:
                self.studio.import_predictions(
                    self.project,
                    CONFIG,
                    [(task["id"], entry["model_version"], entry["score"], entry["result"])],
                )

    # The round.

    def run(self) -> None:
        """The whole round. Raises Broken."""
        with self._supervised() as running:
            if self.tell_webhook:
                password = read_backend_password(self.settings)
                address = f"http://127.0.0.1:{self.port}/webhook"
                self.tell_webhook(self.project, (address, self.settings.backend_user, password))
            self._until(running, "the first pre-annotations", self._all_shown)
            self.trouble("shown")
            for number in range(CORRECTED):
                self._correct(number)
                self._look(running)
            self.trouble("corrected")
            self._until(running, "a training", lambda: self._passed("start training"))
            self.trouble("training")
            for number in range(CORRECTED, CORRECTED + LATER):
                if self.port and self.rng.random() < 0.5:
                    self._retrieve(CORRECTED + LATER + self.rng.randrange(UNTOUCHED))
                self._correct(number)
                self._look(running)
            self._until(running, "a promotion", lambda: len(self._promoted()) > 1)
            self.trouble("promoted")
            self.projects.add_note(self.project, "train")
            self._until(running, "rest", self._at_rest)
            self._note_deaths()
            self._check()
            self.trouble("rest")

    def _until(self, running: Sequence[Running], what: str, true: Callable[[], bool]) -> None:
        end = time.monotonic() + SETTLED
        while not true():
            if time.monotonic() > end:
                logs = "\n".join(self.words(process.log) for process in running)
                raise Broken(f"not within {SETTLED:.0f} s: {what}\n{self._state()}\n{logs}")
            self._look(running)
            time.sleep(0.1)

    def _state(self) -> str:
        with suppress(*STUDIO_ERRORS):
            return f"notes {self.projects.list_notes()}, wrong: {self._wrong()}"
        return "Label Studio does not answer"

    def passed(self) -> list[dict[str, Any]]:
        """Every point that a process passed or died at."""
        log = self.points / "points.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def _passed(self, words: str) -> bool:
        return any(words in death["point"] for death in self.passed())

    def _note_deaths(self) -> None:
        self.deaths = [
            (death["role"], death["point"]) for death in self.passed() if death["killed"]
        ]

    def _promoted(self) -> list[str]:
        return [change.version for change in self.registry.list_changes(str(self.project))]

    def _all_shown(self) -> bool:
        champion = self.registry.get_champion(str(self.project))
        return all(
            champion in {prediction["model_version"] for prediction in task["predictions"]}
            for task in self.studio.list_tasks(self.project)
        )

    def _at_rest(self) -> bool:
        if self._jobs() or self.wishes():
            return False
        return self._all_trained_on() and not self._wrong()

    def wishes(self) -> list[Any]:
        return [note for note in self.projects.list_notes() if note[1] == "train"]

    def _jobs(self) -> int:
        """Jobs that wait or run."""
        if self.database:
            engine, schema = connect(self.database, poolclass=NullPool), "dbos."
        else:
            engine, schema = create_engine(f"sqlite:///{self.settings.jobs_database}"), ""
        query = f"from {schema}workflow_status where status in ('ENQUEUED', 'PENDING')"
        with engine.connect() as connection:
            count = connection.exec_driver_sql(f"select count(*) {query}").scalar()
        engine.dispose()
        return int(count or 0)

    def _all_trained_on(self) -> bool:
        name = self.projects.get_last_attempt(self.project)
        snapshot = snapshots.load_snapshot(name, self.settings.snapshots) if name else None
        return snapshot is not None and {item.annotation for item in snapshot.items} == set(
            self.submitted
        )

    def _wrong(self) -> list[str]:
        """What annotators would see wrong: pre-annotations mixed, double or missing."""
        champion = self.registry.get_champion(str(self.project))
        wrong = []
        if (shown := self.studio.get_project(self.project).model_version) != champion:
            wrong.append(f"the project shows {shown}, the champion is {champion}")
        for task in self.studio.list_tasks(self.project):
            held = [prediction["model_version"] for prediction in task["predictions"]]
            if not task["annotations"] and held != [champion]:
                wrong.append(f"untouched task {task['id']} has pre-annotations of {held}")
        return wrong

    # What must hold.

    def _check(self) -> None:
        """Raises Broken with everything that does not hold."""
        broken = [*self._wrong(), *self._lost(), *self._doubled(), *self._not_loading()]
        if broken:
            raise Broken("\n".join(broken))

    def _lost(self) -> list[str]:
        """Corrections lost: from Label Studio, from the last snapshot, from what was shown."""
        lost = []
        tasks = self.studio.list_tasks(self.project)
        there = {
            annotation["id"]: annotation for task in tasks for annotation in task["annotations"]
        }
        name = self.projects.get_last_attempt(self.project)
        snapshot = snapshots.load_snapshot(name or "", self.settings.snapshots)
        items = {item.annotation: item for item in snapshot.items} if snapshot else {}
        kept = self.projects.get_shown_regions(self.project)
        for number, annotation in self.submitted.items():
            if number not in there:
                lost.append(f"annotation {number} is not in Label Studio")
            elif len(items[number].boxes if number in items else ()) != len(annotation["result"]):
                lost.append(f"annotation {number} is not whole in the last snapshot {name}")
            if number in self.shown and number not in kept:
                lost.append(f"what annotation {number} started from was not kept")
            if number in self.shown and there[number]["parent_prediction"] != self.shown[number]:
                lost.append(f"annotation {number} lost its link to what it started from")
        return lost

    def _doubled(self) -> list[str]:
        """Snapshots that were trained on twice, or at the same time."""
        made = Counter(
            version.snapshot for version in self.registry.list_versions(str(self.project))
        )
        doubled = [f"{n} versions of snapshot {name}" for name, n in made.items() if n > 1]
        # Another machine does not have the files of a training that was done but not yet added.
        trained = Counter() if self.store else Counter(self.trainings())
        return doubled + [f"{job} was trained {n} times" for job, n in trained.items() if n > 1]

    def trainings(self) -> list[str]:
        """The jobs that were trained to the end, once each time."""
        done = self.points / "trained.log"
        return done.read_text().split() if done.exists() else []

    def _not_loading(self) -> list[str]:
        """Versions that were promoted and cannot serve."""
        broken = []
        pixels = cv2.imread(str(self.template.folder / "images" / "0.png"))
        for name in {
            *self._promoted(),
            *(version.name for version in self.registry.list_versions()),
        }:
            try:
                Detector.load(self.registry.get_folder(name)).detect([pixels], 0.05)
            except Exception as error:  # whatever it is, this version does not serve
                broken.append(f"version {name} does not load: {error}")
        return broken


def _link(source: str, target: str) -> None:
    """The same file at two places; a copy where that is another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
