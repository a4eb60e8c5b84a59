"""Killing `cytoloop scan` again and again: is a task missing, or one double?

    uv run python benchmarks/scan_restarts.py --kills 100 [--seed 0]

A scan of generated tiles goes to a project of a real Label Studio, every tile of it, and its
process is killed (SIGKILL on Linux and macOS) at a random point of its run, and started again,
and killed again. One kill in eight falls before the first picture is written, while it starts or
detects; the others later, within the time that a whole run writes and sends. When a run ends by
itself before its kill, the project is compared with one whose scan was never stopped, by the
keys of the tasks, and the next project begins. The counts of runs with different seeds add up.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import cv2
from studio import running, warm

from ml_backend.demo.synthetic_images import generate_mitosis_scene
from ml_backend.label_studio.client import Studio
from ml_backend.registry.resolve import resolve_model
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects

ROOT = Path(__file__).parents[1]
CONFIG = (ROOT / "ml_backend" / "label_studio" / "configs" / "mitosis.xml").read_text(
    encoding="utf-8"
)
ROWS, COLUMNS, WIDTH, HEIGHT = 14, 14, 260, 195
EARLY = 1 / 8
PORT = 8097


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--minutes", type=float, default=120, help="stop killing after these")
    chosen, started = options.parse_args(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = Settings(data_dir=home / "data")
        with running(settings.studio, settings.media, PORT) as (studio, _):
            token = studio.prepare_account().token
            tiles = generated(home / "slide")
            bench = Bench(settings, Studio(studio.url, token), token, tiles)
            bench.run(chosen.kills, random.Random(chosen.seed), started + 60 * chosen.minutes)


class Bench:
    def __init__(self, settings: Settings, studio: Studio, token: str, tiles: Path) -> None:
        self.settings, self.studio, self.token, self.tiles = settings, studio, token, tiles
        self.registry = Registry(settings.versions, settings.champions)
        self.version = resolve_model("starter:mitosis", self.registry).name
        self.environment = warm(settings.data_dir)

    def run(self, kills: int, rng: random.Random, deadline: float) -> None:
        reference = self.project("Never stopped")
        run = self.start(reference)
        begun = run.until_a_picture()
        whole = run.until_its_end()
        expected = self.keys(reference)
        sending = whole - begun
        print(
            f"{ROWS * COLUMNS} tiles, {len(expected)} tasks; a run takes {whole:.1f} s, "
            f"of which {begun:.1f} s pass before the first picture is written",
            flush=True,
        )
        done = projects = missing = double = 0
        points: Counter[str] = Counter()
        number = self.project("Killed 1")
        while done < kills and time.monotonic() < deadline:
            run = self.start(number)
            if rng.random() < EARLY:
                run.wait(rng.uniform(0, begun))
            else:
                run.until_a_picture()
                run.wait(rng.uniform(0, sending))
            if run.kill():
                done += 1
                there = sum(self.keys(number).values())
                points[point := self.point(run, len(expected) - there)] += 1
                print(f"kill {done}: {point}, {there} tasks there", flush=True)
                continue
            projects += 1
            lost, twice = self.compared(number, expected)
            missing, double = missing + lost, double + twice
            print(
                f"project {projects}: after {done} kills {lost} missing, {twice} double", flush=True
            )
            number = self.project(f"Killed {projects + 1}")
        run = self.start(number)
        run.until_its_end()
        lost, twice = self.compared(number, expected)
        print(
            f"{done} kills in {projects + 1} projects "
            f"({', '.join(f'{count} {point}' for point, count in points.most_common())}): "
            f"{missing + lost} tasks missing, {double + twice} double"
        )

    def project(self, title: str) -> int:
        number = self.studio.create_project(title, CONFIG).id
        project = Project(number, self.studio.url, self.token, title, CONFIG)
        Projects(self.settings.projects_database).connect(project)
        self.registry.promote(str(number), self.version, by="benchmark", reason="start")
        return number

    def start(self, project: int) -> Run:
        command = [
            sys.executable, "-m", "ml_backend", "--data-dir", str(self.settings.data_dir), "scan",
            str(self.tiles), "--project", str(project), "--send", "all", "--tile-overlap", "0",
            "--json",
        ]  # fmt: skip
        return Run(command, self.environment, self.settings, project)

    def keys(self, project: int) -> Counter[str]:
        return Counter(task["data"]["key"] for task in self.studio.list_tasks(project, full=False))

    def compared(self, project: int, expected: Counter[str]) -> tuple[int, int]:
        keys = self.keys(project)
        return len(expected.keys() - keys.keys()), sum(keys.values()) - len(keys)

    def point(self, run: Run, left: int) -> str:
        """Where a run was killed, with so many tasks left to send."""
        if not run.pictures_written():
            return "before its first picture"
        if on_its_way(self.settings, run.project):
            return "with a chunk on its way"
        return "while pictures were written" if left else "after its last task"


class Run:
    """A process of `cytoloop scan`, just started."""

    def __init__(
        self, command: list[str], environment: dict[str, str], settings: Settings, project: int
    ) -> None:
        self.project = project
        self._pictures = settings.media / str(project) / "scans"
        self._pictures.mkdir(parents=True, exist_ok=True)
        self._before = self._pictures.stat().st_mtime_ns
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )

    def pictures_written(self) -> bool:
        return self._pictures.stat().st_mtime_ns != self._before

    def until_a_picture(self) -> float:
        """Wait for its first picture; the seconds since its start, 0 where it ended without."""
        while not self.pictures_written():
            if self._process.poll() is not None:
                return 0.0
            time.sleep(0.01)
        return self.seconds()

    def until_its_end(self) -> float:
        """Its seconds from its start to its end."""
        if self._process.wait() not in (0, 3):
            raise SystemExit("a run failed by itself")
        return self.seconds()

    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self._started

    def wait(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def kill(self) -> bool:
        """False where it ended before."""
        if self._process.poll() is not None:
            self.until_its_end()
            return False
        self._process.kill()
        self._process.wait()
        return True


def on_its_way(settings: Settings, project: int) -> int:
    """How many tasks were handed to Label Studio and not known to have arrived."""
    (checkpoint,) = (settings.data_dir / "scans").glob(f"{project}-*.sqlite")
    with closing(sqlite3.connect(checkpoint)) as database:
        return database.execute("select count(*) from sending").fetchone()[0]


def generated(folder: Path) -> Path:
    folder.mkdir()
    scene = generate_mitosis_scene(3, (COLUMNS * WIDTH, ROWS * HEIGHT), dividing=150).image
    for row in range(ROWS):
        for column in range(COLUMNS):
            tile = scene[row * HEIGHT :, column * WIDTH :][:HEIGHT, :WIDTH]
            cv2.imwrite(str(folder / f"r{row}_c{column}.png"), tile[..., ::-1])
    return folder


if __name__ == "__main__":
    main()
