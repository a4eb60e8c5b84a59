"""The worker against a real Label Studio: killed in the middle of a training, it goes on."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tests.conftest import RunningStudio
from tests.unit.ml_backend.dataset.test_corrections import region

CONFIGS = Path(__file__).parents[2] / "ml_backend" / "label_studio" / "configs"


class Worker:
    """`cytoloop worker` as a process over a data folder."""

    def __init__(self, settings: Settings, **options: str) -> None:
        self.log = settings.data_dir / "worker.log"
        environment = {
            **os.environ,
            "CYTOLOOP_DATA_DIR": str(settings.data_dir),
            "CYTOLOOP_EPOCHS": "6",
            "CYTOLOOP_IMGSZ": "128",
            **options,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ml_backend", "worker"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def until(self, what: str, true: Callable[[], Any], seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not true():
            words = self.log.read_text(errors="replace")[-3000:]
            assert self.process.poll() is None, f"the worker ended: {words}"
            assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}\n{words}"
            time.sleep(0.2)

    def count_in_log(self, words: str) -> int:
        return self.log.read_text(errors="replace").count(words)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def project(label_studio: RunningStudio, settings: Settings) -> int:
    """A project of 12 small fields, all corrected but two, connected but without a backend."""
    studio = label_studio.studio
    config = (CONFIGS / "mitosis.xml").read_text(encoding="utf-8")
    number = studio.create_project("Killed and resumed", config).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    truth = []
    for seed in range(12):
        pixels, boxes = generate_field(
            np.random.default_rng(seed), size=(347, 260), scale=0.25, dividing=2
        )
        cv2.imwrite(str(folder / f"{seed}.png"), pixels[..., ::-1])
        truth.append(boxes)
    studio.add_media_folder(number, folder)
    data = [
        {
            "image": f"/data/local-files/?d={number}/{seed}.png",
            "source": f"{seed}.png",
            "split": "holdout" if seed % 4 == 3 else "train",
        }
        for seed in range(12)
    ]
    ids = studio.import_tasks(number, [{"data": fields} for fields in data])
    labels = LabelingConfig.parse(config)
    matching = labels.match_classes(["Mitotic cell", "Other"])
    for task, boxes in list(zip(ids, truth, strict=True))[:-2]:
        result = labels.write_regions(boxes, width=347, height=260, matching=matching, version="x")
        studio.submit_annotation(task, result)
    url, token = label_studio.url, label_studio.account.token
    settings.data_dir.mkdir()
    Projects(settings.projects_database).connect(Project(number, url, token, "Killed", config))
    return number


@pytest.mark.timeout(900)
def test_a_killed_training_goes_on_and_is_done_once(project: int, settings: Settings) -> None:
    projects = Projects(settings.projects_database)
    registry = Registry(settings.versions, settings.champions)
    worker = Worker(settings)
    try:
        projects.add_note(project, "train")
        worker.until("the training runs", lambda: worker.count_in_log("training epoch 1"))
        children = psutil.Process(worker.process.pid).children(recursive=True)
        worker.process.kill()
        worker.process.wait()
        assert registry.list_versions(str(project)) == []
        # The training ends with its worker, so that the next one has the machine to itself.
        _, alive = psutil.wait_procs(children, timeout=30)
        assert not alive

        worker = Worker(settings)
        worker.until("a decision", lambda: projects.get_last_attempt(project))
        (version,) = registry.list_versions(str(project))
        assert version.decision["reasons"] and version.snapshot == projects.get_last_attempt(
            project
        )
        assert (registry.get_champion(str(project)) == version.name) == version.decision["promoted"]
        # Two models that left out half of the tasks each have judged it, and are gone.
        assert version.decision["folds"] == 2 and len(version.decision["judged"]) == 10
        # They were trained beside the candidate, and found done when it was judged.
        assert all(
            worker.count_in_log(f"training fold {fold}, folds 2, epoch 6") for fold in (1, 2)
        )
        assert not worker.count_in_log(f"judging {version.name}: fold")
        assert not list((settings.data_dir / "training").glob("*-fold-*"))

        # Asked again with nothing new, it does not train again.
        worker.until("the job is over", lambda: not projects.list_notes())
        before = worker.count_in_log("epoch 1,")
        projects.add_note(project, "train")
        worker.until("a second attempt", lambda: worker.count_in_log("training was asked for") == 2)
        worker.until("the job is over", lambda: not projects.list_notes())
        time.sleep(3)
        assert worker.count_in_log("epoch 1,") == before
        assert len(registry.list_versions(str(project))) == 1

        # One worker a data folder.
        second = Worker(settings)
        assert second.process.wait(60) == 1
        assert second.count_in_log("is running on") == 1
    finally:
        worker.process.kill()
        worker.process.wait()


@pytest.mark.timeout(600)
def test_a_promotion_after_which_people_edit_more_is_taken_back(
    label_studio: RunningStudio, settings: Settings, starter_versions: Path
) -> None:
    shutil.copytree(starter_versions, settings.versions)
    registry = Registry(settings.versions, settings.champions)
    (starter,) = registry.list_versions()
    files = [path for path in registry.get_folder(starter.name).iterdir() if path.suffix != ".json"]
    studio = label_studio.studio
    config = (CONFIGS / "mitosis.xml").read_text(encoding="utf-8")
    number = studio.create_project("Edits that rise", config).id
    url, token = label_studio.url, label_studio.account.token
    projects = Projects(settings.projects_database)
    projects.connect(Project(number, url, token, "Edits that rise", config))
    for name in ("good-v1", "bad-v2"):
        registry.add(replace(starter, name=name, project=str(number), created=1.0), files)
        registry.promote(str(number), name, by="cytoloop", reason="better")

    # Twenty tasks as they were drawn by the one, and twenty that three cells had to be added to.
    ids = studio.import_tasks(number, [{"data": {"image": f"/none/{i}.png"}} for i in range(40)])
    shown = [region("cell", 10.0, 10.0, score=0.5, image_rotation=0)]
    drawn = [(task, "good-v1" if i < 20 else "bad-v2", 0.5, shown) for i, task in enumerate(ids)]
    studio.import_predictions(number, config, drawn)
    studio.set_model_version(number, "bad-v2")
    parents = {task["id"]: task["predictions"][0]["id"] for task in studio.list_tasks(number)}
    for i, task in enumerate(ids):
        result = copy.deepcopy(shown)
        if i >= 20:
            result += [region(f"new{n}", 20.0 * n, 60.0, origin="manual") for n in range(3)]
        studio.submit_annotation(task, result, parent_prediction=parents[task])

    worker = Worker(settings, CYTOLOOP_RETRAIN_AFTER="1000")
    try:
        projects.add_note(number, "changed")
        worker.until("a rollback", lambda: registry.get_champion(str(number)) == "good-v1")
        last = registry.list_changes(str(number))[-1]
        assert (last.kind, last.by) == ("rollback", "cytoloop")
        assert "3.00 edits a task" in last.reason and "0.00 in the last 20" in last.reason
        worker.until("published", lambda: studio.get_project(number).model_version == "good-v1")
        assert worker.count_in_log("back to good-v1") == 1
        told = registry.get("bad-v2").figures
        assert told["watch"]["worse"]
        assert told["usefulness"][str(number)]["edits_per_image"] == 3
    finally:
        worker.process.kill()
        worker.process.wait()
