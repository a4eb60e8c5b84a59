"""Modules run as processes: apart from the present folder, and each failure in one line."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from ml_backend.system.child_module import ChildFailed, build_command, run_module


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose Python finds the modules that a test writes into `modules`."""
    modules = tmp_path / "modules"
    modules.mkdir()
    return {**os.environ, "PYTHONPATH": str(modules)}


def test_a_module_gets_its_arguments_and_environment(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "modules" / "writes.py").write_text(
        "import os, sys; open(sys.argv[1], 'w').write(os.environ['WORD'] + sys.argv[2])"
    )
    out = tmp_path / "a folder" / "out.txt"
    out.parent.mkdir()
    run_module("writes", out, "ß", environment={**environment, "WORD": "x"})
    assert out.read_text(encoding="utf-8") == "xß"


def test_files_of_the_present_folder_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("open('was run', 'w')")
    (tmp_path / "colorsys.py").write_text("open('was run', 'w')")
    (tmp_path / "data.json").write_text("[1]")
    monkeypatch.chdir(tmp_path)
    run_module("json.tool", "data.json", "out.json")
    subprocess.run(build_command("colorsys"), check=True)
    assert (tmp_path / "out.json").exists() and not (tmp_path / "was run").exists()


def test_a_failure_is_the_last_line_that_was_written(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match=r"^FileNotFoundError: .*nothing\.json'$|nothing\.json"):
        run_module("json.tool", tmp_path / "nothing.json")
    with pytest.raises(ChildFailed, match="No module named nosuchmodule") as caught:
        run_module("nosuchmodule")
    assert "\n" not in str(caught.value)


def test_a_failure_without_a_message_is_told_by_its_code(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "modules" / "silent.py").write_text("import os; print('output'); os._exit(3)")
    with pytest.raises(ChildFailed, match="^it ended with code 3 and without a message$"):
        run_module("silent", environment=environment)


def test_a_module_that_takes_too_long_is_killed(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "modules" / "endless.py").write_text("import time; time.sleep(600)")
    before = time.monotonic()
    with pytest.raises(ChildFailed, match=r"^it did not end within 0\.5 s$"):
        run_module("endless", environment=environment, timeout=0.5)
    assert time.monotonic() - before < 60


def test_a_module_reads_nothing_from_our_input(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "modules" / "reads.py").write_text("import sys; assert sys.stdin.read() == ''")
    run_module("reads", environment=environment, timeout=60)
