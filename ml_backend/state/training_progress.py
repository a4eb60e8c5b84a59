"""How far the running trainings are, told by the process that trains to those that are asked.

One small file a project while a training runs: the worker, or the command line, writes it
after every epoch, and any process of the data folder reads it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ml_backend.system.atomic_files import read_json, write_json

Step = dict[str, Any]


@dataclass(frozen=True)
class Training:
    """A training that runs.

    epoch: the last one finished, of `epochs`; 0 while the images are read. loss: its mean;
    seconds_left: estimated; both None before the first epoch has ended. started, told:
    seconds since 1970.
    """

    project: str
    started: float
    told: float
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    seconds_left: float | None = None


@contextmanager
def telling(
    folder: Path, project: str, on: Callable[[Step], None]
) -> Iterator[Callable[[Step], None]]:
    """A callback that tells a training's steps in `folder` and passes them on to `on`.

    Nothing is told any more when the training has ended. Telling may fail, on a full disk
    say: the training goes on.
    """
    path = folder / f"{project}.json"
    now = time.time()
    state = Training(project, now, now)

    def tell(step: Step) -> None:
        nonlocal state
        known = {
            name: step[name] for name in ("epoch", "epochs", "loss", "seconds_left") if name in step
        }
        state = replace(state, told=time.time(), **known)
        with suppress(OSError):
            write_json(path, asdict(state))
        on(step)

    with suppress(OSError):
        write_json(path, asdict(state))
    try:
        yield tell
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def running(folder: Path) -> list[Training]:
    """The trainings that run, by project."""
    told = (read_json(path) for path in sorted(folder.glob("[!.]*.json")))
    return [Training(**one) for one in told if one is not None]


def forget(folder: Path) -> None:
    """Nothing runs: to be called when a worker starts, for one before it may have been killed."""
    for path in folder.glob("*.json"):
        path.unlink(missing_ok=True)
