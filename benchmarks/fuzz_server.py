"""Fuzzing of the running server: requests of every shape by its own OpenAPI description.

    uv run python benchmarks/fuzz_server.py --minutes 10

Starts a real backend with connected projects and lets schemathesis send it what its description
allows and what it forbids. A finding is an answer 5xx, a status or an answer that is not
described, a traceback in its log, or memory that grows. Beside the findings stand the slowest
answer of /health meanwhile, asked once a second, and the server's memory.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil
from latency import free_port, wait_for

from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.credentials import read_backend_password
from ml_backend.system.processes import Process

ROOT = Path(__file__).parents[1]
CONFIG = (ROOT / "ml_backend" / "label_studio" / "configs" / "mitosis.xml").read_text("utf-8")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance," + (
    "response_schema_conformance,ignored_auth"
)


def main() -> None:
    """Start a server, fuzz it, and print what was found."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--minutes", type=float, default=1.0)
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        projects = Projects(settings.projects_database)
        for number in range(1, 301):  # so that small numbers, which are tried most, are known
            projects.connect(Project(number, "http://127.0.0.1:9/", "token", "Roots", CONFIG))
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        server = Process.start(
            [sys.executable, "-m", "ml_backend", "serve", "--port", str(port)],
            settings.logs / "serve.log",
            {**os.environ, "CYTOLOOP_DATA_DIR": folder},
            settings.data_dir,
        )
        try:
            wait_for(address)
            password = f"{settings.backend_user}:{read_backend_password(settings)}"
            with httpx.Client() as client, open(Path(folder) / "fuzz.log", "w+") as output:
                fuzzing = subprocess.Popen(
                    [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json",
                     "--auth", password, "--checks", CHECKS, "--max-time",
                     str(round(60 * asked.minutes)), "--seed", str(asked.seed),
                     "--continue-on-failure", "--request-timeout", "120", "--no-color"],
                    stdout=output, stderr=subprocess.STDOUT,
                )  # fmt: skip
                seconds, memory = watch(fuzzing, client, f"{address}/health", server.popen.pid)
                output.seek(0)
                print(output.read()[-6000:])
        finally:
            server.stop()
        log = (settings.logs / "serve.log").read_text("utf-8", "replace")
        tracebacks = len(re.findall(r"Traceback", log))
        print(
            f"schemathesis ended with {fuzzing.returncode}; {tracebacks} tracebacks in the log; "
            f"/health at most {max(seconds):.2f} s; memory MB, in fifths of the time: "
            + " ".join(str(round(memory[len(memory) * k // 5] / 1e6)) for k in range(5))
            + f" {round(memory[-1] / 1e6)}"
        )


def watch(
    fuzzing: subprocess.Popen[bytes], client: httpx.Client, health: str, server: int
) -> tuple[list[float], list[int]]:
    """Ask for /health until the fuzzing ends: seconds of each, bytes of the server's family."""
    seconds, memory = [0.0], []
    family = psutil.Process(server)
    while fuzzing.poll() is None:
        started = time.monotonic()
        client.get(health, timeout=60).raise_for_status()
        seconds.append(time.monotonic() - started)
        processes = [family, *family.children(recursive=True)]
        memory.append(sum(process.memory_info().rss for process in processes))
        time.sleep(1)
    return seconds, memory


if __name__ == "__main__":
    main()
