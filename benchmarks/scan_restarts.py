"""Killing `cytoloop scan` again and again: is a task missing, or one double?

    uv run python benchmarks/scan_restarts.py --kills 100

A scan of generated tiles goes to a project of a real Label Studio, every tile of it, and its
process is killed (SIGKILL on Linux and macOS) at a random point of its run, and started again,
and killed again. When a run ends by itself before its kill, the project is compared with one
whose scan was never stopped, by the keys of the tasks, and the next project begins.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
from studio import running

from ml_backend.models import resolve
from ml_backend.projects import Project, Projects
from ml_backend.registry import Registry
from ml_backend.samples.generator import mitosis_scene
from ml_backend.settings import Settings
from ml_backend.studio.client import Studio

ROOT = Path(__file__).parents[1]
CONFIG = (ROOT / "ml_backend" / "configs" / "mitosis.xml").read_text(encoding="utf-8")
ROWS, COLUMNS, WIDTH, HEIGHT = 14, 12, 520, 390
PORT = 8097


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--minutes", type=float, default=120, help="stop killing after these")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = Settings(data_dir=home / "data")
        with running(settings.studio, settings.media, PORT) as (studio, _):
            token = studio.account().token
            tiles = generated(home / "slide")
            bench = Bench(settings, Studio(studio.url, token), token, tiles)
            bench.run(chosen.kills, random.Random(chosen.seed), chosen.minutes)


class Bench:
    def __init__(self, settings: Settings, studio: Studio, token: str, tiles: Path) -> None:
        self.settings, self.studio, self.token, self.tiles = settings, studio, token, tiles
        self.registry = Registry(settings.versions, settings.champions)
        self.version = resolve("starter:mitosis", self.registry).name

    def run(self, kills: int, rng: random.Random, minutes: float) -> None:
        deadline = time.monotonic() + 60 * minutes
        reference = self.project("Never stopped")
        begun, whole = self.timed(reference)
        expected = self.keys(reference)
        print(
            f"{ROWS * COLUMNS} tiles, {len(expected)} tasks; a run takes {whole:.1f} s, "
            f"of which {begun:.1f} s pass before the first file is opened",
            flush=True,
        )
        done = projects = missing = double = 0
        points: Counter[str] = Counter()
        project = self.project("Killed 1")
        while done < kills and time.monotonic() < deadline:
            process, started = self.start(project), time.monotonic()
            try:
                process.wait(rng.uniform(0.5 * begun, whole))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                done += 1
                points[self.point(project, len(expected))] += 1
                continue
            # It ended first: a run that goes on takes less, and the machine may be less busy.
            share = (time.monotonic() - started) / whole
            begun, whole = share * begun, share * whole
            projects += 1
            lost, twice = self.compared(project, expected)
            missing, double = missing + lost, double + twice
            print(
                f"project {projects}: after {done} kills {lost} missing, {twice} double", flush=True
            )
            project = self.project(f"Killed {projects + 1}")
        if self.start(project).wait() not in (0, 3):
            raise SystemExit("the last run failed")
        lost, twice = self.compared(project, expected)
        print(
            f"{done} kills in {projects + 1} projects ({', '.join(map(_words, points.items()))}): "
            f"{missing + lost} tasks missing, {double + twice} double"
        )

    def project(self, title: str) -> int:
        number = self.studio.create_project(title, CONFIG).id
        project = Project(number, self.studio.url, self.token, title, CONFIG)
        Projects(self.settings.projects_database).connect(project)
        self.registry.promote(str(number), self.version, by="benchmark", reason="start")
        return number

    def start(self, project: int) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "ml_backend", "--data-dir", str(self.settings.data_dir), "scan",
            str(self.tiles), "--project", str(project), "--send", "all", "--tile-overlap", "0",
            "--json",
        ]  # fmt: skip
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def timed(self, project: int) -> tuple[float, float]:
        """Seconds until the first file is opened, and until the end."""
        started = time.perf_counter()
        process, begun = self.start(project), 0.0
        while process.poll() is None:
            if not begun and list((self.settings.data_dir / "scans").glob(f"{project}-*.sqlite")):
                begun = time.perf_counter() - started
            time.sleep(0.02)
        return begun, time.perf_counter() - started

    def keys(self, project: int) -> Counter[str]:
        return Counter(task["data"]["key"] for task in self.studio.tasks(project, full=False))

    def compared(self, project: int, expected: Counter[str]) -> tuple[int, int]:
        keys = self.keys(project)
        return len(expected.keys() - keys.keys()), sum(keys.values()) - len(keys)

    def point(self, project: int, tasks: int) -> str:
        there = sum(self.keys(project).values())
        return "before the first task" if not there else "between" if there < tasks else "after all"


def _words(point: tuple[str, int]) -> str:
    return f"{point[1]} {point[0]}"


def generated(folder: Path) -> Path:
    folder.mkdir()
    scene = mitosis_scene(3, (COLUMNS * WIDTH, ROWS * HEIGHT), dividing=150).image
    for row in range(ROWS):
        for column in range(COLUMNS):
            tile = scene[row * HEIGHT :, column * WIDTH :][:HEIGHT, :WIDTH]
            cv2.imwrite(str(folder / f"r{row}_c{column}.png"), tile[..., ::-1])
    return folder


if __name__ == "__main__":
    main()
