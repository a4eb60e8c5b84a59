"""The loop through the real Label Studio: frames in phase contrast, corrected in the queue's order.

    uv run python benchmarks/loop_in_studio.py [--rounds 3] [--batch 20] [--seed 0] [--untouched]
        [--json FILE]

What `later_corrections.py` plays, with everything in its place: a new Label Studio, the worker as
`cytoloop worker` starts it, tasks with the starter's pre-annotations. In each round the first tasks
of the queue are corrected and submitted; measured is the time from the last submit until the worker
has decided, and, where it promoted, until all waiting tasks show the new version's boxes, with the
seconds of each step; then the champion, and the candidate, on the frames of four blocks of time
that are not in the project, and *clutter*: places where boxes were deleted in five frames or more,
how often there is a box there, of how many.

With `--untouched` all frames are the project's, under names that differ by seed (and so does what
is drawn by chance), and the champion is judged on those that nobody has corrected yet: what an
annotator has before them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from annotator import correct_regions, read_corners
from dbos import DBOSClient
from later_corrections import (
    CELL,
    CONFIG,
    DATA,
    find_clutter,
    find_deleted,
    measure_champion,
    select_frames,
)
from studio import running

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.registry.resolve import resolve_model
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects

PORT = 18431
PATIENCE = 3600.0  # seconds
NAME = "Phase contrast"
WIDTH, HEIGHT = 688, 1038  # of a frame, px
SIDES = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
STAYS, MOVED = 0.7, 0.5  # IoU from which a box is left as it is, or moved rather than drawn anew


class Loop:
    """A connected project of a running Label Studio, and its worker."""

    def __init__(self, studio: Studio, url: str, token: str, media: Path, data: Path) -> None:
        self.studio = studio
        self.settings = Settings(data_dir=data)
        self.registry = Registry(self.settings.versions, self.settings.champions)
        self.projects = Projects(self.settings.projects_database)
        self.deleted: list[np.ndarray] = []  # (N, 4) of each corrected frame, px
        self.corrected: set[str] = set()  # the names of the frames
        self.number = studio.create_project(NAME, CONFIG).id
        self.media = media / str(self.number)
        self.media.mkdir(parents=True)
        starter = resolve_model("starter:mitosis", self.registry).name
        self.registry.promote(str(self.number), starter, by="benchmark", reason="start")
        self.projects.connect(Project(self.number, url, token, NAME, CONFIG))

    def import_frames(self, frames: list[Example], prefix: str = "") -> None:
        def name(frame: Example) -> str:
            return prefix + frame.image.name

        for frame in frames:
            shutil.copyfile(frame.image, self.media / name(frame))
        self.studio.add_media_folder(self.number, self.media)
        folder = f"/data/local-files/?d={self.number}"
        data = [
            {"image": f"{folder}/{name(frame)}", "source": frame.image.name} for frame in frames
        ]
        self.studio.import_tasks(self.number, [{"data": fields} for fields in data])

    def start_worker(self) -> subprocess.Popen[bytes]:
        with (self.settings.data_dir / "worker.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ml_backend", "worker"],
                env={**os.environ, "CYTOLOOP_DATA_DIR": str(self.settings.data_dir)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_published(self) -> None:
        version = self.registry.get_champion(str(self.number))
        wait_until(lambda: not self.studio.count_untouched(self.number, without=version))
        wait_until(lambda: not self.projects.list_notes())

    def correct(self, number: int, truth: dict[str, Boxes]) -> None:
        """Correct and submit the next tasks of the queue."""
        labels = LabelingConfig.parse(CONFIG)
        matching = labels.match_classes([CELL])
        version = self.registry.get_champion(str(self.number))

        def find_shown(task: dict[str, Any]) -> dict[str, Any]:
            shown = [p for p in task["predictions"] if p["model_version"] == version]
            return dict(shown[0])

        waiting = list(self.studio.list_untouched_tasks(self.number, full=True))
        waiting.sort(key=lambda task: find_shown(task)["score"])
        for task in waiting[:number]:
            drawn = labels.write_regions(
                truth[task["data"]["source"]],
                width=WIDTH,
                height=HEIGHT,
                matching=matching,
                version="",
            )
            self.corrected.add(task["data"]["source"])
            shown = find_shown(task)
            found = read_corners(shown["result"]) * SIDES / 100
            self.deleted.append(find_deleted(found, truth[task["data"]["source"]].xyxy))
            result, _ = correct_regions(shown["result"], drawn, stays=STAYS, moved=MOVED)
            self.studio.submit_annotation(task["id"], result, parent_prediction=shown["id"])

    def learn(self) -> dict[str, Any]:
        """Ask for a training, as the webhook of the last submit would, and wait for its end."""
        before = self.projects.get_last_attempt(self.number)
        jobs = self.list_jobs()
        champion = self.registry.get_champion(str(self.number))
        started = time.monotonic()
        self.projects.add_note(self.number, "train")
        wait_until(lambda: self.projects.get_last_attempt(self.number) != before)
        decided = time.monotonic() - started
        promoted = self.registry.get_champion(str(self.number)) != champion
        if promoted:
            self.wait_until_published()
        seconds = time.monotonic() - started
        candidate = self.registry.list_versions(str(self.number))[-1]
        return {
            "promoted": promoted,
            "trial": [
                round(candidate.figures["f1"] or 0, 3),
                round(candidate.decision["champion_f1"] or 0, 3),
                len(candidate.decision["judged"]),
            ],
            "seconds": {
                "decided": round(decided, 1),
                "all": round(seconds, 1),
                **self.time_steps(self.list_jobs() - jobs),
            },
        }

    def list_jobs(self) -> set[str]:
        """List the worker's jobs by their ids."""
        return {job.workflow_id for job in self.job_records.list_workflows()}

    def time_steps(self, jobs: set[str]) -> dict[str, float]:
        """Add up the seconds that each kind of step took in some jobs."""
        seconds: dict[str, float] = defaultdict(float)
        for job in jobs:
            for step in self.job_records.list_workflow_steps(job):
                begun, ended = step["started_at_epoch_ms"], step["completed_at_epoch_ms"]
                if begun and ended:
                    seconds[step["function_name"]] += (ended - begun) / 1000
        return {name: round(spent, 1) for name, spent in seconds.items()}

    @cached_property
    def job_records(self) -> DBOSClient:
        """What the worker keeps of its jobs; it has to run."""
        return DBOSClient(system_database_url=f"sqlite:///{self.settings.jobs_database}")


def wait_until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_true():
        if time.monotonic() > end:
            sys.exit("the worker took too long; see its log")
        time.sleep(1)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--batch", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument(
        "--untouched", action="store_true", help="judge on frames of the project"
    )
    arguments.add_argument("--json", type=Path, help="append one line a round to this file")
    asked = arguments.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the frames are not at {DATA}")
    project, judged = select_frames(asked.seed)
    if asked.untouched:
        project += judged
    truth = {frame.image.name: frame.boxes for frame in project if frame.boxes is not None}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        environment, _ = stack.enter_context(running(folder / "studio", folder / "media", PORT))
        url, token = f"http://127.0.0.1:{PORT}", environment.prepare_account().token
        loop = Loop(Studio(url, token), url, token, folder / "media", folder / "data")
        loop.import_frames(project, f"{asked.seed}-" if asked.untouched else "")
        worker = loop.start_worker()
        stack.callback(worker.wait)
        stack.callback(worker.kill)
        stack.callback(lambda: loop.job_records.destroy())
        loop.projects.add_note(loop.number, "publish")
        loop.wait_until_published()
        for round_number in range(1, asked.rounds + 1):
            loop.correct(asked.batch, truth)
            tasks = {"seed": asked.seed, "tasks": round_number * asked.batch}
            learned = loop.learn()
            champion = loop.registry.get_champion(str(loop.number))
            assert champion is not None
            if asked.untouched:
                judged = [f for f in project if f.image.name not in loop.corrected]
            clutter = find_clutter(np.concatenate(loop.deleted))
            measured = measure_champion(loop.registry.get_folder(champion), judged, clutter)
            newest = loop.registry.list_versions(str(loop.number))[-1].name
            of_newest = (
                measured
                if newest == champion
                else measure_champion(loop.registry.get_folder(newest), judged)
            )
            candidate = {f"candidate_{key}": of_newest[key] for key in ("f1", "best_f1", "ap50")}
            line = json.dumps({**tasks, **learned, **measured, **candidate})
            print(line, flush=True)
            if asked.json:
                with asked.json.open("a") as file:
                    file.write(line + "\n")


if __name__ == "__main__":
    main()
