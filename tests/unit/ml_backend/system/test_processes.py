import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ml_backend.system import processes
from ml_backend.system.processes import (
    ChildDied,
    Children,
    PortTaken,
    Process,
    check_port,
    rotate_log,
)

# A parent that starts a child of its own, says its number, and waits.
PARENT = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(600)\n"
)


def start(code: str, folder: Path) -> Process:
    return Process.start([sys.executable, "-c", code], folder / "log", dict(os.environ), folder)


def grandchild(child: Process) -> psutil.Process:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if words := child.read_last_lines():
            return psutil.Process(int(words))
        time.sleep(0.05)
    raise AssertionError("the child said nothing")


def test_a_free_port_passes_and_a_taken_one_says_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        with pytest.raises(PortTaken, match=rf"port {port} for Label Studio .* with --port"):
            check_port(port, "Label Studio", "--port")
        with pytest.raises(PortTaken, match=rf"port {port} for the ML backend .* with --port"):
            check_port(port, "the ML backend", "--port", "localhost")
    check_port(port, "Label Studio", "--port")


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "nowhere.invalid", "*"])
def test_an_address_of_another_machine_cannot_be_listened_on(host: str) -> None:
    with pytest.raises(
        PortTaken, match=rf"the ML backend cannot listen .* {re.escape(host)} .* --host"
    ):
        check_port(9090, "the ML backend", "--port or --host", host)


def test_stopping_a_child_ends_what_it_started(tmp_path: Path) -> None:
    child = start(PARENT, tmp_path)
    below = grandchild(child)
    child.stop()
    assert not child.is_alive()
    assert not below.is_running() or below.status() == psutil.STATUS_ZOMBIE


def test_a_child_that_dies_is_named_with_its_log_and_last_words(tmp_path: Path) -> None:
    children = Children(tmp_path / "children.json")
    children.add("worker", start("raise SystemExit('the disk is full')", tmp_path))
    deadline = time.monotonic() + 20
    with pytest.raises(ChildDied, match=r"the worker ended; see .*log \(the disk is full\)"):
        while time.monotonic() < deadline:
            children.check()
            time.sleep(0.05)
    children.end()
    assert not (tmp_path / "children.json").exists()


def test_only_what_this_start_wrote_counts_as_last_words(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("an error of last week\n", encoding="utf-8")
    child = start("pass", tmp_path)
    child.popen.wait(20)
    assert child.read_last_lines() == ""


def test_children_of_a_parent_that_was_killed_are_ended_by_the_next_one(tmp_path: Path) -> None:
    parent = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from ml_backend.system.processes import Children, Process\n"
        "folder = Path(sys.argv[1])\n"
        "command = [sys.executable, '-c', sys.argv[2]]\n"
        "child = Process.start(command, folder / 'log', dict(os.environ), folder)\n"
        "Children(folder / 'children.json').add('one', child)\n"
        "print(child.popen.pid, flush=True)\n"
        "os._exit(9)\n"
    )
    command = [sys.executable, "-c", parent, str(tmp_path), PARENT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    orphan = psutil.Process(int(done.stdout))
    assert orphan.is_running()
    Children(tmp_path / "children.json").end_orphans()
    psutil.wait_procs([orphan], timeout=10)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_only_took_over_the_number_is_left_alone(tmp_path: Path) -> None:
    child = start("import time; time.sleep(600)", tmp_path)
    file = tmp_path / "children.json"
    file.write_text(f"[[{child.popen.pid}, 1.0]]", encoding="utf-8")
    Children(file).end_orphans()
    assert child.is_alive()
    child.stop()


def test_the_log_of_a_child_that_writes_without_end_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "MOST_LOG_BYTES", 100_000)
    children = Children(tmp_path / "children.json")
    # Two gigabytes, so that a log that is not bounded is seen and still fills no disk.
    flood = "import sys\nfor _ in range(2_000_000): sys.stdout.write('x' * 999 + '\\n')\n"
    flood += "import time; time.sleep(60)"
    children.add("flood", start(flood, tmp_path))
    log = children.find_log("flood")
    try:
        for _ in range(30):
            children.check()
            time.sleep(0.02)
    finally:
        children.end()
    rotate_log(log)
    logs = sorted(tmp_path.glob("log*"))
    assert [one.name for one in logs] == ["log", "log.1", "log.2", "log.3"]
    assert sum(one.stat().st_size for one in logs) < 1_000_000
    assert log.stat().st_mode & 0o077 == 0 or os.name != "posix"


def test_a_rotated_log_still_tells_the_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_bytes(b"of an earlier start\n" * 10)
    child = start("import time; print('first', flush=True); time.sleep(60)", tmp_path)
    while "first" not in child.read_last_lines():
        time.sleep(0.02)
    monkeypatch.setattr(processes, "MOST_LOG_BYTES", 10)
    rotate_log(child.log)
    with child.log.open("a") as log:
        log.write("last\n")
    assert child.read_last_lines() == "last"
    child.stop()
