"""How fast the backend answers while a training runs: /health, /setup, /webhook, and clicks.

    uv run python benchmarks/latency.py

Starts a real backend over a fresh data folder, asks it from several connections at rest
and again while a real training runs at low priority, and prints both beside the limits:
Label Studio waits 1 s for a webhook, inside the annotator's own request. Clicks come one at a
time, as an annotator makes them: the first on each real image, which is decoded for it, and those
after it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.demo.synthetic_images import generate_field
from ml_backend.learners.training_child import run_in_child
from ml_backend.learners.training_job import TrainingJob
from ml_backend.registry import resolve
from ml_backend.registry.starters import find_starter_weights
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.credentials import read_backend_password

CONNECTIONS = 8
REQUESTS = 400
CLICKED, CLICKS = 20, 5  # images, and clicks on each
FIRST, LATER = "first click", "next click"
LIMITS = {"/health": 0.1, "/setup": 0.1, "/webhook": 0.2, FIRST: 0.3, LATER: 0.3}
IMAGES = Path(__file__).parents[2] / "shared" / "data" / "plant_mitosis" / "images"
CONFIG = Path(__file__).parents[1] / "ml_backend" / "label_studio" / "configs" / "mitosis.xml"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        registry = Registry(settings.versions, settings.champions)
        starter = resolve.resolve_model("starter:mitosis", registry)
        label_config = CONFIG.read_text(encoding="utf-8")
        projects = Projects(settings.projects_database)
        projects.connect(Project(1, "http://127.0.0.1:1", "none", "bench", label_config))
        registry.promote("1", starter.name, by="benchmark", reason="start")
        names = copy_images(settings.media / "1")
        port = free_port()
        server = subprocess.Popen(
            [sys.executable, "-m", "ml_backend", "serve", "--port", str(port)],
            env={**os.environ, "CYTOLOOP_DATA_DIR": folder},
        )
        try:
            base = f"http://127.0.0.1:{port}"
            auth = (settings.backend_user, read_backend_password(settings))
            wait_for(base)
            rest = ask(base, auth, label_config) | click(base, auth, names[:CLICKED])
            ended = threading.Event()
            started = threading.Event()
            training = threading.Thread(target=train, args=(Path(folder), started, ended))
            training.start()
            started.wait()
            busy = ask(base, auth, label_config) | click(base, auth, names[CLICKED:])
            still = training.is_alive()
            ended.set()
            training.join()
        finally:
            server.terminate()
            server.wait()
    print(f"{REQUESTS} requests a route over {CONNECTIONS} connections, milliseconds")
    print(f"{'':12}{'at rest':>20}{'while training':>20}{'limit':>8}")
    print(f"{'':12}{'p50':>10}{'p99':>10}{'p50':>10}{'p99':>10}")
    for route, limit in LIMITS.items():
        if not rest[route]:
            print(f"{route:12}  the real images are not at {IMAGES}")
            continue
        figures = [
            1000 * np.percentile(times[route], q) for times in (rest, busy) for q in (50, 99)
        ]
        print(f"{route:12}" + "".join(f"{ms:10.1f}" for ms in figures) + f"{1000 * limit:8.0f}")
    if not still:
        print("the training ended before the requests did; the right columns are too good")


def train(folder: Path, started: threading.Event, ended: threading.Event) -> None:
    """A training on generated fields, until `ended`."""
    import cv2

    examples = []
    for seed in range(12):
        pixels, boxes = generate_field(seed)
        path = folder / f"{seed}.png"
        cv2.imwrite(str(path), pixels[..., ::-1])
        examples.append(Example(path, str(seed), boxes))
    job = TrainingJob(
        examples=examples,
        classes=("Mitotic cell", "Other"),
        headline=("Mitotic cell",),
        base=find_starter_weights("starter:mitosis"),
        out=folder / "out",
        epochs=1000,
    )

    class Enough(Exception):
        pass

    def progress(step: dict[str, object]) -> None:
        started.set()
        if ended.is_set():
            raise Enough

    try:
        run_in_child(job, progress)
    except Enough:
        pass
    finally:
        started.set()


def ask(base: str, auth: tuple[str, str], label_config: str) -> dict[str, list[float]]:
    """Seconds of every request, by route."""
    bodies = {
        "/health": None,
        "/setup": {"project": "1.1700000000", "schema": label_config, "extra_params": None},
        "/webhook": {"action": "ANNOTATION_CREATED", "project": {"id": 1}},
    }
    with httpx.Client(base_url=base, auth=auth, timeout=30) as client:

        def time_request(route: str) -> float:
            start = time.perf_counter()
            body = bodies[route]
            reply = client.get(route) if body is None else client.post(route, json=body)
            reply.raise_for_status()
            return time.perf_counter() - start

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return {route: list(pool.map(time_request, [route] * REQUESTS)) for route in bodies}


def copy_images(media: Path) -> list[str]:
    """Real images as our Label Studio would serve them; none where there are none."""
    media.mkdir(parents=True)
    names = []
    for path in sorted(IMAGES.glob("*.png"))[: 2 * CLICKED]:
        (media / path.name).write_bytes(path.read_bytes())
        names.append(path.name)
    return names


def click(base: str, auth: tuple[str, str], names: list[str]) -> dict[str, list[float]]:
    """Seconds of every click, in the request's shape of Label Studio 1.23."""
    times: dict[str, list[float]] = {FIRST: [], LATER: []}
    places = np.random.default_rng(0).uniform(20, 80, (len(names), CLICKS, 2))
    with httpx.Client(base_url=base, auth=auth, timeout=30) as client:
        for name, points in zip(names, places.tolist(), strict=True):
            for number, (x, y) in enumerate(points):
                value = {"x": x, "y": y, "width": 0.3, "keypointlabels": ["Mitotic cell"]}
                region = {"id": "a", "type": "keypointlabels", "value": value, "is_positive": True}
                body = {
                    "project": "1.1700000000",
                    "tasks": [{"id": 1, "data": {"image": f"/data/local-files/?d=1/{name}"}}],
                    "params": {"context": {"result": [region]}},
                }
                start = time.perf_counter()
                client.post("/predict", json=body).raise_for_status()
                times[LATER if number else FIRST].append(time.perf_counter() - start)
    return times


def wait_for(base: str, seconds: float = 120) -> None:
    """Wait until the backend at an address says that it is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if httpx.get(f"{base}/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    sys.exit(f"{base} does not answer")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
