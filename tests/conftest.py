"""Fixtures that several rooms share: a real Label Studio, the real images."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.installation import Account, StudioInstallation
from ml_backend.registry.resolve import resolve_model
from ml_backend.registry.versions import Registry
from tests.postgres import Postgres, find_programs, run_postgres
from tests.s3 import CREDENTIALS, run_s3

ROOT = Path(__file__).parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

# What tests start keeps its byte code, also where the environment says no: with torch, a process
# starts in half the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / ".cache" / "byte-code")
sys.dont_write_bytecode = False
sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks real servers and a browser may miss a moment on a machine that has much else to do.

    It is tried once more, and the summary names it; a fault fails twice.
    """
    for item in items:
        if {"integration", "e2e"} & set(item.path.parts):
            item.add_marker(pytest.mark.flaky(reruns=1))


@dataclass(frozen=True)
class RunningStudio:
    """A Label Studio that serves local files from `media`; `studio` speaks with it."""

    url: str
    media: Path
    environment: StudioInstallation

    @property
    def account(self) -> Account:
        """Asked anew every time, because a test may have renewed the token."""
        return self.environment.prepare_account()

    @property
    def studio(self) -> Studio:
        return Studio(self.url, self.account.token)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own at `folder`, so small that it can be filled; skips where none may be
    mounted. size: such as 1m."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a disk that can be filled")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def label_studio_env() -> Path:
    """An environment with Label Studio in it: the one that CYTOLOOP_LABEL_STUDIO_ENV names,
    else one in .cache/, installed by the first run and used by all later ones."""
    if ready := os.environ.get("CYTOLOOP_LABEL_STUDIO_ENV"):
        return Path(ready)
    environment = StudioInstallation(ROOT / ".cache" / "label-studio")
    environment.ensure_installed(print)
    return environment.environment


@pytest.fixture(scope="session")
def label_studio(
    label_studio_env: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningStudio]:
    """A Label Studio with a database of its own, started once for all tests."""
    folder = tmp_path_factory.mktemp("studio")
    environment = StudioInstallation(folder / "label-studio", label_studio_env)
    media = folder / "media"
    environment.start(free_port(), media, folder / "label-studio.log")
    try:
        environment.wait_ready()
        yield RunningStudio(environment.url, media, environment)
    finally:
        environment.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL, started once for all tests; skips where it is not installed."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with run_postgres(programs, free_port(), "fsync=off") as server:
        yield server


@pytest.fixture
def postgres_address(postgres: Postgres) -> str:
    """The address of an empty database in it."""
    return postgres.create_database()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3, started once for all tests; skips where its packages are missing."""
    for package in ("s3fs", "moto.server"):
        pytest.importorskip(package, reason=f"{package} is not installed (s3fs, moto[server])")
    with run_s3(free_port()) as url:
        yield url


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its address, which this process and its children then use."""
    for name, value in {"AWS_ENDPOINT_URL": s3_server, **CREDENTIALS}.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(scope="session")
def starter_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of versions with the mitosis starter, made ready to serve once for all processes of
    the tests, because that takes seconds: copy it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "starter.lock"):
        versions = folder / "starter" / "versions"
        resolve_model("starter:mitosis", Registry(versions, folder / "starter" / "champions"))
    return versions


@pytest.fixture(scope="session")
def real_images() -> Path:
    """The folder of real images beside the project; skips where it is absent."""
    folder = SHARED_DATA / "plant_mitosis"
    if not folder.is_dir():
        pytest.skip(f"the real images are not at {folder}")
    return folder
