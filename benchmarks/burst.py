"""A burst of webhook events while a training runs: is every one answered, and how soon?

    uv run python benchmarks/burst.py

The backend as `cytoloop serve` starts it gets 2,000 events in 10 s from 20 connections, as Label
Studio sends them: one attempt each, at its appointed time whether others were answered or not.
Meanwhile a real training runs at low priority. Label Studio waits 1 s for an answer, inside the
annotator's own request. Beside each round stands what the same machine can do: the time of a
request to a server that does nothing, under the same load.

That a burst makes one training is a test (tests/integration/test_burst.py).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.latency import CONFIG, free_port, train, wait_for  # noqa: E402
from ml_backend.settings import Settings  # noqa: E402
from ml_backend.state.projects import Project, Projects  # noqa: E402
from ml_backend.system.credentials import read_backend_password  # noqa: E402

EVENTS, SECONDS, CONNECTIONS, ROUNDS = 2000, 10.0, 20, 5
LIMIT = 0.2
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "TASKS_CREATED", "ANNOTATIONS_DELETED")


def burst(
    base: str, auth: tuple[str, str], events: int, seconds: float, connections: int
) -> tuple[list[float], int]:
    """Seconds from each event's appointed time to its answer, and how many got none."""
    start = time.perf_counter() + 0.2
    took: list[float] = []
    lost: list[str] = []

    def one_connection(first: int) -> None:
        with httpx.Client(base_url=base, auth=auth, timeout=1.0, trust_env=False) as client:
            for number in range(first, events, connections):
                due = start + seconds * number / events
                time.sleep(max(0.0, due - time.perf_counter()))
                body = {"action": ACTIONS[number % len(ACTIONS)], "project": {"id": 1}}
                try:
                    client.post("/webhook", json=body).raise_for_status()
                except httpx.HTTPError as error:
                    lost.append(repr(error))
                else:
                    took.append(time.perf_counter() - due)

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(one_connection, range(connections)))
    return took, len(lost)


class _Nothing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    nothing = ThreadingHTTPServer(("127.0.0.1", 0), _Nothing)
    threading.Thread(target=nothing.serve_forever, daemon=True).start()
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        projects = Projects(settings.projects_database)
        label_config = CONFIG.read_text(encoding="utf-8")
        projects.connect(Project(1, "http://127.0.0.1:1", "none", "bench", label_config))
        port = free_port()
        server = subprocess.Popen(
            [sys.executable, "-m", "ml_backend", "serve", "--port", str(port)],
            env={**os.environ, "CYTOLOOP_DATA_DIR": folder},
        )
        ended, started = threading.Event(), threading.Event()
        training = threading.Thread(target=train, args=(Path(folder), started, ended))
        try:
            base, auth = f"http://127.0.0.1:{port}", (settings.backend_user, "")
            wait_for(base)
            auth = (settings.backend_user, read_backend_password(settings))
            training.start()
            started.wait()
            family = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
            for number in range(options.rounds):
                before = cpu_seconds(family)
                took, lost = burst(base, auth, EVENTS, SECONDS, CONNECTIONS)
                used = cpu_seconds(family) - before
                bare, _ = burst(
                    f"http://127.0.0.1:{nothing.server_port}", auth, EVENTS, SECONDS, CONNECTIONS
                )
                rounds.append(
                    {
                        "answered": len(took),
                        "lost": lost,
                        **{f"p{q}_ms": milliseconds(took, q) for q in (50, 99)},
                        "bare_p99_ms": milliseconds(bare, 99),
                        "cpu_ms_an_event": round(1000 * used / EVENTS, 2),
                        "load": round(os.getloadavg()[0], 1),
                    }
                )
                if not options.json:
                    print(f"round {number + 1}: {rounds[-1]}", flush=True)
            still = training.is_alive()
        finally:
            ended.set()
            server.terminate()
            server.wait()
            if training.ident is not None:
                training.join()
    figures = {
        "events": EVENTS,
        "seconds": SECONDS,
        "connections": CONNECTIONS,
        "rounds": rounds,
        "lost": sum(outcome["lost"] for outcome in rounds),
        "median_p99_ms": float(np.median([outcome["p99_ms"] for outcome in rounds])),
        "median_cpu_ms_an_event": float(
            np.median([outcome["cpu_ms_an_event"] for outcome in rounds])
        ),
        "limit_ms": 1000 * LIMIT,
        "training_ran_all_the_time": still,
    }
    if options.json:
        print(json.dumps(figures))
        return
    print(
        f"{EVENTS} events in {SECONDS:.0f} s from {CONNECTIONS} connections, "
        f"{len(rounds)} times: {figures['lost']} not answered; 99th percentile "
        f"{figures['median_p99_ms']:.0f} ms (median of the rounds), limit {1000 * LIMIT:.0f} ms"
    )
    if not still:
        print("the training ended before the events did; the figures are too good")


def cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def milliseconds(took: list[float], percentile: int) -> float:
    return round(1000 * float(np.percentile(took, percentile)), 1) if took else float("nan")


if __name__ == "__main__":
    main()
