"""How many tasks a second Label Studio's 'Retrieve predictions' gets pre-annotated.

    uv run python benchmarks/retrieve_predictions.py

Starts a real Label Studio and a real backend, makes a project of 40 of the real images
beside the checkout, and asks for their predictions as the Data Manager's action does: one
request, timed from the click to the stored pre-annotations. Every round is a new project,
so the server has seen none of its images. It is done in two ways: with the images in
cytoloop's media folder, as `cytoloop up` imports them, and uploaded to Label Studio, which
then has to hand out each one. The CPU time a task tells apart what is slow and what waited
for a busy machine. Beside the rates stands the F1 of the stored boxes of mitotic
cells, over all images and over those of samples that the starter never saw.

On two CPU cores the official YOLO example (one worker, YOLOv5n at 512 px) reached 7.8 tasks
a second on 40 of these images, and 11.7 with the images cached.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from studio import running

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.evaluation.metrics import evaluate
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import AccessToken
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.serving.connect import connect
from ml_backend.settings import Settings
from ml_backend.system.processes import Process
from tasks.launcher.import_images import find_images, import_images

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data" / "plant_mitosis"
CONFIG = (ROOT / "ml_backend" / "label_studio" / "configs" / "mitosis.xml").read_text(
    encoding="utf-8"
)
LABELS = LabelingConfig.parse(CONFIG)
UNSEEN = ("Os", "Asa", "Ta")
IMAGES = 40
ROUNDS = 3
STUDIO_PORT, BACKEND_PORT = 8096, 9096
BACKEND = f"http://127.0.0.1:{BACKEND_PORT}"
YOLO_EXAMPLE = 7.8


@dataclass
class Bench:
    """A Label Studio with its backend, and what the rounds share."""

    settings: Settings
    studio: Studio
    token: str
    processes: list[psutil.Process]  # Label Studio's and the backend's
    examples: dict[str, Example]  # by file name

    def make_project(self, title: str) -> int:
        project = self.studio.create_project(title, CONFIG).id
        folder = self.settings.media / str(project)
        folder.mkdir(parents=True)
        self.studio.add_media_folder(project, folder)
        return project

    def import_media(self, project: int) -> None:
        wanted = [
            image for image in find_images(REAL / "images")[0] if image.path.name in self.examples
        ]
        import_images(
            wanted,
            self.studio,
            project,
            image_key=LABELS.image_key,
            media=self.settings.media,
            holdout_share=0.2,
            blind_share=0.0,  # every task shall get boxes
        )

    def upload(self, project: int) -> None:
        with httpx.Client(base_url=self.studio.url, timeout=60) as http:
            token = AccessToken(self.studio.url + "/", self.token, http)
            for example in self.examples.values():
                with example.image.open("rb") as file:
                    http.post(
                        f"/api/projects/{project}/import",
                        headers={"Authorization": token.header()},
                        files={"file": (example.image.name, file, "image/png")},
                    ).raise_for_status()

    def round(self, title: str, bring_images: Any) -> tuple[float, list[float]]:
        """One project from new: tasks a second, and the CPU milliseconds a task of both sides.

        Its predictions stay to be judged.
        """
        self.project = self.make_project(title)
        bring_images(self.project)
        connect(self.settings, self.studio.url, self.token, self.project, BACKEND)
        tasks = [task["id"] for task in self.studio.list_tasks(self.project, full=False)]
        assert len(tasks) == len(self.examples)
        before = [cpu_seconds(process) for process in self.processes]
        started = time.perf_counter()
        self.studio.retrieve_predictions(self.project, tasks)
        seconds = time.perf_counter() - started
        after = [cpu_seconds(process) for process in self.processes]
        work = [1000 * (b - a) / len(tasks) for a, b in zip(before, after, strict=True)]
        return len(tasks) / seconds, work

    def f1(self, groups: Sequence[str] | None = None) -> tuple[float | None, int]:
        """The F1 of the last round's stored boxes of mitotic cells, and of how many images."""
        truth, found = [], []
        for task in self.studio.list_tasks(self.project):
            data = task["data"]  # an uploaded file is stored as <8 digits>-<its name>
            name = data.get("source") or Path(data[LABELS.image_key]).name.split("-", 1)[1]
            example = self.examples[Path(name).name]
            if groups and example.group not in groups:
                continue
            (prediction,) = task["predictions"]
            truth.append(example)
            found.append(stored_boxes(prediction["result"]))
        figures = evaluate(truth, found, threshold=0.0, headline=("Mitotic cell",))
        return figures.classes["Mitotic cell"].f1.value, len(truth)


def cpu_seconds(process: psutil.Process) -> float:
    family = [process, *process.children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in family)


def stored_boxes(result: list[dict[str, Any]]) -> Boxes:
    if not result:
        return Boxes()
    size = result[0]["original_width"], result[0]["original_height"]
    return LABELS.read_boxes(result, *size)[0]


def main() -> None:
    if not REAL.is_dir():
        sys.exit(f"the real images are not at {REAL}")
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        with running(settings.studio, settings.media, STUDIO_PORT) as (server, process):
            backend = Process.start(
                [sys.executable, "-m", "ml_backend", "serve", "--port", str(BACKEND_PORT)],
                settings.logs / "serve.log",
                {**os.environ, "CYTOLOOP_DATA_DIR": folder},
                settings.data_dir,
            )
            try:
                wait_for_backend()
                token = server.prepare_account().token
                processes = [psutil.Process(child.popen.pid) for child in (process, backend)]
                measure(Bench(settings, Studio(server.url, token), token, processes, chosen()))
            finally:
                backend.stop()


def measure(bench: Bench) -> None:
    # The first request of all loads the detector, which a running backend has in memory.
    first, _ = bench.round("first", bench.import_media)
    print(f"{IMAGES} images, {os.cpu_count()} cores; tasks a second, in {ROUNDS} rounds")
    print(f"  just started          {first:8.1f}")
    for what, bring in (("in the media folder", bench.import_media), ("uploaded", bench.upload)):
        rates, work = zip(*[bench.round(what, bring) for _ in range(ROUNDS)], strict=True)
        server, backend = np.mean(work, axis=0)
        print(
            f"  {what:22}" + "".join(f"{rate:8.1f}" for rate in rates),
            f"   CPU ms a task: Label Studio {server:.0f}, backend {backend:.0f}",
            flush=True,
        )
    print(f"  the YOLO example      {YOLO_EXAMPLE:8.1f}")
    for what, groups in (("all", None), ("unseen samples", UNSEEN)):
        f1, images = bench.f1(groups)
        print(f"F1 of mitotic cells, {what}: {f1:.3f} ({images} images)")


def chosen() -> dict[str, Example]:
    """40 images with checked boxes, those of the unseen samples first."""
    examples = [example for example in read_folder(REAL).examples if example.boxes is not None]
    examples.sort(key=lambda example: (example.group not in UNSEEN, example.image.name))
    return {example.image.name: example for example in examples[:IMAGES]}


def wait_for_backend(seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if httpx.get(f"{BACKEND}/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    sys.exit("the backend does not answer")


if __name__ == "__main__":
    main()
