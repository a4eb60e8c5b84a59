"""What fails around the worker: each ends in one line of its log, and is mended by the next run."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ml_backend.dataset import snapshot as snapshots
from tests.conftest import disk
from tests.crashing.nursery import Nursery
from tests.crashing.rounds import CONFIG, Round, template
from tests.crashing.studio import StandIn

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")

CHANGED = CONFIG.replace("<Label", '<Label value="Stoma"/><Label', 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk(tmp_path / "disk", "400m") as folder:
        yield folder


@dataclass
class Trouble:
    """What is missing in which part of a round, until the worker has said so."""

    studio: StandIn
    disk: Path
    log: Path
    address: str = ""

    def begins(self, part: str) -> None:
        """Let it be missing, wait for the worker's line about it, and give it back."""
        person = httpx.Client(headers={"Authorization": f"Token {self.studio.person}"})
        if part == "shown":
            self.studio.fault = lambda method, path: 500
            self._await_line("HTTP 500")
            self.studio.fault = lambda method, path: None
        elif part == "corrected":
            self.studio.fault = lambda method, path: 401
            self._await_line("refuses the token")
            self.studio.fault = lambda method, path: None
        elif part == "training":
            person.patch(self.address, json={"label_config": CHANGED}).raise_for_status()
            filler = self.disk / "filler"
            with filler.open("wb") as file, suppress(OSError):
                while True:
                    file.write(b"0" * 65536)
                    file.flush()
            self._await_line("No space left", "disk is full")
            filler.unlink()
        elif part == "promoted":
            self.studio.down = True
            self._await_line("does not answer")
            self.studio.down = False
        else:
            person.delete(self.address).raise_for_status()
            self._await_line("it is forgotten here")

    def _await_line(self, *words: str) -> None:
        end = time.monotonic() + 90
        while not any(word in self.log.read_text() for word in words):
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)


@pytest.mark.timeout(400)
def test_every_fault_is_mended_by_the_next_run(
    starter_versions: Path, tmp_path: Path, small_disk: Path
) -> None:
    """One round of the loop, and in every part of it something is missing for a while."""
    folder = tmp_path / "round"
    folder.mkdir()
    (small_disk / "data").mkdir()
    (folder / "data").symlink_to(small_disk / "data")
    with StandIn() as studio, Nursery() as nursery:
        trouble = Trouble(studio, small_disk, folder / "worker.log")
        crashing = Round(
            template(tmp_path, starter_versions),
            nursery,
            folder,
            studio.url,
            studio.token,
            lambda role: None,
            random.Random(0),
            person=studio.person,
            trouble=trouble.begins,
        )
        trouble.address = f"{studio.url}/api/projects/{crashing.project}/"
        crashing.run()  # raises Broken, with what does not hold
        assert crashing.projects.list_projects() == []
        # The second training was of the labels as they were changed during the first.
        name = crashing.projects.get_last_attempt(crashing.project)
        last = snapshots.load_snapshot(str(name), crashing.settings.snapshots)
        assert last is not None and last.labels == ("Stoma", "Mitotic cell", "Other")
        log = trouble.log.read_text()
        lines = [line for line in log.splitlines() if "again in" in line]
        assert len(lines) < 30, "one line a try, and ever fewer tries"
