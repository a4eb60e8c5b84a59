"""The Label Studio of a benchmark: a new one, for as long as it is measured."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_backend.label_studio.installation import StudioInstallation
from ml_backend.system.processes import Process

# Where the tests install it too.
INSTALLED = Path(__file__).parents[1] / ".cache" / "label-studio"


@contextmanager
def running(folder: Path, media: Path, port: int) -> Iterator[tuple[StudioInstallation, Process]]:
    """It keeps its data in `folder`. The environment variable CYTOLOOP_LABEL_STUDIO_ENV says
    where one is installed; else it is installed in .cache/, once for all benchmarks."""
    ready = os.environ.get("CYTOLOOP_LABEL_STUDIO_ENV")
    installed = StudioInstallation(INSTALLED, Path(ready) if ready else None)
    installed.ensure_installed(print)
    environment = StudioInstallation(folder, installed.environment)
    process = environment.start(port, media, folder.with_suffix(".log"))
    try:
        environment.wait_ready()
        yield environment, process
    finally:
        environment.stop()


def warm(folder: Path) -> dict[str, str]:
    """The environment of a command that a user starts again: Python keeps its byte code, in
    `folder`, also where the environment's variables keep it from that."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(folder / "byte-code")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment
