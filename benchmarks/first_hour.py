"""From `make demo` to a promoted version, by the clock: what a newcomer waits for.

    git clone . /tmp/clone
    uv run python benchmarks/first_hour.py /tmp/clone [--tasks 24] [--json FILE]

Starts `make demo` in a clone, with a new data folder and all settings as they come, and does what
a newcomer does, without a newcomer's time: opens the tasks that *Label All Tasks* hands out and
submits them with the truth, moving, adding and deleting boxes. Printed are the seconds from the
start until the first image has boxes and until `cytoloop up` is ready; then, from the submit that
starts a training (the tenth), until the version that was trained is judged and, where it was
promoted, until all tasks that nobody touched show its boxes; and how many edits these need before
and after. After that the tasks that are left are corrected, and *Start training* is pressed.

Only generated images have a truth to be submitted, so the public ones are to be out of reach. What
would be downloaded is to be there: an environment in the clone, and an installed Label Studio that
CYTOLOOP_LABEL_STUDIO_ENV names. Ports 8080 and 9090 are to be free.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from annotator import correct_regions

from ml_backend.demo.demo_images import GENERATED, generate_demo_field, name_generated
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.label_studio.webhooks import start_training
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.system.atomic_files import read_json
from tasks.launcher.up import DEMO_RETRAIN_AFTER

URL = "http://127.0.0.1:8080"
PATIENCE = 3600.0  # seconds
CELL = "Mitotic cell"
SIZE = (1388, 1040)
# IoU from which a box is left as it lies, and from which it is moved rather than drawn anew.
WELL_PLACED, SAME = 0.75, 0.3


class Newcomer:
    """Who corrects the demo's project in Label Studio.

    Attributes:
        edits: Of each submitted task, how many boxes were moved, added or deleted.
    """

    def __init__(self, data: Path) -> None:
        token = read_json(data / "label-studio" / "account.json")["token"]
        self.studio = Studio(URL, token)
        self.http = httpx.Client(base_url=URL, trust_env=False, timeout=60)
        self.token = token
        (project,) = self.studio.list_projects()
        self.project, self.labels = project.id, LabelingConfig.parse(project.label_config)
        self.truth: dict[str, Boxes] = {}
        for number in range(GENERATED):
            boxes = generate_demo_field(number)[1]
            self.truth[name_generated(number)] = boxes.select(boxes.label == CELL)
        self.edits: list[int] = []

    def open_next(self) -> dict[str, Any] | None:
        """Open the task that *Label All Tasks* hands out; None where all are reviewed."""
        access = self.http.post("/api/token/refresh/", json={"refresh": self.token}).json()
        headers = {"Authorization": f"Bearer {access['access']}"}
        answer = self.http.get(f"/api/projects/{self.project}/next/", headers=headers)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return next(self.studio.list_tasks(self.project, ids=[answer.json()["id"]]))

    def correct_next(self) -> bool:
        """Correct the next task and submit it; False where there is none."""
        task = self.open_next()
        if task is None:
            return False
        shown, result, edits = self._correct_task(task)
        self.studio.submit_annotation(task["id"], result, parent_prediction=shown)
        self.edits.append(edits)
        return True

    def count_edits_left(self) -> tuple[int, int]:
        """Count the edits that the tasks need that nobody touched, but for blind ones.

        Returns:
            The edits, and of how many tasks they are.
        """
        tasks = [
            task
            for task in self.studio.list_tasks(self.project)
            if not task["annotations"] and not task["data"].get("blind")
        ]
        return sum(self._correct_task(task)[2] for task in tasks), len(tasks)

    def _correct_task(self, task: dict[str, Any]) -> tuple[int | None, list[Any], int]:
        """The pre-annotation that is shown, its regions corrected, and how many edits that is."""
        version = self.studio.get_project(self.project).model_version
        shown = [p for p in task["predictions"] if p["model_version"] == version]
        regions = shown[0]["result"] if shown else []
        result, edits = self._correct(regions, self.truth[task["data"]["source"]])
        return shown[0]["id"] if shown else None, result, edits

    def _correct(self, shown: list[dict[str, Any]], truth: Boxes) -> tuple[list[Any], int]:
        """Keep what lies well, move what does not, add what is missing, delete the rest."""
        width, height = SIZE
        drawn = self.labels.write_regions(
            truth,
            width=width,
            height=height,
            matching=self.labels.match_classes([CELL]),
            version="",
        )
        for region in drawn:
            region.pop("score", None)
        return correct_regions(shown, drawn, stays=WELL_PLACED, moved=SAME)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("clone", type=Path)
    arguments.add_argument("--tasks", type=int, default=GENERATED, help="correct so many at most")
    arguments.add_argument("--json", type=Path, help="write what was measured to this file")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        started = time.monotonic()
        with (data / "up.log").open("wb") as log:
            demo = subprocess.Popen(
                ["make", "demo"],
                cwd=asked.clone,
                env={**os.environ, "CYTOLOOP_DATA_DIR": folder, "BROWSER": "true"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            measured = measure(data, started, asked.tasks)
        except TimeoutError as error:
            sys.exit(f"{error}\n{(data / 'up.log').read_text(errors='replace')[-3000:]}")
        finally:
            os.killpg(demo.pid, signal.SIGINT)
            demo.wait(60)
    if asked.json:
        asked.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def measure(data: Path, started: float, tasks: int) -> dict[str, Any]:
    settings = Settings(data_dir=data)
    registry = Registry(settings.versions, settings.champions)
    measured: dict[str, Any] = {}

    def note(what: str, since: float) -> None:
        measured[what] = round(time.monotonic() - since, 1)
        print(f"{what}: {measured[what]} s", flush=True)

    wait_until("an account", lambda: (data / "label-studio" / "account.json").exists())
    wait_until("a boxed image", lambda: is_boxed(data))
    note("first boxed image", started)
    log = data / "up.log"
    wait_until("up is ready", lambda: "How it learns" in log.read_text(errors="replace"))
    note("up is ready", started)
    newcomer = Newcomer(data)
    number = str(newcomer.project)
    while len(newcomer.edits) < min(DEMO_RETRAIN_AFTER, tasks) and newcomer.correct_next():
        pass
    learn(newcomer, registry, number, note, f"after {len(newcomer.edits)} tasks")
    before = len(newcomer.edits)
    while len(newcomer.edits) < tasks and newcomer.correct_next():
        pass
    if len(newcomer.edits) > before:
        start_training(newcomer.studio.session, newcomer.project)
        learn(newcomer, registry, number, note, f"after {len(newcomer.edits)} tasks")
    measured["edits"] = newcomer.edits
    print(f"edits of each task: {newcomer.edits}")
    measured["decisions"] = [
        [version.name, version.decision.get("promoted"), *version.decision.get("reasons", [])]
        for version in registry.list_versions(number)
    ]
    for decision in measured["decisions"]:
        print(*decision)
    return measured


def learn(
    newcomer: Newcomer, registry: Registry, number: str, note: Callable[..., None], when: str
) -> None:
    """Wait until the next version is judged, and shown where it was promoted."""
    since, known = time.monotonic(), len(registry.list_versions(number))
    edits, tasks = newcomer.count_edits_left()
    print(f"{when}: the {tasks} tasks left need {edits} edits")
    wait_until("a version", lambda: len(registry.list_versions(number)) > known)
    note(f"{when}: trained", since)
    version = registry.list_versions(number)[-1]
    wait_until("its trial", lambda: registry.get(version.name).decision)
    note(f"{when}: judged", since)
    if registry.get(version.name).decision["promoted"]:
        studio = newcomer.studio
        wait_until(
            "its boxes",
            lambda: not studio.count_untouched(newcomer.project, without=version.name),
        )
        note(f"{when}: promoted, its boxes shown", since)
        print(f"{when}: they need {newcomer.count_edits_left()[0]} edits now")


def is_boxed(data: Path) -> bool:
    with suppress(Exception):  # Label Studio has not begun to answer, or the project is not there
        studio = Studio(URL, read_json(data / "label-studio" / "account.json")["token"])
        for project in studio.list_projects():
            tasks = studio.list_tasks(project.id)
            return any(made["result"] for task in tasks for made in task["predictions"])
    return False


def wait_until(what: str, is_true: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.5)


if __name__ == "__main__":
    main()
