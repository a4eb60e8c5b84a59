"""A process that reads what a library may crash on, take for ever, or fill the memory with.

Codecs of Zarr and the readers of microscopes' own formats are native code: one damaged chunk can
end the whole process (a bit of a Blosc chunk did). So they run in a child with a limit on memory
and time, which is started at the first such file and killed when it does not answer. A file that
ended it `CRASHES` times is not read again.

The child answers a line of JSON, and the bytes of an array behind it: nothing that it sends is run
as code here.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from importlib import import_module
from typing import IO, Any

import numpy as np

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.system.child_module import build_command

CRASHES = 3  # after which a file is left alone
SECONDS = 30.0  # for an answer, and for each SLOW bytes of it
SLOW = 500_000_000
MEMORY = 1_500_000_000  # bytes beside twice the answer

# What the child can be asked for: the module and the function of each.
FUNCTIONS = {
    "zarr": ("tasks.readers.ome_zarr", "read_array"),
    "vendor-import": ("tasks.readers.vendor", "import_library"),
    "vendor-header": ("tasks.readers.vendor", "read_header"),
    "vendor-plane": ("tasks.readers.vendor", "read_plane"),
}


class ReadingChild:
    """The child of this process; safe for threads, which take turns."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._crashes: Counter[str] = Counter()

    def call(
        self, function: str, path: str, *arguments: Any, size: int = 0, seconds: float = 0.0
    ) -> Any:
        """Let the child read.

        Args:
            function: One of FUNCTIONS.
            path: The file or folder.
            arguments: What JSON can hold.
            size: Bytes of the array that is expected, which time and memory are allowed for.
            seconds: For an answer of no size; SECONDS where not given.

        Returns:
            An array, or a value of JSON.

        Raises:
            UnreadableImage: It cannot be read; the child's reason, or that it was lost.
        """
        with self._turn:
            if self._crashes[path] >= CRASHES:
                raise UnreadableImage("it is damaged: what reads it failed, and is not tried again")
            process = self._process = self._process or _start()
            killed = threading.Event()

            def kill() -> None:
                killed.set()
                process.kill()

            seconds = (seconds or SECONDS) * (1 + size / SLOW)
            watchdog = threading.Timer(seconds, kill)
            watchdog.start()
            try:
                assert process.stdin and process.stdout
                request = [function, path, list(arguments), MEMORY + 2 * size]
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
                answer = json.loads(process.stdout.readline())
                if "shape" in answer:
                    return _receive(process.stdout, answer)
            except (OSError, ValueError):  # its end, in the middle of an answer or before
                self._end()
                self._crashes[path] += 1
                reason = f"gave no answer within {seconds:.0f} s" if killed.is_set() else "crashed"
                raise UnreadableImage(f"it is damaged: what reads it {reason}") from None
            finally:
                watchdog.cancel()
        if "refused" in answer:
            raise UnreadableImage(answer["refused"])
        return answer["value"]

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


CHILD = ReadingChild()
"""Of this process."""


def _start() -> subprocess.Popen[bytes]:
    """Start a child; what libraries print there is nobody's business."""
    return subprocess.Popen(
        build_command("tasks.readers.reading_child", str(os.getpid())),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _receive(stream: IO[bytes], answer: dict[str, Any]) -> np.ndarray:
    """Read the bytes of an array.

    Raises:
        ValueError: They end early.
    """
    array = np.empty(answer["shape"], np.dtype(answer["dtype"]))
    view, read = array.reshape(-1).view(np.uint8).data, 0
    while read < len(view):
        part = stream.readinto(view[read:])  # type: ignore[attr-defined]
        if not part:
            raise ValueError("the array is cut off")
        read += part
    return array


def _limit_memory(more: int) -> None:
    """Let this process take so many bytes more than now; nothing on Windows."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as file:
            present = int(file.read().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (present + more, hard))


def _answer(function: str, path: str, arguments: list[Any]) -> tuple[dict[str, Any], np.ndarray]:
    """Read for the parent: the line of the answer and the array behind it, which may be empty."""
    module, name = FUNCTIONS[function]
    nothing = np.zeros(0, np.uint8)
    try:
        found = getattr(import_module(module), name)(path, *arguments)
    except UnreadableImage as error:
        return {"refused": error.reason}, nothing
    except MemoryError:
        return {"refused": "too large for the memory of this machine"}, nothing
    if isinstance(found, np.ndarray):
        return {"shape": found.shape, "dtype": found.dtype.str}, np.ascontiguousarray(found)
    return {"value": found}, nothing


def main() -> None:
    """Answer requests, a line each, until the parent ends."""
    from ml_backend.learners.child_process import end_with_parent

    end_with_parent(int(sys.argv[1]))
    # Libraries may print; the parent reads only what is meant for it.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin.buffer:
        function, path, arguments, memory = json.loads(line)
        _limit_memory(memory)
        answer, array = _answer(function, path, arguments)
        out.write(json.dumps(answer).encode() + b"\n")
        if array.size:
            out.write(array.reshape(-1).view(np.uint8).data)
        out.flush()


if __name__ == "__main__":
    main()
