"""A champion that is chosen at the command line is served by every server process at once."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from ml_backend.system.credentials import read_backend_password
from tests.conftest import free_port
from tests.integration.test_server import MITOSIS, Backend

SECONDS = 5.0


@pytest.fixture
def backend(starter_versions: Path, tmp_path: Path) -> Backend:
    backend = Backend(tmp_path / "data", starter_versions)
    files = list(backend.registry.get_folder(backend.starter).iterdir())
    version = replace(backend.registry.get(backend.starter), name="1-v1-copy", project="1")
    backend.registry.add(version, [path for path in files if path.name != "version.json"])
    return backend


@pytest.fixture
def servers(backend: Backend) -> Iterator[list[httpx.Client]]:
    """Two `cytoloop serve` over one data folder, and a client of each."""
    processes, clients = [], []
    user = (backend.settings.backend_user, read_backend_password(backend.settings))
    try:
        for port in (free_port(), free_port()):
            processes.append(process(backend, "serve", "--port", str(port)))
            address = f"http://127.0.0.1:{port}"
            clients.append(httpx.Client(base_url=address, auth=user, trust_env=False))
        for client in clients:
            wait_for(client)
        yield clients
    finally:
        for client in clients:
            client.close()
        for server in processes:
            server.terminate()
            server.wait(60)


def process(backend: Backend, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ml_backend", *arguments],
        env={**os.environ, "CYTOLOOP_DATA_DIR": str(backend.settings.data_dir)},
        stdout=subprocess.PIPE if arguments[0] != "serve" else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def wait_for(client: httpx.Client) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            client.get("/health").raise_for_status()
            return
        except httpx.TransportError:
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.2)


def version(client: httpx.Client) -> str:
    body = {"project": "1.1700000000", "schema": MITOSIS, "extra_params": None}
    answer: dict[str, Any] = client.post("/setup", json=body, timeout=60).json()
    return answer["model_version"]


@pytest.mark.timeout(400)
def test_promote_and_rollback_reach_every_server_process(
    backend: Backend, servers: list[httpx.Client]
) -> None:
    assert {version(server) for server in servers} == {backend.starter}
    for command, expected in (
        (("promote", "1-v1-copy"), "1-v1-copy"),
        (("rollback",), backend.starter),
    ):
        done = process(backend, "models", *command, "--project", "1", "--json")
        output, _ = done.communicate()
        ended = time.monotonic()
        assert json.loads(output) == {"project": 1, "champion": expected}
        while {version(server) for server in servers} != {expected}:
            assert time.monotonic() - ended < SECONDS
    start, promotion, rollback = backend.registry.list_changes("1")
    assert (promotion.kind, rollback.kind) == ("promotion", "rollback")
    assert promotion.by == rollback.by == getpass.getuser()
    assert start.at < promotion.at < rollback.at <= time.time()
    assert promotion.reason == "promoted by hand" and rollback.previous == "1-v1-copy"
