"""`cytoloop up`, as a real process: what stands in its way, what it makes, how it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import psutil
import pytest

from ml_backend.active_learning.strategies.table import UnknownStrategy
from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.decode import decode
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import AccessToken, ImageSource
from ml_backend.label_studio.installation import StudioInstallation
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.system.atomic_files import NotWritable, read_json
from ml_backend.system.processes import PortTaken
from tasks.launcher.up import UpFailed, UpOptions, launch, name_project
from tests.conftest import free_port

NO_RECTANGLES = '<View><Text name="t" value="$t"/><Choices name="c" toName="t"/></View>'


def test_a_taken_port_is_one_line_before_anything_starts(tmp_path: Path) -> None:
    for which, words in (("port", "Label Studio.*--port"), ("backend_port", "--backend-port")):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            ports: dict[str, Any] = {"port": free_port(), "backend_port": free_port()}
            ports[which] = taken.getsockname()[1]
            with pytest.raises(PortTaken, match=words):
                launch(UpOptions(browser=False, **ports), Settings(data_dir=tmp_path / which))


def test_two_equal_ports_are_told(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(UpFailed, match="must differ"):
        launch(UpOptions(port=port, backend_port=port), Settings(data_dir=tmp_path))


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder", encoding="utf-8")
    with pytest.raises(NotWritable, match=r"cannot write to the data folder .*--data-dir"):
        launch(UpOptions(), Settings(data_dir=file / "data"))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (
            "mitoses",
            "neither one of mitosis, phases, mitosis-stages, click, tetrads, spreads, "
            "images, stages, shapes, adviser nor a file",
        ),
        (".", "nor a file"),
    ],
)
def test_unknown_labels_are_told(tmp_path: Path, labels: str, words: str) -> None:
    with pytest.raises(UpFailed, match=words):
        launch(UpOptions(labels=labels), Settings(data_dir=tmp_path))


def test_an_unknown_strategy_in_the_settings_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownStrategy, match="'chance'; CYTOLOOP_STRATEGY .* certainty, random"):
        launch(UpOptions(), Settings(data_dir=tmp_path, strategy="chance"))


def test_labels_in_a_file_are_the_same_however_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {
        name_project(UpOptions(labels=labels))
        for labels in ("a.xml", "./a.xml", f"{tmp_path}/a.xml")
    }
    assert len(names) == 1
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert name_project(UpOptions(labels="a.xml")) not in names
    assert name_project(UpOptions(labels="mitosis")) == "mitosis"
    assert name_project(UpOptions(demo=True)) == "mitosis demo"


def test_labels_without_rectangles_are_told(tmp_path: Path) -> None:
    file = tmp_path / "labels.xml"
    file.write_text(NO_RECTANGLES, encoding="utf-8")
    with pytest.raises(ValueError, match="neither RectangleLabels"):
        launch(UpOptions(labels=str(file)), Settings(data_dir=tmp_path / "data"))


def test_images_that_are_no_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(UpFailed, match="not a folder of images"):
        launch(UpOptions(images=tmp_path / "nowhere"), Settings(data_dir=tmp_path / "data"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UpFailed, match="no images in"):
        launch(UpOptions(images=tmp_path / "empty"), Settings(data_dir=tmp_path / "data"))
    assert not (tmp_path / "data").exists()


# From here on with everything running; the tests build on one another, in this order.


class Started:
    """A running `cytoloop up` over a data folder."""

    def __init__(self, data: Path, images: Path, environment: Path) -> None:
        self.data = data
        self.port, self.backend_port = free_port(), free_port()
        self.command = [
            sys.executable, "-m", "ml_backend", "--data-dir", str(data), "up", "--no-browser",
            "--images", str(images), "--port", str(self.port),
            "--backend-port", str(self.backend_port),
        ]  # fmt: skip
        self.environment = os.environ | {"CYTOLOOP_LABEL_STUDIO_ENV": str(environment)}
        self.output = data.parent / f"up-{self.port}.txt"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )

    def words(self) -> str:
        return " ".join(self.output.read_text(encoding="utf-8", errors="replace").split())

    def wait_up(self) -> None:
        deadline = time.monotonic() + 240
        while "cytoloop is up" not in self.words():
            assert self.process.poll() is None, self.words()
            assert time.monotonic() < deadline, self.words()
            time.sleep(0.3)

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def studio(self) -> Studio:
        account = read_json(self.data / "label-studio" / "account.json")
        return Studio(f"http://127.0.0.1:{self.port}", account["token"])

    def end(self) -> None:
        for process in [*self.descendants(), psutil.Process(self.process.pid)]:
            process.kill()
        self.process.wait(20)


def gone(processes: list[psutil.Process], seconds: float = 10) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


def delete_project(started: Started, project: int) -> None:
    url = f"http://127.0.0.1:{started.port}"
    token = read_json(started.data / "label-studio" / "account.json")["token"]
    with httpx.Client(base_url=url) as http:
        headers = {"Authorization": AccessToken(f"{url}/", token, http).header()}
        assert http.delete(f"/api/projects/{project}/", headers=headers).status_code == 204


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two samples: PNG, a 16-bit TIFF, the same image twice, and two that are none."""
    folder = tmp_path_factory.mktemp("images")
    for seed, name in ((1, "Os/a.png"), (2, "Os/b.png"), (3, "Ta/ä c.png"), (1, "Ta/again.png")):
        (folder / name).parent.mkdir(exist_ok=True)
        pixels = np.ascontiguousarray(generate_field(seed)[0][..., ::-1])
        # cv2 writes no name beyond ASCII on Windows.
        (folder / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    wide = generate_field(4)[0].astype(np.uint16)[..., 0] * 200
    cv2.imwrite(str(folder / "Os" / "deep.tif"), wide)
    (folder / "Os" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    (folder / "Ta" / "empty.jpg").write_bytes(b"")
    (folder / "Ta" / "notes.txt").write_text("no image", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "data"


@pytest.fixture(scope="module")
def first(folder: Path, data: Path, label_studio_env: Path) -> Iterator[Started]:
    started = Started(data, folder, label_studio_env)
    try:
        started.wait_up()
        yield started
    finally:
        if started.process.poll() is None:
            started.end()


def test_the_terminal_says_where_to_go_and_what_was_left_out(first: Started) -> None:
    words = first.words()
    account = read_json(first.data / "label-studio" / "account.json")
    assert f"http://127.0.0.1:{first.port}/projects/1/data" in words
    assert account["username"] in words and account["password"] in words
    assert "4 images imported, 1 left out because the same file came before" in words
    assert "2 could not be read" in words
    assert "Os/broken.png" in words and "Ta/empty.jpg: the file is empty" in words


def test_every_image_is_one_task_that_a_browser_can_show(first: Started) -> None:
    tasks = {task["data"]["source"]: task["data"] for task in first.studio().list_tasks(1)}
    assert sorted(tasks) == ["Os/a.png", "Os/b.png", "Os/deep.tif", "Ta/ä c.png"]
    assert tasks["Os/deep.tif"]["image"].endswith(".png")
    account = read_json(first.data / "label-studio" / "account.json")
    source = ImageSource(f"http://127.0.0.1:{first.port}", account["token"])
    for _, content in source.fetch([data["image"] for data in tasks.values()]):
        assert isinstance(content, bytes)
        assert decode(content).ndim == 3


def test_whole_samples_are_held_out_from_the_start(first: Started) -> None:
    sides: dict[str, set[str]] = {}
    for task in first.studio().list_tasks(1):
        data = task["data"]
        assert 0 < data["sampling_p"] <= 1 and data["sampling_reason"]
        sides.setdefault(data["sample"], set()).add(data["split"])
    assert sorted(map(len, sides.values())) == [1, 1]
    assert {"train", "holdout"} == set.union(*sides.values())


def test_every_task_is_pre_annotated_by_the_version_that_the_project_shows(
    first: Started,
) -> None:
    studio = first.studio()
    version = studio.get_project(1).model_version
    assert version.startswith("starter-mitosis-")
    for task in studio.list_tasks(1):
        assert [prediction["model_version"] for prediction in task["predictions"]] == [version]
        assert 0 <= task["predictions"][0]["score"] <= 1


def test_a_second_start_on_the_same_folder_is_refused(first: Started) -> None:
    done = subprocess.run(
        first.command, env=first.environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        f"cytoloop: cytoloop up is running on {first.data} already"
    ]


def test_when_a_child_dies_everything_ends_with_one_line(first: Started) -> None:
    descendants = first.descendants()
    assert len(descendants) >= 3
    (worker,) = (process for process in descendants if process.cmdline()[-1:] == ["worker"])
    worker.kill()
    assert first.process.wait(30) == 1
    assert gone(descendants)
    assert "cytoloop: the worker ended; see" in first.words()
    for port in (first.port, first.backend_port):
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/health")


def test_the_next_start_finds_the_project_on_any_port_and_imports_nothing_twice(
    first: Started, folder: Path, data: Path, label_studio_env: Path
) -> None:
    assert first.process.poll() is not None, "the first must have ended"
    again = Started(data, folder, label_studio_env)
    try:
        again.wait_up()
        assert "0 images imported, 5 there already" in again.words()
        (project,) = again.studio().list_projects()
        assert (project.id, project.tasks) == (1, 4)
        delete_project(again, 1)
        descendants = again.descendants()
        again.process.terminate()
        assert again.process.wait(30) == 0
        assert gone(descendants)
    finally:
        if again.process.poll() is None:
            again.end()


def test_a_project_deleted_in_label_studio_is_made_anew(
    first: Started, folder: Path, data: Path, label_studio_env: Path
) -> None:
    assert first.process.poll() is not None, "the first must have ended"
    anew = Started(data, folder, label_studio_env)
    try:
        anew.wait_up()
        assert "4 images imported, 1 left out because the same file" in anew.words()
        (project,) = anew.studio().list_projects()
        assert project.id != 1 and project.tasks == 4
    finally:
        anew.end()


def test_a_backup_restores_projects_annotations_and_the_account(
    data: Path, tmp_path: Path, label_studio_env: Path
) -> None:
    file, restored = tmp_path / "backup.tar", tmp_path / "restored"
    for folder, command in ((data, "backup"), (restored, "restore")):
        done = subprocess.run(
            [sys.executable, "-m", "ml_backend", "--data-dir", str(folder), command, str(file)],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    settings = Settings(data_dir=restored)
    studio = StudioInstallation(settings.studio, label_studio_env)
    studio.start(free_port(), settings.media, settings.logs / "label-studio.log")
    try:
        studio.wait_ready()
        account = studio.prepare_account()
        found = Studio(studio.url, account.token)
        assert account.password == read_json(data / "label-studio" / "account.json")["password"]
        (project,) = found.list_projects()
        tasks = list(found.list_tasks(project.id))
        assert len(tasks) == 4 and all(task["predictions"] for task in tasks)
        found.add_media_folder(project.id, settings.media / str(project.id))  # as `up` does
        source = ImageSource(studio.url, account.token)
        images = source.fetch([task["data"]["image"] for task in tasks])
        assert all(isinstance(content, bytes) for _, content in images)
        (connected,) = Projects(settings.projects_database).list_projects()
        assert connected.id == project.id
    finally:
        studio.stop()
