"""What a server opens once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ml_backend.serving.app_state import ImageSources
from ml_backend.state.projects import Project


def test_threads_share_the_source_of_a_project(tmp_path: Path) -> None:
    sources = ImageSources(tmp_path)
    project = Project(1, "http://127.0.0.1:9", "token", "Roots", "<View/>")
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: sources.get(project), range(64)))
    assert len(found) == 1
    # A new token must not be sent by the old source.
    assert sources.get(replace(project, token="other")) not in found
