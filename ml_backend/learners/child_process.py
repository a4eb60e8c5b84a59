"""A child process that lets others go first and ends with its parent."""

from __future__ import annotations

import os
import threading
import time

import psutil

_SECONDS = 2.0  # between two looks at the parent


def lower_priority() -> None:
    """Let every other process of this user go first."""
    process = psutil.Process()
    if psutil.WINDOWS:
        process.nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS"))  # noqa: B009
    else:
        process.nice(max(process.nice(), 10))  # never back up, which only root may do


def end_with_parent(parent: int) -> None:
    """End this process soon after `parent` ended: nobody would take its result.

    Args:
        parent: The process id.
    """
    known = psutil.Process(parent)

    def watch() -> None:
        # Where a parent dies, POSIX gives its children another one at once.
        while known.is_running() and (psutil.WINDOWS or os.getppid() == parent):
            time.sleep(_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
