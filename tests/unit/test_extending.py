"""The strategy, the page, the reader and the format of docs/extending.md, as they stand there."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml_backend.active_learning.strategies.base import Candidate, Context, Strategy
from ml_backend.active_learning.strategies.table import STRATEGIES, find_strategy
from ml_backend.dataset.annotation_formats import formats
from ml_backend.dataset.annotation_formats.records import Detected, Detection, FileFormat
from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.boxes import Boxes
from ml_backend.serving.app import create_app
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.credentials import read_backend_password
from tasks.readers import vendor
from tasks.readers.open import open_scan, read_pixel_size
from tasks.readers.reading_child import ReadingChild
from tasks.sources import discover
from tests.extending import count_lines, install, load_module, read_blocks


def test_a_strategy_is_a_short_file_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = read_blocks("A strategy")
    assert count_lines(blocks["strategies/most_boxes.py"]) < 50
    assert count_lines(blocks["strategies/table.py"]) == 1
    module = load_module("most_boxes", blocks["strategies/most_boxes.py"])
    names = {"Strategy": Strategy, "score_most_boxes": module.score_most_boxes}
    strategy: Any = eval(blocks["strategies/table.py"], names)
    monkeypatch.setitem(STRATEGIES, strategy.name, strategy)

    def candidate(key: str, *confidence: float) -> Candidate:
        count = len(confidence)
        xyxy, label = np.zeros((count, 4)), np.array(["Mitotic cell"] * count)
        return Candidate(key, Boxes(xyxy, label, np.array(confidence)))

    queue = [candidate("none"), candidate("two", 0.9, 0.8), candidate("one", 0.9, 0.1)]
    scores = find_strategy("most_boxes").score(queue, Context(threshold=0.5))
    assert [queue[i].key for i in np.argsort(scores)] == ["two", "one", "none"]


def test_a_page_comes_with_the_password_and_the_menu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "plugins", read_blocks("A page"))
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    settings = Settings(data_dir=tmp_path / "data")
    project = Project(1, "http://127.0.0.1:9", "token", "<b>Roots</b>", "<View/>")
    Projects(settings.projects_database).connect(project)
    client = create_app(settings).test_client()
    assert client.get("/task_counts/").status_code == 401
    secret = f"{settings.backend_user}:{read_backend_password(settings)}".encode()
    headers = {
        "Authorization": f"Basic {base64.b64encode(secret).decode()}",
        "Accept": "text/html",
    }
    page = client.get("/task_counts/", headers=headers)
    assert page.status_code == 200 and "<li>&lt;b&gt;Roots&lt;/b&gt;</li>" in page.text
    assert 'href="/task_counts/"' in client.get("/", headers=headers).text


def test_a_format_is_read_and_written_by_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = read_blocks("A format")["annotation_formats/corners.py"]
    form: FileFormat = load_module("corners", code).CORNERS
    monkeypatch.setattr(formats, "FILES", (form, *formats.FILES))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 80, 3), np.uint8))
    cell = Detection(10.0, 12.0, 30.0, 40.0, "Mitotic cell", 1.0, plane=0, partial=False)
    out = tmp_path / "labels.corners.json"
    assert formats.choose_format(out) is form
    with out.open("w") as file, form.write(file) as add:
        add(Detected("a.png", 80, 60, [cell], by_hand=True))
    assert json.loads(out.read_text())["images"] == {
        "a.png": [[10.0, 12.0, 30.0, 40.0, "Mitotic cell"]]
    }
    found = read_folder(tmp_path)
    assert not found.skipped
    (example,) = found.examples
    assert example.boxes is not None
    assert example.boxes.to_rows() == [(10.0, 12.0, 30.0, 40.0, "Mitotic cell", 1.0)]


def test_a_reader_is_a_short_file_and_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bioio", reason="the extra bioio is not installed")
    blocks = read_blocks("A reader")
    assert count_lines(blocks["stack_reader.py"]) < 50
    monkeypatch.setattr(vendor, "READERS", dict(vendor.READERS))
    exec(blocks["readers/vendor.py"], {"READERS": vendor.READERS})
    monkeypatch.setattr(
        discover, "IMAGE_ENDINGS", discover.IMAGE_ENDINGS | frozenset(vendor.READERS)
    )
    installed = tmp_path / "installed"  # where a package lies that is installed beside cytoloop
    installed.mkdir()
    (installed / "stack_reader.py").write_text(blocks["stack_reader.py"], encoding="utf-8")
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr(vendor, "CHILD", ReadingChild())  # it knows the new path

    stack = np.random.default_rng(0).integers(0, 256, (3, 40, 60), np.uint8)
    images = tmp_path / "images"
    images.mkdir()
    np.save(images / "leaf.npy", stack)
    (group,) = discover.discover_scans(images).groups
    path = group.tiles[0].files[0].path
    planes = open_scan(path)
    assert [(plane.width, plane.height) for plane in planes] == [(60, 40)] * 3
    for plane, expected in zip(planes, stack, strict=True):
        ((_, pixels),) = plane.read_parts([(5, 3, 50, 30)])
        np.testing.assert_array_equal(pixels[..., 0], expected[3:30, 5:50])
    assert read_pixel_size(path) == 0.25
