"""The same looks on a Ray cluster: same detections, also when a worker dies in the middle."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import psutil
import pytest

from ml_backend.demo.synthetic_images import generate_mitosis_scene
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.openvino_runtime import count_cuda_devices
from tasks.detection import scan_detector
from tasks.detection.detect_files import detect, iterate_scans
from tasks.detection.ray_executor import ClusterFailed
from tasks.detection.scan_detector import ScanDetector
from tasks.exchange.detection_files import open_writer
from tasks.review.checkpoint import Checkpoint
from tasks.sources.scan_source import SourceOptions
from tests.blobs import Blobs

ROWS, COLUMNS, WIDTH, HEIGHT = 5, 8, 320, 240


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """A preparation in abutting tiles, one of them cut off."""
    folder = tmp_path / "slide"
    folder.mkdir()
    scene = generate_mitosis_scene(3, (COLUMNS * WIDTH, ROWS * HEIGHT), dividing=40).image
    for row in range(ROWS):
        for column in range(COLUMNS):
            tile = scene[row * HEIGHT :, column * WIDTH :][:HEIGHT, :WIDTH]
            cv2.imwrite(str(folder / f"r{row:02}_c{column:02}.png"), tile[..., ::-1])
    broken = folder / "r02_c03.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    return folder


@pytest.fixture
def model(starter_versions: Path) -> Path:
    (folder,) = starter_versions.iterdir()
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    pytest.importorskip("ray.data", reason="the extra ray is not installed")
    # Where there is no GPU, one in name: the workers share it, and detect on their cores.
    gpus = 0 if count_cuda_devices() else 1
    ray.init(num_cpus=2, num_gpus=gpus, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def test_both_executors_find_the_same_also_when_a_worker_dies(
    cluster: Any, tiles: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_detector, "MANY", 1)  # the seams, too, are looked at by workers
    detector, how = Detector.load(model), SourceOptions(tile_overlap=0)
    local = tmp_path / "local.json"
    summary = detect(tiles, detector, local, "starter", lambda *at: None, how)
    killed: list[int] = []

    def kill_one(done: float, total: float) -> None:
        if not killed:
            workers = [
                process
                for process in psutil.Process().children(recursive=True)
                if "MapWorker" in " ".join(process.cmdline())
            ]
            killed.append(workers[0].pid)
            workers[0].kill()

    remote, checkpoint = tmp_path / "remote.json", Checkpoint(tmp_path / "checkpoint.sqlite")
    finder = ScanDetector(tiles, detector, how, memory=checkpoint, cluster=model, progress=kill_one)
    with open_writer(remote) as add:
        for found in iterate_scans(finder):
            add(found)
    assert killed and remote.read_bytes() == local.read_bytes()
    assert len(json.loads(local.read_text("utf-8"))) > 10
    assert finder.skipped == summary["skipped"] and finder.skipped[0]["source"] == "r02_c03.png"

    nobody = Blobs()
    again = ScanDetector(
        tiles, Detector(detector.card, nobody), SourceOptions(tile_overlap=0), memory=checkpoint
    )
    (sheet,) = again.detect_scans()
    checkpoint.close()
    assert sheet.tiles == ROWS * COLUMNS - 1 and nobody.seen == 0


def test_a_file_that_ends_every_worker_is_left_out_and_no_other(
    cluster: Any, tiles: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in range(1, ROWS):
        for path in tiles.glob(f"r{row:02}_*.png"):
            path.unlink()

    def deadly(opening: Any, files: Any, *how: Any) -> Any:
        """What goes to a worker to open the files; of one of them, what ends it."""
        ends = files[0].name == "r00_c04.png"
        return partial(os._exit, 139) if ends else partial(opening, files, *how)

    monkeypatch.setattr(scan_detector, "partial", deadly)
    finder = ScanDetector(tiles, Detector.load(model), SourceOptions(tile_overlap=0), cluster=model)
    (sheet,) = finder.detect_scans()
    assert sheet.tiles == finder.tiles == COLUMNS - 1
    (skipped,) = finder.skipped
    assert skipped["source"] == "r00_c04.png"
    assert skipped["reason"].startswith("3 processes ended while they looked at it")


def test_who_lacks_ray_is_told_what_to_install(
    tiles: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    detector = Detector.load(model)
    with pytest.raises(ClusterFailed, match="uv sync --extra ray"):
        detect(tiles, detector, tmp_path / "out.csv", "starter", lambda *at: None, cluster=model)
    assert not (tmp_path / "out.csv").exists()
