"""A data folder of version 0.1.0 opens, serves and trains on; see the README of the fixture."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ml_backend.dataset import snapshot as snapshots
from ml_backend.registry.starters import STARTERS
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.system.credentials import read_backend_password
from ml_backend.system.plain_files import hash_file
from tests.conftest import free_port
from tests.crashing.studio import StandIn

FIXTURE = Path(__file__).parents[1] / "fixtures" / "data_folder_0_1"
PROJECT = 1
STARTED = 300.0  # seconds a process may take, on a machine that has much else to do


def read_expected(name: str) -> Any:
    return json.loads((FIXTURE / "expected" / name).read_text(encoding="utf-8"))


@pytest.fixture
def settings(tmp_path: Path, starter_versions: Path) -> Settings:
    """The settings of a copy of the folder, with all that was left out of it put back."""
    data = tmp_path / "data"
    shutil.copytree(FIXTURE / "data", data)
    for script in data.glob("*.sql"):
        with closing(sqlite3.connect(script.with_suffix(".sqlite"))) as database:
            database.executescript(script.read_text(encoding="utf-8"))
        script.unlink()
    copies = json.loads((data / "images.json").read_text(encoding="utf-8"))
    for copy, original in copies.items():
        (data / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / original, data / copy)
    (data / "images.json").unlink()
    (starter,) = starter_versions.glob("starter-mitosis-*")
    for metadata in data.glob("versions/*/weights.metadata.json"):
        put_weights_back(metadata)
        for name in ("model.xml", "model.bin"):
            shutil.copy(starter / name, metadata.parent)
    return Settings(data_dir=data)


def put_weights_back(metadata: Path) -> None:
    """Make weights.safetensors of the starter's tensors and a version's metadata.

    The file starts with the length of its JSON header, 8 bytes; the header is filled up with
    spaces to a multiple of 8 (https://github.com/huggingface/safetensors, Format).
    """
    starter = (STARTERS / "mitosis.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", starter)
    header = json.loads(starter[8 : 8 + length])
    header["__metadata__"] = json.loads(metadata.read_text(encoding="utf-8"))
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    weights = metadata.with_name("weights.safetensors")
    weights.write_bytes(struct.pack("<Q", len(encoded)) + encoded + starter[8 + length :])
    metadata.unlink()


def run_json(settings: Settings, *arguments: str) -> Any:
    """What a command answers with --json."""
    command = [sys.executable, "-m", "ml_backend", "--data-dir", str(settings.data_dir)]
    done = subprocess.run([*command, *arguments, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_still_told(old: Any, new: Any, place: str = "") -> None:
    """All that was told is told, with the same values; objects may have got more keys."""
    if isinstance(old, dict):
        assert isinstance(new, dict), place
        for key, value in old.items():
            assert key in new, f"{place}/{key}"
            assert_still_told(value, new[key], f"{place}/{key}")
    else:
        assert new == old, place


def test_versions_are_told_as_before(settings: Settings) -> None:
    listed = run_json(settings, "models", "list")["models"]
    old = read_expected("models-list.json")
    assert len(listed) == len(old)
    for before, now in zip(old, listed, strict=True):
        assert_still_told(before, now)
    shown = read_expected("models-show.json")
    assert len(shown) == 4
    for name, told in shown.items():
        assert_still_told(told, run_json(settings, "models", "show", name), name)


def test_the_weights_are_those_that_gave_the_versions_their_names(settings: Settings) -> None:
    registry = Registry(settings.versions, settings.champions)
    trained = registry.list_versions(str(PROJECT))
    assert len(trained) == 2
    for version in trained:
        weights = registry.get_folder(version.name) / "weights.safetensors"
        assert version.name.endswith(hash_file(weights)[:8])


def test_what_was_kept_of_the_project_is_there(settings: Settings) -> None:
    projects = Projects(settings.projects_database)
    (project,) = projects.list_projects()
    assert (project.id, project.title) == (PROJECT, "Killed")
    assert [(number, kind) for number, kind, *_ in projects.list_notes()] == [(PROJECT, "changed")]
    (left_out,) = projects.list_left_out(PROJECT)
    assert "missing.jpg" in left_out["reason"]
    assert len(projects.get_shown_regions(PROJECT)) == 18
    champion = Registry(settings.versions, settings.champions).get_champion(str(PROJECT))
    assert projects.get_shown_regions(PROJECT, [str(champion)])
    assert len(projects.keep_queue_scores(PROJECT, "blind-v1", "certainty")) >= 20
    last = snapshots.load_snapshot(projects.get_last_attempt(PROJECT) or "", settings.snapshots)
    assert last is not None and len(last.items) == 16


@contextmanager
def serve(settings: Settings) -> Iterator[httpx.Client]:
    """The server over the folder, as a process, and a client that may ask it."""
    port = free_port()
    command = [sys.executable, "-m", "ml_backend", "--data-dir", str(settings.data_dir)]
    # 0.1.0 knew no other strategy.
    environment = {**os.environ, "CYTOLOOP_STRATEGY": "certainty"}
    process = subprocess.Popen([*command, "serve", "--port", str(port)], env=environment)
    auth = (settings.backend_user, read_backend_password(settings))
    address = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=address, auth=auth, timeout=60, trust_env=False) as client:
            wait_for("an answer", process, lambda: answers(client))
            yield client
    finally:
        process.terminate()
        process.wait()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False


def wait_for(what: str, process: subprocess.Popen[Any], true: Callable[[], bool]) -> None:
    """Raises AssertionError where the process ends before, or takes too long."""
    end = time.monotonic() + STARTED
    while not true():
        assert process.poll() is None, f"the process ended before there was {what}"
        assert time.monotonic() < end, f"not within {STARTED:.0f} s: {what}"
        time.sleep(0.1)


def assert_predicts(client: httpx.Client, image: str, old: dict[str, Any]) -> None:
    """The server draws on an image of the media folder what it drew before."""
    task = {"id": 1, "data": {"image": f"/data/local-files/?d={PROJECT}/{image}"}}
    body = {"project": f"{PROJECT}.0", "tasks": [task], "params": {}}
    new = client.post("/predict", json=body).raise_for_status().json()
    assert new["model_version"] == old["model_version"]
    (before,), (now,) = old["results"], new["results"]
    assert now["model_version"] == before["model_version"]
    assert now["score"] == pytest.approx(before["score"], abs=1e-3)
    assert len(now["result"]) == len(before["result"]) > 0
    for was, region in zip(before["result"], now["result"], strict=True):
        assert region["value"].pop("rectanglelabels") == was["value"].pop("rectanglelabels")
        assert region["value"] == pytest.approx(was["value"], abs=0.05)  # percent of the image
        assert region["score"] == pytest.approx(was["score"], abs=1e-3)


def test_the_champion_serves(settings: Settings) -> None:
    with serve(settings) as client:
        assert_predicts(client, "21.png", read_expected("predict-21.json"))


def test_the_champion_serves_a_real_image(settings: Settings, real_images: Path) -> None:
    old = read_expected("predict-real.json")
    shutil.copy(real_images / "images" / old["image"], settings.media / str(PROJECT))
    with serve(settings) as client:
        assert_predicts(client, old["image"], old)


@pytest.mark.timeout(400)
def test_a_training_that_was_killed_goes_on(settings: Settings, tmp_path: Path) -> None:
    """The worker takes the job up where the old one left it: the snapshot is taken."""
    registry = Registry(settings.versions, settings.champions)
    projects = Projects(settings.projects_database)
    known = {version.name for version in registry.list_versions()}
    snapshot = {path.stem for path in settings.snapshots.glob("*.json")} - {
        version.snapshot for version in registry.list_versions()
    }
    state = json.loads((FIXTURE / "label-studio.json").read_text(encoding="utf-8"))
    environment = {
        **os.environ,
        "CYTOLOOP_EPOCHS": "1",
        "CYTOLOOP_IMGSZ": "64",
        "CYTOLOOP_QUIET_SECONDS": "0.1",
        "CYTOLOOP_POLL_SECONDS": "0.1",
    }
    with StandIn() as stand_in:
        stand_in.restore(state)
        (project,) = projects.list_projects()
        projects.move(project.url, stand_in.url, stand_in.token)
        command = [sys.executable, "-m", "ml_backend", "--data-dir", str(settings.data_dir)]
        with (tmp_path / "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                [*command, "worker"], env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            wait_for("a training", worker, lambda: projects.get_last_attempt(PROJECT) in snapshot)
            wait_for("no note", worker, lambda: not projects.list_notes())
        finally:
            worker.terminate()
            worker.wait()
    (made,) = [
        version for version in registry.list_versions(str(PROJECT)) if version.name not in known
    ]
    assert {made.snapshot} == snapshot
    assert made.base.startswith("starter-mitosis-") or made.base == "starter:mitosis"
    assert "promoted" in made.decision and made.figures
    assert len(registry.list_changes(str(PROJECT))) >= 4
    assert "Traceback" not in (tmp_path / "worker.log").read_text(errors="replace")
