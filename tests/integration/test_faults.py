"""What fails around the worker: each ends in one line of its log, and is mended by the next run."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.crashing.nursery import Nursery
from tests.crashing.rounds import CONFIG, Round, template
from tests.crashing.studio import StandIn

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that can be filled; skips where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400m", "none", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root may mount a disk that can be filled")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.timeout(400)
def test_every_fault_is_mended_by_the_next_run(
    starter_versions: Path, tmp_path: Path, small_disk: Path
) -> None:
    """One round of the loop, and in every part of it something is missing for a while."""
    (tmp_path / "round").mkdir()
    (small_disk / "data").mkdir()
    (tmp_path / "round" / "data").symlink_to(small_disk / "data")
    with StandIn() as studio, Nursery() as nursery:
        made = template(tmp_path, starter_versions)

        def for_a_while(begin: Callable[[], None], end: Callable[[], None]) -> None:
            begin()
            threading.Timer(3.0, end).start()

        def answer(status: int | None) -> Callable[[], None]:
            return lambda: setattr(studio, "fault", lambda method, path: status)

        def down(value: bool) -> Callable[[], None]:
            return lambda: setattr(studio, "down", value)

        filler = small_disk / "filler"

        def fill() -> None:
            with filler.open("wb") as file:
                try:
                    while True:
                        file.write(b"0" * 65536)
                        file.flush()
                except OSError:
                    pass

        def change_labels() -> None:
            config = {"label_config": changed}
            httpx.patch(address(), json=config, headers=headers).raise_for_status()

        def address() -> str:
            return f"{studio.url}/api/projects/{one.project}/"

        headers = {"Authorization": f"Token {studio.person}"}
        changed = CONFIG.replace("<Label", '<Label value="Stoma"/><Label', 1)

        def trouble(part: str) -> None:
            if part == "training":
                change_labels()
            if part == "rest":
                assert one.projects.get(one.project).label_config == changed
                httpx.delete(address(), headers=headers).raise_for_status()
                end = time.monotonic() + 60
                while one.projects.all() and time.monotonic() < end:
                    time.sleep(0.2)
                assert not one.projects.all()
            else:
                for_a_while(*troubles[part])

        troubles: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "shown": (answer(500), answer(None)),
            "corrected": (answer(401), answer(None)),
            "training": (fill, filler.unlink),
            "promoted": (down(True), down(False)),
        }
        one = Round(
            made,
            nursery,
            tmp_path / "round",
            studio.url,
            studio.token,
            lambda role: None,
            random.Random(0),
            person=studio.person,
            trouble=trouble,
        )
        one.run()  # raises Broken, with what does not hold
        said = (tmp_path / "round" / "worker.log").read_text()
        for words in ("HTTP 500", "refuses the token", "does not answer", "it is forgotten here"):
            assert words in said, said
        assert "No space left" in said or "disk is full" in said, said
        lines = [line for line in said.splitlines() if "again in" in line]
        assert len(lines) < 20, "one line a try, and ever fewer tries"
