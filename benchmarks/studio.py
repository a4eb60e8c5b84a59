"""The Label Studio of a benchmark: a new one, for as long as it is measured."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_backend.processes import Process
from ml_backend.studio.environment import StudioEnvironment


@contextmanager
def running(folder: Path, media: Path, port: int) -> Iterator[tuple[StudioEnvironment, Process]]:
    """It keeps its data in `folder`, and is installed there unless the environment variable
    CYTOLOOP_LABEL_STUDIO_ENV says where one is."""
    ready = os.environ.get("CYTOLOOP_LABEL_STUDIO_ENV")
    environment = StudioEnvironment(folder, Path(ready) if ready else None)
    environment.ensure(print)
    process = environment.start(port, media, folder.with_suffix(".log"))
    try:
        environment.wait_ready()
        yield environment, process
    finally:
        environment.stop()
