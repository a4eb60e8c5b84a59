"""The loop, on real parts: up, pre-annotate, correct, train, judge, promote, refresh.

A real Label Studio, backend and worker, started by `cytoloop up` as a user starts them.
The images are fluorescence images of samples that the starter never saw, and the same
images with light and dark exchanged, as a bright-field microscope would show stained
cells: there the starter is lost, so corrections must make a better version.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.boxes import Boxes, compute_iou
from ml_backend.imaging.decode import decode
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.webhooks import start_training
from ml_backend.registry.versions import Registry
from ml_backend.system.atomic_files import read_json
from tests.annotated import make_rectangles
from tests.conftest import free_port

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "plant_mitosis"
UNSEEN = ("Os", "Asa", "Ta")
RETRAIN_AFTER = 20


@dataclass
class Field:
    """An image of the test and its mitotic cells, in pixels."""

    path: Path
    truth: np.ndarray


def real_fields(folder: Path) -> list[Field]:
    fields = []
    for example in read_folder(REAL).examples:
        if example.group in UNSEEN and example.boxes is not None:
            mitotic = [canonicalize(name) == "Mitotic cell" for name in example.boxes.label]
            truth = example.boxes.xyxy[np.array(mitotic, bool)]
            fields.append((example.group, example.image.stem, decode(example.image), truth))
    return list(write_fields(folder, fields))


def generated_fields(folder: Path) -> list[Field]:
    from ml_backend.demo.synthetic_images import generate_field

    fields = []
    for i in range(17):
        pixels, boxes = generate_field(np.random.default_rng(i))
        truth = boxes.xyxy[boxes.label == "Mitotic cell"]
        fields.append((UNSEEN[i % 3], f"generated{i}", pixels, truth))
    return list(write_fields(folder, fields))


def write_fields(folder: Path, fields: list[Any]) -> Iterator[Field]:
    """Each field twice: as it is, and as another microscope might show it.

    That one has bright surroundings and half the magnification, and the starter is lost: so
    what is learned there is far more than luck.
    """
    for sample, stem, pixels, truth in fields:
        halved = cv2.resize(255 - pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for suffix, shown, size in (("", pixels, 1.0), ("-brightfield", halved, 0.5)):
            path = folder / sample / f"{stem}{suffix}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), shown[..., ::-1])
            yield Field(path, truth * size)


class Running:
    """`cytoloop up` over a data folder, and what a test asks of it."""

    def __init__(self, folder: Path, images: Path, label_studio_env: Path) -> None:
        self.data = folder / "data"
        self.registry = Registry(self.data / "versions", self.data / "champions")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "up.log"
        self.environment = {
            **os.environ,
            "CYTOLOOP_DATA_DIR": str(self.data),
            "CYTOLOOP_LABEL_STUDIO_ENV": str(label_studio_env),
            "CYTOLOOP_RETRAIN_AFTER": str(RETRAIN_AFTER),
            "CYTOLOOP_EPOCHS": "40",
            "CYTOLOOP_IMGSZ": "448",
        }
        command = [sys.executable, "-m", "ml_backend", "up", "--images", str(images)]
        command += ["--labels", "mitosis", "--no-browser", "--port", str(port)]
        command += ["--backend-port", str(free_port())]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def command(self, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "ml_backend", *arguments, "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def words(self) -> str:
        logs = [self.log, *self.data.glob("logs/*.log")]
        return "\n".join(f"== {p.name}\n{p.read_text(errors='replace')[-3000:]}" for p in logs)

    def until(self, what: str, true: Callable[[], Any], seconds: float) -> Any:
        """Wait until something is true; its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, f"up ended: {self.words()}"
            if value := true():
                return value
            time.sleep(0.5)
        raise AssertionError(f"not within {seconds:.0f} s: {what}\n{self.words()}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        finally:
            if self.process.poll() is None:
                self.process.kill()


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Field]:
    folder = tmp_path_factory.mktemp("images")
    made = real_fields(folder) if REAL.exists() else generated_fields(folder)
    return {field.path.name: field for field in made}


@pytest.fixture(scope="module")
def up(
    fields: dict[str, Field], label_studio_env: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("up")
    images = next(iter(fields.values())).path.parents[1]
    running = Running(folder, images, label_studio_env)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


def shown(task: dict[str, Any], version: str) -> Boxes:
    """The pre-annotation of a version as boxes, by the test's own arithmetic."""
    (prediction,) = [p for p in task["predictions"] if p["model_version"] == version]
    rows = []
    for region in prediction["result"]:
        value, width, height = region["value"], region["original_width"], region["original_height"]
        x, y = value["x"] / 100 * width, value["y"] / 100 * height
        w, h = value["width"] / 100 * width, value["height"] / 100 * height
        rows.append((x, y, x + w, y + h, value["rectanglelabels"][0]))
    return Boxes.from_rows(rows)


def correction(field: Field) -> list[dict[str, Any]]:
    """The true boxes as a user's regions."""
    height, width = decode(field.path).shape[:2]
    return make_rectangles(field.truth.tolist(), (width, height))


@pytest.mark.timeout(1200)
def test_corrections_make_the_marks_better(up: Running, fields: dict[str, Field]) -> None:
    # Up: the project is there, and every task carries a pre-annotation of the starter.
    up.until("up says it is ready", lambda: "cytoloop is up" in up.log.read_text(), 600)
    account = read_json(up.data / "label-studio" / "account.json")
    assert account["password"] in up.log.read_text()
    studio = Studio(up.url, account["token"])
    (project,) = studio.list_projects()
    starter = project.model_version
    assert starter.startswith("starter-mitosis-")
    tasks = list(studio.list_tasks(project.id))
    assert sorted(task["data"]["source"].split("/")[-1] for task in tasks) == sorted(fields)
    by_name = {task["data"]["source"].split("/")[-1]: task for task in tasks}
    hits = total = 0
    for name, task in by_name.items():
        assert task["data"]["split"] in ("train", "holdout")
        assert 0 < task["data"]["sampling_p"] <= 1 and task["data"]["sampling_reason"]
        boxes = shown(task, starter)
        if task["data"]["blind"]:
            assert task["data"]["split"] == "holdout" and len(boxes) == 0
            continue
        assert set(boxes.label) <= {"Mitotic cell"}
        if "brightfield" not in name:
            truth = fields[name].truth
            total += len(truth)
            if len(boxes) and len(truth):
                hits += int((compute_iou(truth, boxes.xyxy).max(axis=1) >= 0.5).sum())
    assert hits >= 0.6 * total > 0, f"the starter found {hits} of {total} mitotic cells"
    assert {task["data"]["split"] for task in tasks} == {"train", "holdout"}

    # Correct all bright-field tasks, on both sides, and some of the others for training.
    order = sorted(by_name, key=lambda name: (by_name[name]["data"]["split"], name))
    held = [name for name in order if by_name[name]["data"]["split"] == "holdout"]
    bright = [name for name in order if "brightfield" in name]
    others = [name for name in order if name not in bright and name not in held]
    corrected = bright + others[: RETRAIN_AFTER + 1 - len(bright)]
    untouched = [name for name in order if name not in corrected]
    for name in corrected:
        task = by_name[name]
        parent = task["predictions"][0]["id"]
        studio.submit_annotation(task["id"], correction(fields[name]), parent_prediction=parent)

    # Exactly one training, judged and promoted.
    number = str(project.id)
    up.until("a new champion", lambda: up.registry.get_champion(number) != starter, 600)
    (version,) = up.command("models", "list", "--project", number)["models"]
    assert version["champion"] and version["f1"] > 0
    told = up.command("models", "show", version["version"])
    assert told["decision"]["promoted"] and "better" in told["decision"]["reasons"][0]
    line = f"project {number}: {version['version']} is the new champion"
    up.until("the terminal tells it", lambda: line in up.log.read_text("utf-8"), 30)
    assert told["base"] == "starter:mitosis"
    assert not set(told["seen_hashes"]) & {by_name[name]["data"]["sha256"] for name in held}, (
        "held-out images were trained on"
    )

    # Refreshed: untouched tasks under the new version, the project points to it.
    def refreshed() -> bool:
        return studio.get_project(project.id).model_version == version["version"]

    up.until("the project shows the new version", refreshed, 120)
    now = {t["data"]["source"].split("/")[-1]: t for t in studio.list_tasks(project.id)}
    for name, task in now.items():
        held_versions = {prediction["model_version"] for prediction in task["predictions"]}
        assert (version["version"] in held_versions) == (name in untouched)
    # Annotations keep the pre-annotation that they were made from.
    for name, task in now.items():
        if name not in untouched:
            assert task["annotations"][0]["parent_prediction"]

    # Scores are shown, and the task of the lowest is handed out first.
    scores = {now[name]["id"]: shown_score(now[name], version["version"]) for name in untouched}
    assert all(0 <= score <= 1 for score in scores.values())
    assert next_task(up.url, project.id, account["token"]) == min(
        scores, key=lambda task: scores[task]
    )

    # Start training works, and trains on what was corrected since.
    studio.submit_annotation(now[untouched[0]]["id"], correction(fields[untouched[0]]))
    start_training(studio.session, project.id)
    worker = up.data / "logs" / "worker.log"
    asked = len(worker.read_text("utf-8"))
    up.until(
        "a second training", lambda: "training epoch 1," in worker.read_text("utf-8")[asked:], 300
    )

    # One Ctrl-C ends every child, the training too.
    import psutil

    children = psutil.Process(up.process.pid).children(recursive=True)
    assert any("training_child" in " ".join(child.cmdline()) for child in children)
    assert up.stop() == 0
    assert not [child for child in children if child.is_running()]


def next_task(url: str, project: int, token: str) -> int:
    """What the button Label All Tasks opens."""
    with httpx.Client(base_url=url, trust_env=False) as http:
        access = http.post("/api/token/refresh/", json={"refresh": token}).json()["access"]
        headers = {"Authorization": f"Bearer {access}"}
        return http.get(f"/api/projects/{project}/next/", headers=headers).json()["id"]


def shown_score(task: dict[str, Any], version: str) -> float:
    (score,) = [p["score"] for p in task["predictions"] if p["model_version"] == version]
    return score
