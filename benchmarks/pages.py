"""How long the pages take with much in them, and what an open page costs.

    uv run python benchmarks/pages.py

Makes a data folder with 100 versions, 100,000 tasks and 200,000 cells, as Label Studio would have
filled it, and asks the server's app for every page. Label Studio itself is away: the pages are
shown from what is known here, whatever it does.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import numpy as np

from ml_backend.dataset.corrections import Correction, Edit
from ml_backend.learners.model_file import FILE_NAME
from ml_backend.registry.versions import Version
from ml_backend.serving.app import create_app
from ml_backend.serving.app_state import EXTENSION, AppState
from ml_backend.serving.catalogue.cells import Cell, TaskCells
from ml_backend.serving.catalogue.likeness import LENGTH
from ml_backend.settings import Settings
from ml_backend.state.projects import Project
from ml_backend.system.atomic_files import write_json

LABELS = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Mitotic cell"/><Label value="Other"/></RectangleLabels></View>'
)
STARTER = files("ml_backend.registry.starters") / "mitosis.safetensors"
BROWSER = {"Accept": "text/html"}
TIMES = 5


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tasks", type=int, default=100_000)
    options.add_argument("--versions", type=int, default=100)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        app = create_app(settings)
        state: AppState = app.extensions[EXTENSION]
        state.projects.connect(Project(1, "http://127.0.0.1:9", "token", "Many", LABELS))
        add_versions(state, chosen.versions)
        number = add_tasks(state, chosen.tasks)
        client = app.test_client()
        client.post("/login", data={"user": settings.backend_user, "password": state.password})
        before = measure_memory()
        version = f"1-v{chosen.versions}-00000000"
        pages = {
            "projects": "/",
            "project": "/projects/1/",
            "now, again and again": "/projects/1/now",
            "versions": "/projects/1/versions/",
            "version": f"/projects/1/versions/{version}",
            "cells, least confident": "/projects/1/cells/",
            "cells, by disagreement": "/projects/1/cells/?state=any&order=disagreement",
            "cells, a class of a sample": "/projects/1/cells/?state=any&shown=Other&sample=s7",
            "cells, page 400": "/projects/1/cells/?state=any&page=400",
            "cells, more like this": f"/projects/1/cells/?alike={number}",
        }
        times = {}
        for name, path in pages.items():
            taken = []
            for _ in range(TIMES):
                started = time.perf_counter()
                answer = client.get(path, headers=BROWSER)
                taken.append(time.perf_counter() - started)
                assert answer.status_code == 200, (path, answer.status_code)
            times[name] = (taken[0], float(np.median(taken)), len(answer.data) / 1e3)
            print(f"{name:28} first {taken[0]:.3f} s, then {times[name][1]:.3f} s, "
                  f"{times[name][2]:.0f} kB")  # fmt: skip
        busy = times["now, again and again"][1] / 4
        print(f"an open project page, asking every 4 s: {1000 * busy:.1f} ms of a core a second")
        print(f"memory: {before:.0f} MB before, {measure_memory():.0f} MB after")


def add_versions(state: AppState, number: int) -> None:
    figures = {
        "f1": 0.7, "f1_interval": [0.6, 0.8], "images": 200, "groups": 20,
        "confusion": {
            "Mitotic cell": {"Mitotic cell": 90, "missed": 10},
            "background": {"Mitotic cell": 5, "missed": 0},
        },
        "calibration": {"error": 0.05, "bins": [
            {"low": i / 10, "high": (i + 1) / 10, "boxes": 10, "confidence": i / 10 + 0.05,
             "right": i / 10} for i in range(10)
        ]},
    }  # fmt: skip
    hashes = tuple(f"{i:064x}" for i in range(2000))
    for i in range(1, number + 1):
        version = Version(
            f"1-v{i}-00000000", "1", float(i), figures=figures, seen_hashes=hashes,
            decision={"promoted": True, "reasons": ["better"], "champion_f1": 0.65},
        )  # fmt: skip
        weights = state.registry.get_folder(version.name) / FILE_NAME
        weights.parent.mkdir(parents=True)
        weights.symlink_to(STARTER)
        write_json(state.registry.get_folder(version.name) / "version.json", asdict(version))
        state.registry.promote("1", version.name, by="benchmark", reason="better")


def add_tasks(state: AppState, number: int) -> int:
    """Tasks with two cells each, a fifth of them reviewed; return the number of a cell."""
    random = np.random.default_rng(0)
    catalogue, _ = state.catalogues.get(1)
    labels = ("Mitotic cell", "Other")
    rows, version = [], state.models.choose_version(state.projects.get(1))
    for task in range(1, number + 1):
        reviewed = task % 5 == 0
        cells = tuple(
            Cell(
                task * 2 + i, task, f"r{i}", (10.0, 10.0, 40.0, 40.0), labels[i], labels[i],
                "kept" if reviewed else "detected", float(random.random()),
                float(random.random()),
            )
            for i in range(2)
        )  # fmt: skip
        correction = Correction(task, task, version, 10.0, (Edit("kept", "Other", 1.0),) * 2)
        rows.append(
            TaskCells(
                task, f"{task}.png", f"s{task % 40}", "train", False,
                "reviewed" if reviewed else "detected", version, task if reviewed else None,
                "2026-01-01", True, cells, (correction,) if reviewed else (), 0,
            )
        )  # fmt: skip
        if len(rows) == 5000 or task == number:
            catalogue.put(rows, version)
            rows = []
    vectors = random.integers(-127, 127, (2 * number, LENGTH)).astype(np.int8)
    with catalogue.write() as database:
        database.executemany(
            "insert into look values (?, ?)",
            ((cell + 2, vector.tobytes()) for cell, vector in enumerate(vectors)),
        )
    return 2


def measure_memory() -> float:
    """The most that this process has taken so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
