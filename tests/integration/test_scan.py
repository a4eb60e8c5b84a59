"""`cytoloop scan` into a real Label Studio: sent once, killed, sent again, none double."""

from __future__ import annotations

import json
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from ml_backend.cli.app import main
from ml_backend.demo.synthetic_images import generate_mitosis_scene
from ml_backend.evaluation.detector_agreement import Agreement
from ml_backend.imaging.decode import decode
from ml_backend.label_studio import session as studio_line
from ml_backend.label_studio.image_source import AccessToken, ImageSource
from ml_backend.registry.resolve import store_int8
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.atomic_files import DiskFull
from tasks.detection import background_filter
from tasks.review import scan_to_project as scan_module
from tasks.review import upload
from tasks.review.scan_to_project import Options, ScanFailed, scan
from tasks.sources.scan_source import SourceOptions
from tests.conftest import RunningStudio, disk
from tests.s3 import make_bucket

CONFIG = (
    Path(__file__).parents[2] / "ml_backend" / "label_studio" / "configs" / "mitosis.xml"
).read_text("utf-8")
ROWS, COLUMNS, WIDTH, HEIGHT = 6, 6, 520, 390


@dataclass(frozen=True)
class Home:
    """A data folder whose media the running Label Studio serves, as `cytoloop up` makes it."""

    running: RunningStudio
    settings: Settings

    def project(self, title: str) -> int:
        """A new project, connected, with the starter as its champion."""
        number = self.running.studio.create_project(title, CONFIG).id
        url, token = self.running.url, self.running.account.token
        projects = Projects(self.settings.projects_database)
        projects.connect(Project(number, url, token, title, CONFIG))
        projects.choose_strategy(number, "certainty")  # a score that is known from the boxes alone
        registry = Registry(self.settings.versions, self.settings.champions)
        registry.promote(str(number), registry.list_versions()[0].name, by="test", reason="start")
        return number

    def scan(self, source: Path, project: int, *more: str) -> subprocess.Popen[str]:
        command = [
            sys.executable, "-m", "ml_backend", "--data-dir", str(self.settings.data_dir),
            "scan", str(source), "--project", str(project), "--json", *more,
        ]  # fmt: skip
        # Where the tests run in the background, a shell has them ignore Ctrl-C, and children do.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
            )
        finally:
            signal.signal(signal.SIGINT, before)

    def scanned(self, source: Path, project: int, *more: str, rc: int = 0) -> dict[str, Any]:
        process = self.scan(source, project, *more)
        out, words = process.communicate(timeout=240)
        assert process.returncode == rc, words
        return json.loads(out)

    def tasks(self, project: int) -> list[dict[str, Any]]:
        return list(self.running.studio.list_tasks(project))


@pytest.fixture(scope="module")
def home(label_studio: RunningStudio, starter_versions: Path) -> Home:
    settings = Settings(data_dir=label_studio.media.parent)
    shutil.copytree(starter_versions, settings.versions, dirs_exist_ok=True)
    return Home(label_studio, settings)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preparation cut into abutting tiles, whatever lies on the cuts."""
    folder = tmp_path_factory.mktemp("tiles") / "slide7"
    folder.mkdir()
    scene = generate_mitosis_scene(3, (COLUMNS * WIDTH, ROWS * HEIGHT), dividing=60).image
    for row in range(ROWS):
        for column in range(COLUMNS):
            tile = scene[row * HEIGHT :, column * WIDTH :][:HEIGHT, :WIDTH]
            cv2.imwrite(str(folder / f"r{row + 1:02}_c{column + 1:02}.png"), tile[..., ::-1])
    return folder


def test_a_scan_becomes_marked_tasks_once(home: Home, tiles: Path) -> None:
    number = home.project("Scanned")
    summary = home.scanned(tiles, number, "--pixel-size", "0.25")
    tasks = home.tasks(number)
    assert summary["tiles"] == ROWS * COLUMNS and summary["skipped"] == []
    assert summary["sent"] == len(tasks) > 8 and summary["known"] == 0
    reasons = Counter(task["data"]["sampling_reason"] for task in tasks)
    assert reasons["found"] > 5
    champion = summary["model"]
    assert home.running.studio.get_project(number).model_version == champion
    fetched = ImageSource(home.running.url, home.running.account.token).fetch(
        [task["data"]["image"] for task in tasks]
    )
    sizes = {index: decode(content).shape for index, content in fetched}  # type: ignore[arg-type]
    for index, task in enumerate(tasks):
        data = task["data"]
        assert sizes[index] == (HEIGHT, WIDTH, 3)
        assert data["scan"] == "slide7" and data["pixel_size"] == 0.25 and data["plane"] == 0
        assert data["split"] in ("train", "holdout", "buffer")
        assert data["sampling_p"] == (0.02 if data["sampling_reason"] == "at random" else 1)
        if not data["stitched"]:
            assert (data["x"], data["y"]) == (data["column"] * WIDTH, data["row"] * HEIGHT)
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == champion
        if data["split"] != "holdout":  # those come at random places of the queue
            assert prediction["score"] == pytest.approx(data["certainty"], abs=1e-3)
        assert bool(prediction["result"]) or data["blind"] or data["sampling_reason"] != "found"
    assert any(task["data"]["stitched"] for task in tasks)

    again = scan(
        tiles, number, home.settings, Options(how=SourceOptions(pixel_size=0.25)), lambda *at: None
    )
    assert (again["sent"], again["known"]) == (0, len(tasks))
    assert again["detections"] == summary["detections"] and again["tiles"] == summary["tiles"]
    assert len(home.tasks(number)) == len(tasks)


def test_killed_at_any_point_and_started_again_no_task_is_missing_or_double(
    home: Home, tiles: Path
) -> None:
    number = home.project("Killed")
    pictures = home.settings.media / str(number) / "scans"
    rng = random.Random(1)
    for more in (1, 10, 20):  # pictures, from its last start on, that it is killed after
        before = len(list(pictures.glob("*.png")))
        process = home.scan(tiles, number, "--send", "all")
        while process.poll() is None and len(list(pictures.glob("*.png"))) < before + more:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        if more > 1 or sys.platform == "win32":
            process.kill()
            process.communicate()
        else:  # as Ctrl-C does
            process.send_signal(signal.SIGINT)
            _, words = process.communicate(timeout=60)
            assert process.returncode == 130 and "goes on where it was" in words
    summary = scan(tiles, number, home.settings, Options(send="all"), lambda *at: None)
    keys = [task["data"]["key"] for task in home.tasks(number)]
    assert len(keys) == len(set(keys)) == summary["sent"] + summary["known"]
    places = {
        (data["row"], data["column"])
        for data in (task["data"] for task in home.tasks(number))
        if not data["stitched"]
    }
    assert len(places) == ROWS * COLUMNS


def test_an_empty_scan_sends_nothing(home: Home, tmp_path: Path) -> None:
    for column in range(3):
        cv2.imwrite(str(tmp_path / f"r0_c{column}.png"), np.zeros((240, 320), np.uint8))
    number = home.project("Nothing there")
    options = Options(send="found", how=SourceOptions(tile_overlap=0))
    summary = scan(tmp_path, number, home.settings, options, lambda *at: None)
    assert (summary["detections"], summary["sent"], summary["known"]) == (0, 0, 0)
    assert home.tasks(number) == []


def test_a_full_disk_ends_it_in_one_line_and_the_next_start_goes_on(
    home: Home, tiles: Path
) -> None:
    number = home.project("Full disk")
    options = Options(send="all", how=SourceOptions(tile_overlap=0))
    with disk(home.settings.media / str(number), "1m") as folder:
        with pytest.raises(DiskFull, match="the disk is full, .*png was not written: make room"):
            scan(tiles, number, home.settings, options, lambda *at: None)
        for picture in folder.rglob("*"):
            assert picture.is_dir() or decode(picture.read_bytes()).shape == (HEIGHT, WIDTH, 3)
        subprocess.run(["mount", "-o", "remount,size=50m", str(folder)], check=True)
        summary = scan(tiles, number, home.settings, options, lambda *at: None)
        keys = [task["data"]["key"] for task in home.tasks(number)]
        assert len(keys) == len(set(keys)) == summary["sent"] >= ROWS * COLUMNS
        assert {f"{key}.png" for key in keys} == {path.name for path in folder.glob("scans/*")}


def test_the_fast_ways_find_the_same_and_say_what_they_left_out(
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scene = generate_mitosis_scene(5, (2 * WIDTH, HEIGHT), dividing=8).image
    cv2.imwrite(str(tmp_path / "left.png"), scene[:, :WIDTH, ::-1])
    cv2.imwrite(str(tmp_path / "right.png"), scene[:, WIDTH:, ::-1])
    noise = np.random.default_rng(1).normal(120, 3, (14, HEIGHT, WIDTH)).round()
    for number, grey in enumerate(noise.astype(np.uint8)):
        cv2.imwrite(str(tmp_path / f"empty {chr(97 + number)}.png"), grey)
    monkeypatch.setattr(background_filter, "RUN", 0.5)  # one in a hundred would be none of these

    def run(project: int, *more: str, rc: int = 0) -> tuple[str, str]:
        arguments = ["cytoloop", "--data-dir", str(home.settings.data_dir), "scan", str(tmp_path)]
        arguments += ["--project", str(project), "--send", "found", *more]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            main()
        out, words = capsys.readouterr()
        assert ended.value.code == rc, words
        return out, words

    number = home.project("Slow and fast")
    slow = json.loads(run(number, "--json")[0])
    assert slow["detections"] > 3 and slow["emptied"] == {"skipped": 0, "run": 0, "missed": 0}
    assert "cytoloop quantize FOLDER --model" in run(number, "--int8", rc=1)[1]

    version = home.settings.versions / slow["model"]
    # The version itself in place of its INT8 form: it agrees in everything.
    store_int8(version, version, Agreement(1000, (9, 9), 1.0, 1.0, 0.0).to_json())
    fast = json.loads(run(number, "--skip-empty", "--json")[0])
    assert fast["detections"] == slow["detections"]
    assert (fast["sent"], fast["known"]) == (0, slow["sent"])  # the very same pictures
    emptied = fast["emptied"]
    assert emptied["skipped"] + emptied["run"] == len(noise) and emptied["missed"] == 0
    assert emptied["skipped"] and emptied["run"]
    (margin,) = (note for note in fast["notes"] if "8-bit" in note)
    full = json.loads(run(number, "--full-precision", "--json")[0])
    assert not any("8-bit" in note for note in full["notes"])
    assert "on 1000 tiles: F1 1.000 (at least 0.98)" in margin
    output, _ = run(number, "--int8", "--skip-empty")
    left_out = f"{emptied['skipped']} tiles were skipped as empty and {emptied['run']} looked at"
    assert left_out in output and margin in output and "0 tasks sent" in output


@pytest.fixture
def bucket(s3: str) -> str:
    """The endpoint of an S3 on this machine, with a bucket `scans` in it."""
    make_bucket(s3, "scans")
    return s3


def test_pictures_in_a_bucket_are_shown_by_label_studio(
    home: Home, tiles: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Label Studio leads there, and an address of this machine has to be allowed.
    monkeypatch.setenv("CYTOLOOP_ALLOWED_IMAGE_HOSTS", "127.0.0.1")
    number = home.project("In a bucket")
    options = Options(
        send="found", limit=4, how=SourceOptions(tile_overlap=0), store="s3://scans/lab"
    )
    with pytest.raises(ScanFailed, match="add the bucket to the project"):
        scan(tiles, number, home.settings, options, lambda *at: None)
    url, token = home.running.url, home.running.account.token
    images = ImageSource(url, token, project=number)
    with httpx.Client() as client:
        authorization = AccessToken(f"{url}/", token, client).header()
    made = httpx.post(
        f"{url}/api/storages/s3",
        headers={"Authorization": authorization},
        json={
            "project": number,
            "bucket": "scans",
            "s3_endpoint": bucket,
            "region_name": "us-east-1",
            "aws_access_key_id": "someone",
            "aws_secret_access_key": "something",
        },
    )
    made.raise_for_status()
    assert scan(tiles, number, home.settings, options, lambda *at: None)["sent"] == 4
    again = scan(tiles, number, home.settings, options, lambda *at: None)
    assert (again["sent"], again["known"]) == (0, 4)
    addresses = [task["data"]["image"] for task in home.tasks(number)]
    assert all(address.startswith(f"s3://scans/lab/{number}/scans/") for address in addresses)
    for _, content in images.fetch(addresses):
        assert decode(content).shape == (HEIGHT, WIDTH, 3)  # type: ignore[arg-type]


class Line:
    """A line to Label Studio that can be cut, and that can lose answers to imports."""

    def __init__(self, port: int) -> None:
        self.up, self.lose = True, 0
        self._ends: list[socket.socket] = []
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.up:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._port))
            self._ends += [near, far]
            for sender, other, answers in ((near, far, False), (far, near, True)):
                threading.Thread(
                    target=self._carry, args=(sender, other, answers), daemon=True
                ).start()

    def _carry(self, sender: socket.socket, other: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := sender.recv(1 << 16):
                if answers and self.lose and b'"task_ids"' in data:
                    self.lose -= 1
                    break
                other.sendall(data)
        self._shut(sender, other)

    def cut(self, seconds: float) -> None:
        self.up = False
        self._shut(*self._ends)
        time.sleep(seconds)
        self.up = True

    @staticmethod
    def _shut(*ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def set_url(home: Home, number: int, url: str) -> None:
    """Let one project alone answer at another address; `Projects.move` moves all."""
    with closing(sqlite3.connect(home.settings.projects_database)) as database, database:
        database.execute("update project set url = ? where id = ?", (url, number))


def test_while_label_studio_is_away_sending_waits_and_a_lost_answer_makes_no_double(
    home: Home, tiles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "CHUNK", 8)
    monkeypatch.setattr(scan_module, "CHUNK", 8)
    monkeypatch.setattr(upload, "SETTLED", 2.0)
    monkeypatch.setattr(studio_line, "WAITS", (0.1,))
    number = home.project("Far away")
    line = Line(int(home.running.url.rpartition(":")[2]))
    set_url(home, number, line.url)
    try:
        line.lose = 1
        pictures = home.settings.media / str(number) / "scans"

        def cut() -> None:
            while len(list(pictures.glob("*.png"))) < 12:
                time.sleep(0.02)
            line.cut(3)

        threading.Thread(target=cut, daemon=True).start()
        summary = scan(tiles, number, home.settings, Options(send="all"), lambda *at: None)
    finally:
        line.close()
        set_url(home, number, home.running.url)
    assert line.lose == 0
    keys = [task["data"]["key"] for task in home.tasks(number)]
    assert len(keys) == len(set(keys)) == summary["sent"] >= ROWS * COLUMNS
