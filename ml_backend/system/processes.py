"""Child processes: started with a log of their own, watched, and ended with all they started."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from ml_backend.system.atomic_files import read_json, write_json
from ml_backend.system.private_files import UMASK, create_private


class PortTaken(RuntimeError):
    """The port cannot be listened on, most often because another program does."""


class ChildDied(RuntimeError):
    """A child ended by itself."""


def check_port(port: int, what: str, option: str, host: str = "127.0.0.1") -> None:
    """Check that a server can listen on a port.

    Args:
        port: The port.
        what: Who wants to listen.
        option: The option by which the user chooses another port.
        host: The address to listen on.

    Raises:
        PortTaken: It cannot be had; in words for the user.
    """
    # As the servers understand it: a name is an IPv4 one.
    family, address = socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port)
    try:
        with socket.socket(family) as probe:
            if os.name == "posix":  # a port just closed may be used again
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        # A listener on all addresses does not keep Windows from binding the local one, so
        # it is also asked whether anyone answers.
        with socket.socket(family) as probe:
            probe.settimeout(0.5)
            taken = probe.connect_ex(address) == 0
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise PortTaken(
                f"{what} cannot listen on port {port} of {host} ({error.strerror}); "
                f"choose another with {option}"
            ) from error
        taken = True
    if taken:
        raise PortTaken(
            f"port {port} for {what} is taken by another program; choose another with {option}"
        )


@dataclass(frozen=True)
class Process:
    """A child process and the log of its output.

    Attributes:
        popen: The child.
        log: The file that its output goes to.
        started: The byte of `log` at which its output starts.
    """

    popen: subprocess.Popen[bytes]
    log: Path
    started: int

    @classmethod
    def start(
        cls, command: list[str], log: Path, environment: dict[str, str], cwd: Path
    ) -> Process:
        """Start a child whose output goes to the end of `log`.

        It gets a group of its own, so that Ctrl-C reaches the parent alone, which then
        ends its children in order.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        create_private(log)
        with open(log, "ab") as output:
            started = output.tell()
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=cwd,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                start_new_session=True,  # has no effect on Windows
                umask=UMASK if os.name == "posix" else -1,
            )
        return cls(popen, log, started)

    def is_alive(self) -> bool:
        """Tell whether it has not ended."""
        return self.popen.poll() is None

    def read_last_lines(self, lines: int = 3) -> str:
        """Read the last lines that it wrote, joined into one."""
        with contextlib.suppress(OSError), open(self.log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            # A log that was rotated meanwhile is smaller than it was.
            begin = self.started if self.started <= size else 0
            file.seek(max(begin, size - 100_000))
            text = file.read().decode("utf-8", "replace")
            return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])
        return ""

    def stop(self, patience: float = 10.0) -> None:
        """End it and all that it started; after `patience` seconds, by force."""
        stop_all([self], patience)


def stop_all(processes: Sequence[Process], patience: float = 10.0) -> None:
    """End the processes and all their descendants, together; by force after `patience` s."""
    parents = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            parents.append(psutil.Process(process.popen.pid))
    _end(parents, patience)
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.popen.wait(patience)  # so that no zombie stays


def _end(parents: Sequence[psutil.Process], patience: float) -> None:
    doomed: list[psutil.Process] = []
    for parent in parents:
        with contextlib.suppress(psutil.NoSuchProcess):
            doomed += [*parent.children(recursive=True), parent]
    for signal in ("terminate", "kill"):
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                getattr(process, signal)()
        _, doomed = psutil.wait_procs(doomed, timeout=patience)
        if not doomed:
            return


# A child's log is put aside when it is larger, in bytes; so many of the last ones are kept.
MOST_LOG_BYTES, LOGS_KEPT = 10_000_000, 3


def rotate_log(log: Path) -> None:
    """Put a log aside where it has grown large, under its name with `.1`, and go on with none.

    It is copied and emptied, not renamed, because the child has it open. What the child writes in
    between is lost.
    """
    with contextlib.suppress(OSError):  # another time
        if log.stat().st_size <= MOST_LOG_BYTES:
            return
        for number in range(LOGS_KEPT - 1, 0, -1):
            older = log.with_name(f"{log.name}.{number}")
            if older.exists():
                older.replace(log.with_name(f"{log.name}.{number + 1}"))
        aside = log.with_name(f"{log.name}.1")
        create_private(aside)
        with open(log, "rb") as source, open(aside, "wb") as target:
            # Of one that grew faster than it is looked at, the end; and no more than that, or the
            # copy would run after a child that writes faster than it until the disk is full.
            source.seek(max(0, log.stat().st_size - MOST_LOG_BYTES))
            target.write(source.read(MOST_LOG_BYTES))
        os.truncate(log, 0)


class Children:
    """The children of one parent, by name; also remembered in a file.

    A parent that is killed outright cannot end its children, so the next one does it,
    by the file: a process counts as ours only if it has the same start time.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._children: dict[str, Process] = {}

    def add(self, name: str, child: Process) -> None:
        """Take charge of a child, by a name for the user."""
        self._children[name] = child
        started = []
        for process in self._children.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                pid = process.popen.pid
                started.append([pid, psutil.Process(pid).create_time()])
        write_json(self._file, started)

    def find_log(self, name: str) -> Path:
        """Return the log of a child, by the name that it was given."""
        return self._children[name].log

    def check(self) -> None:
        """Keep their logs small, and check that all of them run.

        Raises:
            ChildDied: One has ended; its name, its log and its last line.
        """
        for name, child in self._children.items():
            rotate_log(child.log)
            if not child.is_alive():
                raise ChildDied(f"the {name} ended; see {child.log} ({child.read_last_lines(1)})")

    def end(self) -> None:
        """End all of them and all that they started."""
        stop_all(list(self._children.values()))
        self._children.clear()
        self._file.unlink(missing_ok=True)

    def end_orphans(self) -> None:
        """End what a parent before us left running."""
        orphans = []
        for pid, started in read_json(self._file, []):
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if abs(process.create_time() - started) < 1:
                    orphans.append(process)
        _end(orphans, 10.0)
        self._file.unlink(missing_ok=True)
