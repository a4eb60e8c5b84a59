"""The demo's images: fetched from a real HTTP server, else generated."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import pytest

from ml_backend.demo.demo_images import fetch_images, list_published, prepare_demo_images
from ml_backend.demo.synthetic_images import KARYOTYPES


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server that has one.png and two.png."""
    served = tmp_path / "served"
    served.mkdir()
    for name in ("one.png", "two.png"):
        (served / name).write_bytes(name.encode() * 1000)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}/"
    http.shutdown()
    http.server_close()


def digest(name: str) -> str:
    return hashlib.sha256(name.encode() * 1000).hexdigest()


def test_right_files_are_kept_by_sample_and_wrong_or_missing_ones_refused(
    server: str, tmp_path: Path
) -> None:
    registry = {
        "A/one.png": digest("one.png"),
        "B/two.png": digest("something else"),
        "B/three.png": digest("three.png"),
    }
    paths, refused, failure = fetch_images(tmp_path / "got", registry, server)
    assert paths == [tmp_path / "got" / "A" / "one.png"]
    assert sorted(refused) == ["B/three.png", "B/two.png"] and failure == ""
    there = [path.name for path in (tmp_path / "got").rglob("*") if path.is_file()]
    assert there == ["one.png"], "nothing of a refused file may be left"


def test_what_is_there_is_not_fetched_again(server: str, tmp_path: Path) -> None:
    registry = {"A/one.png": digest("one.png")}
    fetch_images(tmp_path / "got", registry, server)
    paths, refused, failure = fetch_images(tmp_path / "got", registry, "http://127.0.0.1:9/")
    assert len(paths) == 1 and not refused and not failure


def test_a_server_that_is_not_there_ends_the_fetching_at_once(tmp_path: Path) -> None:
    registry = {f"A/{n}.png": digest(str(n)) for n in range(100)}
    paths, refused, failure = fetch_images(tmp_path / "got", registry, "http://127.0.0.1:9/")
    assert not paths and not refused and failure == "ConnectionError"


def test_without_the_public_files_the_demo_has_generated_ones(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ml_backend.demo.demo_images.GENERATED", 9
    )  # enough for one of each species
    steps = []
    found = prepare_demo_images(
        tmp_path, lambda done, total: steps.append((done, total)), address=server
    )
    assert not found.real and len(found.paths) == 9
    assert "generated" in found.origin and "not the published files" in found.origin
    assert steps[-1] == (9, 9)
    assert {path.parent.name for path in found.paths} == set(KARYOTYPES)
    assert cv2.imread(str(found.paths[0])).shape == (1040, 1388, 3)


def test_the_list_of_public_images_names_three_samples() -> None:
    names = list_published()
    assert {name.split("/")[0] for name in names} == {"Asa", "Os", "Ta"} and len(names) == 17
    assert all(len(sha256) == 64 for sha256 in names.values())
