"""Modules of ours as processes of their own: nothing of the present folder gets into them.

Python puts the present folder in front of the path of `python -m`; a file there named as a library
would run in the library's place. `-P` leaves the folder out.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class ChildFailed(RuntimeError):
    """A child did not end well; the message is one line, the last that it wrote to stderr."""


def build_command(module: str, *arguments: str | Path) -> list[str]:
    """Build the command that runs a module in this Python, apart from the present folder.

    Args:
        module: Its full name, such as "ml_backend.learners.detector.export".
        arguments: Its command line.
    """
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def run_module(
    module: str,
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> None:
    """Run a module in a process of its own, and wait for its end.

    What it writes is kept from our own output; it can read nothing from our standard input.

    Args:
        module: Its full name.
        arguments: Its command line.
        environment: Its whole environment; ours where None.
        timeout: Seconds after which it is killed; None for no limit.

    Raises:
        ChildFailed: It ended with another code than 0, was killed, or took too long.
    """
    try:
        done = subprocess.run(
            build_command(module, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise ChildFailed(f"it did not end within {timeout:g} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ChildFailed(
            lines[-1] if lines else f"it ended with code {done.returncode} and without a message"
        )
