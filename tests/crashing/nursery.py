"""Processes of the product without the seconds that their imports take.

    python -m tests.crashing.nursery

It imports what worker and server import, under the kill points, and forks one of them for every
line it is given: {"role", "port", "environment", "log", "ended"}. It answers the process id, and
writes the exit status into the file `ended` when the process is over.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

HOOK = Path(__file__).parent / "hook"
ROOT = Path(__file__).parents[2]


class Nursery:
    """The nursery as a child; a context."""

    def __enter__(self) -> Nursery:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crashing.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(HOOK), str(ROOT)]),
                "OMP_NUM_THREADS": "1",
            },
        )
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def start(self, order: dict[str, Any]) -> int:
        """The process id of a new worker or server."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def main() -> None:
    import sitecustomize  # ours, by PYTHONPATH

    sitecustomize.instrument()
    import label_studio_sdk.label_interface  # noqa: F401
    import openvino  # noqa: F401

    waiting: dict[int, str] = {}

    def reap(number: int, frame: object) -> None:
        for pid, ended in list(waiting.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                Path(ended).write_text(str(os.waitstatus_to_exitcode(status)))
                del waiting[pid]

    signal.signal(signal.SIGCHLD, reap)
    for line in sys.stdin:
        order = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            become(order)
        waiting[pid] = order["ended"]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        print(pid, flush=True)


def become(order: dict[str, Any]) -> None:
    """The forked process: the worker or the server, as the command line starts them."""
    code = 1
    try:
        os.setsid()
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.update(order["environment"])
        import sitecustomize

        sitecustomize.begin(order["role"])
        from ml_backend.settings import Settings

        if order["role"] == "worker":
            from ml_backend.retraining.worker import work

            work(Settings())
        else:
            from ml_backend.serving.server import serve

            serve(Settings(), "127.0.0.1", order["port"])
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # nothing may return into the nursery's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
