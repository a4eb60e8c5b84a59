"""Ours in Label Studio's own framework: label-studio-ml 1.0.9 from the index, with the redis and rq
that it forgets to ask for, in an environment of its own, because it pins Flask 1.

What else ours needs is taken from the environment of the tests, below the framework's packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from uv import find_uv_bin

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.processes import Process
from tests.conftest import ROOT, free_port

FRAMEWORK = "label-studio-ml==1.0.9"
MITOSIS = (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")
START = """
from label_studio_ml.api import init_app
from ml_backend.official import CytoloopModel
import sys
init_app(model_class=CytoloopModel, model_dir=sys.argv[1]).run(port=int(sys.argv[2]), threaded=True)
"""


@pytest.fixture(scope="session")
def framework() -> Path:
    """The interpreter of the environment in .cache/, made by the first run."""
    folder = ROOT / ".cache" / f"official-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        uv, partial = find_uv_bin(), folder.with_name(f"{folder.name}-{os.getpid()}")
        inside = partial / python.relative_to(folder)
        for command in (
            [uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(partial)],
            [uv, "pip", "install", "--quiet", "--python", str(inside), FRAMEWORK, "redis", "rq"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT.anchor)
            if done.returncode:
                shutil.rmtree(partial, ignore_errors=True)
                pytest.skip(f"{FRAMEWORK} could not be installed: {done.stderr.strip()[-200:]}")
        os.replace(partial, folder)
    return python


@pytest.fixture
def settings(tmp_path: Path, starter_versions: Path) -> Settings:
    """Project 1, with the starter as its champion, and two images on the disk."""
    settings = Settings(data_dir=tmp_path / "data")
    shutil.copytree(starter_versions, settings.versions)
    registry = Registry(settings.versions, settings.champions)
    registry.promote("1", next(settings.versions.glob("starter-*")).name, by="t", reason="t")
    Projects(settings.projects_database).connect(
        Project(1, "http://127.0.0.1:9", "t", "Cells", MITOSIS)
    )
    (settings.media / "1").mkdir(parents=True)
    pixels = generate_field(np.random.default_rng(1), dividing=2)[0]
    cv2.imwrite(str(settings.media / "1" / "a.png"), pixels[..., ::-1])
    return settings


@pytest.fixture
def server(framework: Path, settings: Settings, tmp_path: Path) -> Iterator[httpx.Client]:
    port = free_port()
    below = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    # The framework's own packages first: what PYTHONPATH names would go before them.
    program = f"import sys; sys.path += {below.split(os.pathsep)!r}\n{START}"
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "CYTOLOOP_DATA_DIR": str(settings.data_dir),
        "LABEL_STUDIO_ML_BACKEND_V2": "1",
    }
    command = [str(framework), "-c", program, str(tmp_path / "models"), str(port)]
    process = Process.start(command, tmp_path / "framework.log", environment, tmp_path)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            deadline = time.monotonic() + 90
            while True:
                assert process.is_alive(), process.read_last_lines(9)
                try:
                    http.get("/health").raise_for_status()
                    break
                except httpx.HTTPError:
                    assert time.monotonic() < deadline, process.read_last_lines(9)
                    time.sleep(0.2)
            yield http
    finally:
        process.stop()


def test_the_framework_serves_our_predictions_and_notes(
    server: httpx.Client, settings: Settings
) -> None:
    assert server.post("/setup", json={"project": "1.1700000000", "schema": MITOSIS}).is_success
    tasks = [
        {"id": number, "project": 1, "data": {"image": f"/data/local-files/?d=1/{name}.png"}}
        for number, name in ((1, "a"), (2, "missing"))
    ]
    body = {"tasks": tasks, "project": "1.1700000000", "label_config": MITOSIS, "params": {}}
    answer = server.post("/predict", json=body)
    assert answer.is_success, answer.text
    first, second = json.loads(answer.text)["results"]
    version = Registry(settings.versions, settings.champions).get_champion("1")
    assert first["model_version"] == version and len(first["result"]) >= 1
    assert second == []
    projects = Projects(settings.projects_database)
    assert [row["task"] for row in projects.list_left_out(1)] == [2]

    event = {"action": "START_TRAINING", "project": {"id": 1, "label_config": MITOSIS}}
    assert server.post("/webhook", json=event).is_success
    deadline = time.monotonic() + 60
    while "train" not in [note for _, note, _, _ in projects.list_notes()]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
