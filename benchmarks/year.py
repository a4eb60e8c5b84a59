"""A year in minutes: does a data folder that is corrected and trained on every day stay bounded?

    uv run python benchmarks/year.py --trainings 100 --corrections 100

Worker and server are the product's own processes, Label Studio is the stand-in of the crash suite,
and a training writes what a real one writes without its optimisation (tests/crashing/trainer.py).
Before each training so many new images come and are corrected. The clock is fast: after each
training all files of the data folder become older by a year's share, and `tidy` runs every month.
Printed after each month: bytes by folder, and the memory of worker and server. At the end
everything that a version refers to must be there, and a backup restored in another folder goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the rounds are shared with the tests

import cv2  # noqa: E402
import psutil  # noqa: E402

from ml_backend.dataset.snapshot import load_snapshot  # noqa: E402
from ml_backend.imaging.decode import decode  # noqa: E402
from ml_backend.label_studio.client import Studio  # noqa: E402
from ml_backend.label_studio.labeling_config import LabelingConfig  # noqa: E402
from ml_backend.learners.detector.inference import Detector  # noqa: E402
from ml_backend.registry.versions import Registry  # noqa: E402
from ml_backend.retraining.retention import find_superfluous, remove  # noqa: E402
from ml_backend.settings import Settings  # noqa: E402
from ml_backend.state.backup import make_backup, restore_backup  # noqa: E402
from ml_backend.state.projects import Project, Projects  # noqa: E402
from tests.conftest import free_port  # noqa: E402
from tests.crashing.nursery import Nursery  # noqa: E402
from tests.crashing.rounds import CONFIG, SIZE, Running, Template, template  # noqa: E402
from tests.crashing.studio import StandIn  # noqa: E402

DAY = 86_400.0
PATIENCE = 900.0  # seconds for a training, on a machine that has much else to do


class Laboratory:
    """One project, whose images are corrected and trained on again and again."""

    def __init__(
        self, folder: Path, made: Template, nursery: Nursery, studio: Studio, corrections: int
    ) -> None:
        self.folder, self.made, self.nursery, self.studio = folder, made, nursery, studio
        self.corrections = corrections
        self.labels = LabelingConfig.parse(CONFIG)
        self.pictures = [
            cv2.imencode(".jpg", cv2.imread(str(path)))[1].tobytes()
            for path in sorted((made.folder / "images").iterdir(), key=lambda p: int(p.stem))
        ]
        self.project = studio.create_project("A year", CONFIG).id
        self.count = 0
        self.open(folder / "data")

    def open(self, data: Path) -> None:
        """Work on a data folder from now on."""
        self.settings = Settings(data_dir=data)
        self.registry = Registry.open(self.settings)
        self.projects = Projects(self.settings.projects_database)

    def prepare(self, url: str, token: str) -> None:
        """Connect the project; its champion finds nothing."""
        for name in (self.made.blind, self.made.starter):
            source = self.made.registry.get_folder(name)
            files = [path for path in source.iterdir() if path.name != "version.json"]
            self.registry.add(self.made.registry.get(name), files)
        self.projects.connect(Project(self.project, url, token, "A year", CONFIG))
        self.registry.promote(str(self.project), self.made.blind, by="year", reason="the first")

    def start(self) -> None:
        """Start worker and server."""
        points = self.folder / "points"
        points.mkdir(exist_ok=True)
        environment = {
            "CYTOLOOP_DATA_DIR": str(self.settings.data_dir),
            "CYTOLOOP_RETRAIN_AFTER": str(self.corrections),
            "CYTOLOOP_QUIET_SECONDS": "0.3",
            "CYTOLOOP_RECONCILE_SECONDS": "60",
            "CYTOLOOP_HOLDOUT_SHARE": "0.02",
            "CYTOLOOP_EPOCHS": "1",
            "CYTOLOOP_IMGSZ": "64",
            "CRASHES_FOLDER": str(points),
            "CRASHES_RECORDER": "none",
            "CRASHES_TRAINED": str(self.made.registry.get_folder(self.made.starter)),
        }
        self.running = [
            Running(
                self.nursery,
                {
                    "role": role,
                    "port": free_port(),
                    "environment": environment,
                    "log": str(self.settings.logs / f"{role}.log"),
                    "ended": str(self.folder / f"{role}.ended"),
                },
            )
            for role in ("worker", "server")
        ]
        self.settings.logs.mkdir(parents=True, exist_ok=True)
        for process in self.running:
            process.start()

    def stop(self) -> None:
        """End worker and server."""
        for process in self.running:
            process.stop()

    def correct_and_train(self) -> None:
        """Import as many new images as a training takes, correct them, and wait for its end."""
        before = len(self.registry.list_versions(str(self.project)))
        images = self.settings.media / str(self.project)
        images.mkdir(parents=True, exist_ok=True)
        new = range(self.count, self.count + self.corrections)
        tasks = []
        for number in new:
            # The same picture, and another file: its number stands behind the picture's end.
            content = self.pictures[number % len(self.pictures)] + str(number).encode()
            (images / f"{number}.jpg").write_bytes(content)
            address = f"/data/local-files/?d={self.project}/{number}.jpg"
            side = "holdout" if number % 50 == 0 else "train"
            tasks.append({"data": {"image": address, "source": f"{number}.jpg", "split": side}})
        ids = self.studio.import_tasks(self.project, tasks)
        self.projects.add_note(self.project, "publish")
        for number, task in zip(new, ids, strict=True):
            result = self.labels.write_regions(
                self.made.truth[number % len(self.made.truth)],
                width=SIZE[0],
                height=SIZE[1],
                matching=self.labels.match_classes(["Mitotic cell", "Other"]),
                version="annotator",
            )
            self.studio.submit_annotation(task, result)
        self.count += self.corrections
        self.projects.add_note(self.project, "changed")
        wait(lambda: len(self.registry.list_versions(str(self.project))) > before)
        wait(lambda: not self.count_jobs())

    def count_jobs(self) -> int:
        """Jobs that wait or run."""
        with closing(sqlite3.connect(self.settings.jobs_database, timeout=30)) as database:
            (count,) = database.execute(
                "select count(*) from workflow_status where status in ('ENQUEUED', 'PENDING')"
            ).fetchone()
        return int(count)

    def age(self, days: float) -> None:
        """Make all files older."""
        for parent, folders, files in os.walk(self.settings.data_dir):
            for name in folders + files:
                path = os.path.join(parent, name)
                held = os.lstat(path)
                times = (held.st_atime - days * DAY, held.st_mtime - days * DAY)
                os.utime(path, times, follow_symlinks=False)

    def tidy(self) -> int:
        """Remove what may go, as `cytoloop tidy` does."""
        return remove(find_superfluous(self.settings), self.settings)

    def measure(self) -> dict[str, Any]:
        """Bytes by folder and file of the data folder, and memory of the processes."""
        sizes = {
            path.name: sum(map(measure_size, [path, *path.rglob("*")]))
            for path in self.settings.data_dir.iterdir()
        }
        memory = {
            process.role: psutil.Process(process.pid).memory_info().rss for process in self.running
        }
        return {"corrections": self.count, "bytes": sizes, "memory": memory}

    def find_missing(self) -> list[str]:
        """What a version refers to and is not there, or does not load."""
        missing = []
        for version in self.registry.list_versions(str(self.project)):
            snapshot = load_snapshot(version.snapshot, self.settings.snapshots)
            if snapshot is None:
                missing.append(f"{version.name}: its snapshot {version.snapshot}")
                continue
            folder = self.settings.images / str(self.project)
            missing += [
                f"{version.name}: the image {item.image}"
                for item in snapshot.items
                if item.image and not (folder / item.image).exists()
            ]
            if version.weights_removed:  # told from what stays
                self.registry.read_card(version.name)
                continue
            detector = Detector.load(self.registry.get_folder(version.name))
            detector.detect([decode(self.pictures[0])], 0.05)
        return missing


def measure_size(path: Path) -> int:
    """Measure a file in bytes; one that was removed meanwhile has none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def wait(true: Callable[[], bool]) -> None:
    """Wait until something holds; exits where it does not in time."""
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            sys.exit(f"not within {PATIENCE:.0f} s")
        time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trainings", type=int, default=100, help="in the year")
    parser.add_argument("--corrections", type=int, default=100, help="before each training")
    parser.add_argument("--minutes", type=float, default=1e9, help="end the year after these")
    options = parser.parse_args()
    days = 365 / options.trainings
    started = time.monotonic()
    random.seed(0)
    with tempfile.TemporaryDirectory(prefix="cytoloop-year-") as place:
        folder = Path(place)
        made = template(folder / "template")
        with StandIn() as stand_in, Nursery() as nursery:
            studio = Studio(stand_in.url, stand_in.token)
            laboratory = Laboratory(folder, made, nursery, studio, options.corrections)
            laboratory.prepare(stand_in.url, stand_in.token)
            laboratory.start()
            tidied = 0.0
            for number in range(1, options.trainings + 1):
                laboratory.correct_and_train()
                laboratory.age(days)
                minutes = (time.monotonic() - started) / 60
                print(f"training {number}, {minutes:.1f} min", file=sys.stderr, flush=True)
                tidied += days
                if tidied >= 30 or number == options.trainings:
                    figures = laboratory.measure()
                    laboratory.stop()
                    figures |= {"day": round(number * days), "freed": laboratory.tidy()}
                    figures["minutes"] = round((time.monotonic() - started) / 60, 1)
                    print(json.dumps(figures), flush=True)
                    laboratory.start()
                    tidied = 0.0
                if time.monotonic() - started > 60 * options.minutes:
                    break
            figures = laboratory.measure()
            missing = laboratory.find_missing()
            backup = make_backup(laboratory.settings.data_dir, folder / "backup.tar")
            laboratory.stop()
            restore_backup(folder / "backup.tar", folder / "elsewhere" / "data")
            laboratory.open(folder / "elsewhere" / "data")
            laboratory.start()
            laboratory.correct_and_train()  # on the restored folder
            restored = laboratory.find_missing()
            laboratory.stop()
    figures |= {"trainings": number, "missing": missing, "missing after the restore": restored}
    figures["backup"] = backup.size
    print(json.dumps(figures))
    sys.exit(1 if missing or restored else 0)


if __name__ == "__main__":
    main()
