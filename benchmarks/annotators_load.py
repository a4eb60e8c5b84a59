"""200 annotators at once, while a training and a scan go on: does everything answer in time?

    uv run --group benchmarks python benchmarks/annotators_load.py --users 200 --minutes 10

A real Label Studio, the backend and the worker as they are served, each a process of its own, and
locust with as many annotators, each with an account. They review one project: next task, image, a
while of looking, submit with the true regions, now and then a skip. The while is 60 s in the mean
(log-normal, so some take 25 and some 130): by the stated model of `cytoloop simulate` 3 s of
looking and 2 to 7 s for each edit make 13 to 24 s, and nobody works without a pause; 60 tasks an
hour are much for a person. A training is asked for at the start and the worker goes on by itself,
as corrections come; `cytoloop scan` sends generated scans, each to another project, one by one.

Told are, after a ramp of 30 s: errors; the times of the backend's /health and of its webhook, from
a probe twice a second and by the backend's own count of the events that Label Studio sent; Label
Studio's own times beside them; CPU by process, and memory at the start and at the end; the share
of the time that a training and a scan were under way. Locust takes a part of the same cores.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import psutil
from latency import wait_for
from studio import running

from ml_backend.demo.synthetic_images import generate_field, generate_mitosis_scene
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import AccessToken
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.registry.versions import Registry
from ml_backend.serving.connect import connect
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.state.training_progress import list_trainings
from ml_backend.system.atomic_files import write_json
from ml_backend.system.credentials import read_backend_password, read_event_password
from ml_backend.system.processes import Process

ROOT = Path(__file__).parents[1]
CONFIG = (ROOT / "ml_backend" / "label_studio" / "configs" / "mitosis.xml").read_text(
    encoding="utf-8"
)
LABELS = LabelingConfig.parse(CONFIG)
CELL = "Mitotic cell"
SIZE = (1388, 1040)  # of the images that are reviewed, px
ROWS, COLUMNS, WIDTH, HEIGHT = 16, 24, 694, 520  # of a scan and its tiles
IMAGES = 60
PACE = 60.0
STUDIO_PORT, BACKEND_PORT = 8098, 9098
BACKEND = f"http://127.0.0.1:{BACKEND_PORT}"
SAMPLE_SECONDS = 5.0
LIMITS = {"backend /health": 0.1, "backend /webhook": 0.2}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--pace", type=float, default=PACE, help="seconds for a task, in the mean")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder) / "data")
        environment = {**os.environ, "CYTOLOOP_DATA_DIR": str(settings.data_dir)}
        with running(settings.studio, settings.media, STUDIO_PORT) as (server, process):
            token = server.prepare_account().token
            studio = Studio(server.url, token)
            serve = start("serve", settings, environment, "--port", str(BACKEND_PORT))
            try:
                wait_for(BACKEND)
                tasks = round(1.5 * options.users * 60 * options.minutes / options.pace) + 100
                project, version, truth = make_project(settings, studio, token, tasks)
                worker = start("worker", settings, environment)
                try:
                    wait_until_drawn(studio, project, version)
                    sessions = sign_up(server.url, token, options.users)
                    load = {
                        "studio": server.url,
                        "backend": BACKEND,
                        "project": project,
                        "pace": options.pace,
                        "sessions": sessions,
                        "truth": truth,
                        "event_headers": make_event_headers(settings),
                    }
                    write_json(Path(folder) / "load.json", load)
                    print("everything is set up", file=sys.stderr, flush=True)
                    family = {"Label Studio": process, "backend": serve, "worker": worker}
                    scans = Scans(settings, studio, token, environment, Path(folder) / "scan")
                    figures = measure(options, Path(folder), settings, project, family, scans)
                    figures["reviewed"] = studio.count_annotated(project)
                    versions = Registry.open(settings).list_versions(str(project))
                    figures["trained versions"] = len(versions)
                finally:
                    worker.stop()
            finally:
                serve.stop()
    report(figures, options)
    if options.json:
        write_json(options.json, figures)


def start(command: str, settings: Settings, environment: dict[str, str], *words: str) -> Process:
    """Start a command of cytoloop with a log of its own."""
    return Process.start(
        [sys.executable, "-m", "ml_backend", command, *words],
        settings.logs / f"{command}.log",
        environment,
        settings.data_dir,
    )


def write_images(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Write the images; the regions that belong on each, by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = {}
    for number in range(IMAGES):
        image, boxes = generate_field(number, size=SIZE)
        name = f"{number}.png"
        cv2.imwrite(str(folder / name), image[..., ::-1])
        boxes = boxes.select(boxes.label == CELL)
        drawn = LABELS.write_regions(
            boxes,
            width=SIZE[0],
            height=SIZE[1],
            matching=LABELS.match_classes([CELL]),
            version="",
        )
        truth[name] = [{k: v for k, v in region.items() if k != "score"} for region in drawn]
    return truth


def make_project(
    settings: Settings, studio: Studio, token: str, tasks: int
) -> tuple[int, str, dict[str, list[dict[str, Any]]]]:
    """A connected project with so many tasks, some reviewed; what draws it, the true regions."""
    project = studio.create_project("Many annotators", CONFIG).id
    folder = settings.media / str(project)
    truth = write_images(folder)
    studio.add_media_folder(project, folder)
    version = connect(settings, studio.url, token, project, BACKEND).version
    ids = studio.import_tasks(
        project, [{"data": make_data(project, number % IMAGES)} for number in range(tasks)]
    )
    for number, task in enumerate(ids[:40]):  # enough to train on
        studio.submit_annotation(task, truth[f"{number % IMAGES}.png"])
    return project, version, truth


def make_data(project: int, image: int) -> dict[str, str]:
    """The data of a task: images of a sample, ten each, are on one side."""
    return {
        "image": f"/data/local-files/?d={project}/{image}.png",
        "source": f"{image}.png",
        "sample": f"sample {image // 10}",
        "split": "holdout" if image // 10 == 5 else "train",
    }


def wait_until_drawn(studio: Studio, project: int, version: str) -> None:
    """Wait until the worker has pre-annotated what is not reviewed."""
    while left := studio.count_untouched(project, without=version):
        print(f"{left} tasks wait for pre-annotations", file=sys.stderr, flush=True)
        time.sleep(10)


def sign_up(url: str, token: str, users: int) -> list[dict[str, str]]:
    """Sign so many people up by the owner's invitation; the cookies of their browsers."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as owner:
        header = AccessToken(url + "/", token, owner).header()
        invite = owner.get("/api/invite", headers={"Authorization": header}).json()["token"]

    def sign_up_one(number: int) -> dict[str, str]:
        page = f"/user/signup/?token={invite}"
        with httpx.Client(base_url=url, trust_env=False, timeout=120) as person:
            person.get(page)
            form = {
                "email": f"annotator{number}@localhost.org",
                "password": secrets.token_urlsafe(12),
                "csrfmiddlewaretoken": person.cookies["csrftoken"],
            }
            answer = person.post(page, data=form)
            if answer.status_code != 302:
                sys.exit(f"annotator {number} was not signed up: {answer.status_code}")
            return dict(person.cookies)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(sign_up_one, range(users)))


def make_event_headers(settings: Settings) -> dict[str, str]:
    """The headers of a webhook, as Label Studio sends them."""
    words = f"{settings.backend_user}:{read_event_password(settings)}".encode()
    return {"Authorization": f"Basic {base64.b64encode(words).decode()}"}


def write_tiles(folder: Path) -> None:
    """Write the tiles of a scan."""
    folder.mkdir()
    for row in range(ROWS):
        if row % 2 == 0:
            strip = generate_mitosis_scene(row, (COLUMNS * WIDTH, HEIGHT), dividing=8).image
        strip = strip[::-1]  # upside down they are others, and cost no time
        for column in range(COLUMNS):
            tile = strip[:, column * WIDTH :][:, :WIDTH]
            cv2.imwrite(str(folder / f"r{row}_c{column}.png"), tile[..., ::-1])


class Scans:
    """Scans, one after the other, each to a project of its own."""

    def __init__(
        self,
        settings: Settings,
        studio: Studio,
        token: str,
        environment: dict[str, str],
        tiles: Path,
    ) -> None:
        self.settings, self.studio, self.token = settings, studio, token
        self.environment, self.tiles = environment, tiles
        self.done, self.failed = 0, 0
        self.process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        write_tiles(tiles)
        self._thread = threading.Thread(target=self._scan, daemon=True)

    def start(self) -> None:
        """Begin with the first."""
        self._thread.start()

    @property
    def is_scanning(self) -> bool:
        """Whether one is under way."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """End the present one."""
        self._ended.set()
        if self.process is not None:
            self.process.terminate()
        self._thread.join(60)

    def _scan(self) -> None:
        while not self._ended.is_set():
            project = self.studio.create_project(f"Scan {self.done}", CONFIG).id
            connect(self.settings, self.studio.url, self.token, project, BACKEND)
            with (self.settings.logs / "scan.log").open("ab") as log:
                self.process = subprocess.Popen(
                    [
                        sys.executable, "-m", "ml_backend", "scan", str(self.tiles),
                        "--project", str(project), "--tile-overlap", "0", "--json",
                    ],
                    env=self.environment, stdout=log, stderr=log,
                )  # fmt: skip
            code = self.process.wait()
            if not self._ended.is_set():
                self.done += 1
                self.failed += code not in (0, 3)


def measure(
    options: argparse.Namespace,
    folder: Path,
    settings: Settings,
    project: int,
    family: dict[str, Process],
    scans: Scans,
) -> dict[str, Any]:
    """Let the annotators work, with a training and a scan beside them."""
    Projects(settings.projects_database).add_note(project, "train")
    scans.start()
    while not (list_trainings(settings.progress) and scans.is_scanning):
        time.sleep(0.5)
    before = read_events(settings)
    locust = subprocess.Popen(
        [
            sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks" / "annotator_user.py"),
            "--headless", "--users", str(options.users + 2), "--spawn-rate",
            str(max(1.0, options.users / 30)), "--run-time", f"{round(60 * options.minutes)}s",
            "--reset-stats", "--only-summary", "--json", "--stop-timeout", "5",
        ],
        env={**os.environ, "ANNOTATORS_LOAD": str(folder / "load.json")},
        stdout=subprocess.PIPE, cwd=folder, text=True,
    )  # fmt: skip
    busy = {name: measure_cpu(find_process(child)) for name, child in family.items()}
    samples: list[dict[str, Any]] = []
    ended = threading.Event()
    sampler = threading.Thread(target=sample, args=(samples, ended, settings, family, scans))
    sampler.start()
    out, _ = locust.communicate()
    cpu = {name: measure_cpu(find_process(child)) - busy[name] for name, child in family.items()}
    ended.set()
    sampler.join()
    scans.stop()
    after = read_events(settings)
    return {
        "cores": os.cpu_count(),
        "annotators": options.users,
        "minutes": options.minutes,
        "pace": options.pace,
        "requests": [summarise(entry) for entry in json.loads(out)],
        "events": {bound: after[bound] - before.get(bound, 0) for bound in after},
        "scans finished": scans.done,
        "scans failed": scans.failed,
        "cpu": cpu,
        "samples": samples,
    }


def sample(
    samples: list[dict[str, Any]],
    ended: threading.Event,
    settings: Settings,
    family: dict[str, Process],
    scans: Scans,
) -> None:
    """Note memory, and what is under way, again and again."""
    while not ended.wait(SAMPLE_SECONDS):
        memory = {name: measure_family(find_process(child)) for name, child in family.items()}
        samples.append(
            {
                "memory": memory,
                "training": bool(list_trainings(settings.progress)),
                "scan": scans.is_scanning,
                "load": os.getloadavg()[0],
            }
        )


def find_process(child: Process) -> psutil.Process:
    """A child as psutil sees it."""
    return psutil.Process(child.popen.pid)


def measure_cpu(process: psutil.Process) -> float:
    """The CPU seconds of a process and the children that it has."""
    family = [process, *process.children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in family)


def measure_family(process: psutil.Process) -> int:
    """The memory of a process, and of its children that serve; those that train come and go."""
    return process.memory_info().rss + sum(
        child.memory_info().rss
        for child in process.children(recursive=True)
        if "training" not in " ".join(child.cmdline())
    )


def read_events(settings: Settings) -> dict[str, float]:
    """How many webhooks the backend answered within which time, by its own /metrics."""
    auth = settings.backend_user, read_backend_password(settings)
    answer = httpx.get(f"{BACKEND}/metrics", auth=auth, trust_env=False, timeout=30)
    pattern = r'cytoloop_request_seconds_bucket\{le="([^"]+)",route="webhook"\} (\S+)'
    text = answer.raise_for_status().text
    return {bound: float(count) for bound, count in re.findall(pattern, text)}


def summarise(entry: dict[str, Any]) -> dict[str, Any]:
    """Times in seconds of one kind of request."""
    times = sorted((float(ms) / 1000, count) for ms, count in entry["response_times"].items())
    values = np.repeat([ms for ms, _ in times], [count for _, count in times])
    quantiles = np.quantile(values, (0.5, 0.95, 0.99, 1.0)) if len(values) else [0.0] * 4
    return {
        "name": entry["name"],
        "requests": entry["num_requests"],
        "failures": entry["num_failures"],
        **dict(zip(("median", "p95", "p99", "longest"), map(float, quantiles), strict=True)),
    }


def report(figures: dict[str, Any], options: argparse.Namespace) -> None:
    print(
        f"{options.users} annotators for {options.minutes:g} minutes, {options.pace:g} s a task, "
        f"{figures['cores']} cores"
    )
    for entry in figures["requests"]:
        limit = LIMITS.get(entry["name"])
        print(
            f"  {entry['name']:22}{entry['requests']:7}{entry['failures']:5} failed"
            + "".join(f"  {key} {1000 * entry[key]:.0f}" for key in ("median", "p95", "p99"))
            + f"  longest {1000 * entry['longest']:.0f} ms"
            + (f"  (p95 under {1000 * limit:.0f} is asked)" if limit else "")
        )
    events = figures["events"]
    if events and events["+Inf"]:
        shares = ", ".join(
            f"{100 * events[bound] / events['+Inf']:.1f} % within {bound} s"
            for bound in ("0.05", "0.1", "0.2", "1.0")
        )
        print(f"  webhooks, by the backend's own count: {events['+Inf']:.0f}; {shares}")
    samples = figures["samples"]
    parts = defaultdict(list)
    for noted in samples:
        for name, size in noted["memory"].items():
            parts[name].append(size / 1e6)
    fifth = max(1, len(samples) // 5)
    for name, sizes in parts.items():
        first, last = np.median(sizes[:fifth]), np.median(sizes[-fifth:])
        print(
            f"  {name}: {first:.0f} MB in the first fifth, {last:.0f} MB in the last; "
            f"{figures['cpu'][name]:.0f} s of CPU"
        )
    for what in ("training", "scan"):
        print(f"  a {what} under way {100 * np.mean([noted[what] for noted in samples]):.0f} %")
    print(
        f"  {figures['reviewed']} tasks reviewed, {figures['trained versions']} versions trained, "
        f"{figures['scans finished']} scans finished, {figures['scans failed']} failed"
    )


if __name__ == "__main__":
    main()
