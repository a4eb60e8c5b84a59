"""How many tasks a second Label Studio's 'Retrieve predictions' gets pre-annotated.

    uv run python benchmarks/retrieve_predictions.py --peer ../label-studio-ml-backend

Starts a real Label Studio and a real backend, makes a project of 40 of the real images
beside the checkout, and asks for their predictions as the Data Manager's action does: one
request, timed from the click to the stored pre-annotations. Every round is a new project,
and its files differ from all before in a remark,
so nobody has seen its images; then the pre-annotations are deleted and asked for
again ('again'). It is done in two ways: with the images in cytoloop's media folder, as
`cytoloop up` imports them, and uploaded to Label Studio, which then has to hand out each one. The
CPU time a task tells apart what is slow and what waited for a busy machine. Beside the rates
stands the F1 of the stored boxes of mitotic cells, over all images and over those of samples that
the starter never saw.

`--peer DIR` is a checkout of HumanSignal's label-studio-ml-backend. Its YOLO example then runs
beside ours, round by round in turn, with the same weights as our starter (written as ultralytics'
own checkpoint, at the size that ours looks at), one worker and four threads, as its script starts
it. What it needs beside our environment is installed into a folder of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyvips  # type: ignore[import-untyped]
from latency import wait_for
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
PEER_CONFIG = CONFIG.replace("<RectangleLabels ", '<RectangleLabels model_path="mitosis.pt" ', 1)
UNSEEN = ("Os", "Asa", "Ta")
IMAGES = 40
ROUNDS = 3
STUDIO_PORT, BACKEND_PORT = 8096, 9096
BACKEND = f"http://127.0.0.1:{BACKEND_PORT}"
PEER_PORT = 9097
PEER = f"http://127.0.0.1:{PEER_PORT}"
# Of the peer's requirements what our environment lacks.
PEER_PACKAGES = ("semver~=3.0", "colorama~=0.4", "redis", "rq", "torchmetrics<1.8", "tqdm")


@dataclass
class Bench:
    """A Label Studio with its backend, and what the rounds share."""

    settings: Settings
    studio: Studio
    token: str
    processes: list[psutil.Process]  # Label Studio's, the backend's, the peer's if there is one
    examples: dict[str, Example]  # by file name

    def make_project(self, title: str) -> int:
        project = self.studio.create_project(title, CONFIG).id
        folder = self.settings.media / str(project)
        folder.mkdir(parents=True)
        self.studio.add_media_folder(project, folder)
        return project

    def mark_images(self) -> Path:
        """Copy the images with a remark of their own, so that nobody knows their bytes."""
        folder = self.settings.data_dir / "marked"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        remark = b"tEXtround\0" + secrets.token_hex(8).encode()
        chunk = struct.pack(">I", len(remark) - 4) + remark + struct.pack(">I", zlib.crc32(remark))
        for example in self.examples.values():
            content = example.image.read_bytes()
            assert content.startswith(b"\x89PNG")
            (folder / example.image.name).write_bytes(content[:33] + chunk + content[33:])
        return folder

    def import_media(self, project: int) -> None:
        """As `cytoloop up` imports a folder."""
        import_images(
            find_images(self.mark_images())[0],
            self.studio,
            project,
            image_key=LABELS.image_key,
            media=self.settings.media,
            holdout_share=0.2,
            blind_share=0.0,  # every task shall get boxes
        )

    def upload(self, project: int) -> None:
        """As a person uploads files."""
        with httpx.Client(base_url=self.studio.url, timeout=60) as http:
            token = AccessToken(self.studio.url + "/", self.token, http)
            for image in sorted(self.mark_images().iterdir()):
                with image.open("rb") as file:
                    http.post(
                        f"/api/projects/{project}/import",
                        headers={"Authorization": token.header()},
                        files={"file": (image.name, file, "image/png")},
                    ).raise_for_status()

    def round(self, way: str, peer: bool) -> dict[str, Any]:
        """One project from new: its rates in tasks a second and the CPU ms a task of both sides.

        Its predictions stay to be judged.
        """
        self.project = self.make_project(f"{way} {'peer' if peer else 'ours'}")
        (self.upload if way == "uploaded" else self.import_media)(self.project)
        if peer:
            self.connect_peer(self.project)
        else:
            connect(self.settings, self.studio.url, self.token, self.project, BACKEND)
        processes = (self.processes[0], self.processes[2 if peer else 1])
        before = [cpu_seconds(process) for process in processes]
        rate = self.retrieve()
        after = [cpu_seconds(process) for process in processes]
        work = [1000 * (b - a) / IMAGES for a, b in zip(before, after, strict=True)]
        figures = {"f1": self.f1()[0], "unseen": self.f1(UNSEEN)[0]}
        self.studio.delete_predictions(
            prediction["id"]
            for task in self.studio.list_tasks(self.project)
            for prediction in task["predictions"]
        )
        return {"new": rate, "again": self.retrieve(), "cpu": work, **figures}

    def retrieve(self) -> float:
        """Ask for the predictions of all tasks: tasks a second."""
        tasks = [task["id"] for task in self.studio.list_tasks(self.project, full=False)]
        assert len(tasks) == len(self.examples)
        started = time.perf_counter()
        self.studio.retrieve_predictions(self.project, tasks)
        return len(tasks) / (time.perf_counter() - started)

    def connect_peer(self, project: int) -> None:
        """Connect the peer's backend as its documentation says."""
        with httpx.Client(base_url=self.studio.url, timeout=120) as http:
            token = AccessToken(self.studio.url + "/", self.token, http)
            headers = {"Authorization": token.header()}
            http.patch(
                f"/api/projects/{project}",
                headers=headers,
                json={"label_config": PEER_CONFIG, "show_collab_predictions": True},
            ).raise_for_status()
            http.post(
                "/api/ml",
                headers=headers,
                json={"project": project, "url": PEER, "title": "YOLO example"},
            ).raise_for_status()

    def f1(self, groups: Sequence[str] | None = None) -> tuple[float | None, int]:
        """The F1 of the last round's stored boxes of mitotic cells, and of how many images."""
        truth, found = [], []
        for task in self.studio.list_tasks(self.project):
            data = task["data"]  # an uploaded file is stored as <8 digits>-<its name>
            name = data.get("source") or Path(data[LABELS.image_key]).name.split("-", 1)[1]
            example = self.examples[Path(name).name]
            if groups and example.group not in groups:
                continue
            prediction = task["predictions"][0]
            truth.append(example)
            found.append(stored_boxes(prediction["result"], example.image))
        figures = evaluate(truth, found, threshold=0.0, headline=("Mitotic cell",))
        return figures.classes["Mitotic cell"].f1.value, len(truth)


def cpu_seconds(process: psutil.Process) -> float:
    family = [process, *process.children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in family)


def stored_boxes(result: list[dict[str, Any]], image: Path) -> Boxes:
    """The boxes of a stored pre-annotation, px; the peer leaves the image's size out of it."""
    opened = pyvips.Image.new_from_file(str(image))
    return LABELS.read_boxes(
        [{"original_width": opened.width, "original_height": opened.height, **item}
         for item in result],
        opened.width,
        opened.height,
    )[0]  # fmt: skip


def main() -> None:
    """Measure ours, and the peer where its checkout is given."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--peer", type=Path, help="checkout of label-studio-ml-backend")
    options.add_argument("--rounds", type=int, default=ROUNDS)
    asked = options.parse_args()
    if not REAL.is_dir():
        sys.exit(f"the real images are not at {REAL}")
    if asked.peer and not (asked.peer / "label_studio_ml" / "examples" / "yolo").is_dir():
        sys.exit(f"{asked.peer} holds no label_studio_ml/examples/yolo")
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        started: list[Process] = []
        with running(settings.studio, settings.media, STUDIO_PORT) as (server, process):
            try:
                started.append(
                    Process.start(
                        [sys.executable, "-m", "ml_backend", "serve", "--port", str(BACKEND_PORT)],
                        settings.logs / "serve.log",
                        {**os.environ, "CYTOLOOP_DATA_DIR": folder},
                        settings.data_dir,
                    )
                )
                wait_for(BACKEND)
                token = server.prepare_account().token
                if asked.peer:
                    scratch = Path(folder) / "peer"
                    started.append(start_peer(asked.peer, scratch, server.url, token))
                    wait_for(PEER)
                processes = [psutil.Process(child.popen.pid) for child in (process, *started)]
                bench = Bench(settings, Studio(server.url, token), token, processes, chosen())
                measure(bench, asked.rounds)
            finally:
                for child in started:
                    child.stop()


def start_peer(checkout: Path, scratch: Path, url: str, token: str) -> Process:
    """Start the YOLO example with our starter's weights."""
    packages, models = scratch / "packages", scratch / "models"
    models.mkdir(parents=True)
    uv = os.environ.get("UV") or shutil.which("uv") or "uv"  # `uv run` names itself
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--no-deps", "--target", str(packages),
         "--python", sys.executable, *PEER_PACKAGES, "lightning-utilities"],
        check=True,
    )  # fmt: skip
    write_checkpoint(models / "mitosis.pt")
    example = scratch / "yolo"
    shutil.copytree(checkout / "label_studio_ml" / "examples" / "yolo", example)
    for source in example.rglob("*.py"):  # it loads a model for each kind of labels at its start
        for name in re.findall(r'"(yolo[\w.-]*\.pt)"', source.read_text(encoding="utf-8")):
            shutil.copy(models / "mitosis.pt", models / name)
    return Process.start(
        [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{PEER_PORT}", "--workers", "1",
         "--threads", "4", "--timeout", "0", "_wsgi:app"],
        scratch / "peer.log",
        {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (example, checkout, packages))),
            "MODEL_ROOT": str(models),
            "MODEL_DIR": str(scratch),
            "LABEL_STUDIO_URL": url,
            "LABEL_STUDIO_API_KEY": token,
            "HOME": str(scratch),  # where it caches images
            "LOG_LEVEL": "WARNING",
            "YOLO_OFFLINE": "true",
        },
        example,
    )  # fmt: skip


def write_checkpoint(path: Path) -> None:
    """Write our starter as ultralytics' own checkpoint, for the size that ours looks at."""
    import torch

    from ml_backend.learners.detector.weights import load_network
    from ml_backend.registry.starters import find_starter_weights

    network, card = load_network(find_starter_weights("starter:mitosis"))
    side = round(1300 * card.scale / 32) * 32  # of the longest side of these images
    network.args = {"imgsz": side, "task": "detect"}
    network.yaml["nc"] = len(card.classes)
    torch.save({"model": network, "train_args": {"imgsz": side, "task": "detect"}}, path)


def measure(bench: Bench, rounds: int) -> None:
    """Both backends in turn, the two ways of bringing images, and a table."""
    sides = ["ours", "peer"][: len(bench.processes) - 1]
    for side in sides:  # the first request of all loads the model, which is in memory from then on
        bench.round("media", side == "peer")
    print(f"{IMAGES} images, {os.cpu_count()} cores; tasks a second, {rounds} rounds in turn")
    ways = ["media", "uploaded"] if sides == ["ours"] else ["uploaded"]
    for way in ways:
        found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side in sides:
                found[side].append(bench.round(way, side == "peer"))
        for side in sides:
            server, backend = np.mean([figures["cpu"] for figures in found[side]], axis=0)
            for what in ("new", "again"):
                rates = [figures[what] for figures in found[side]]
                print(f"  {way:9} {side:5} {what:6} " + " ".join(f"{r:6.1f}" for r in rates))
            last = found[side][-1]
            print(
                f"      CPU ms a task: Label Studio {server:.0f}, backend {backend:.0f}; F1 of "
                f"mitotic cells {last['f1']:.3f}, unseen samples {last['unseen']:.3f}",
                flush=True,
            )
        if "peer" in found:
            for what in ("new", "again"):
                ratios = [
                    ours[what] / peer[what]
                    for ours, peer in zip(found["ours"], found["peer"], strict=True)
                ]
                print(f"  ours : peer, {what}: {np.median(ratios):.2f} (median of {rounds})")
    if "peer" not in sides:
        print("  the YOLO example was not run: --peer DIR names its checkout")


def chosen() -> dict[str, Example]:
    """40 images with checked boxes, those of the unseen samples first."""
    examples = [example for example in read_folder(REAL).examples if example.boxes is not None]
    examples.sort(key=lambda example: (example.group not in UNSEEN, example.image.name))
    return {example.image.name: example for example in examples[:IMAGES]}


if __name__ == "__main__":
    main()
