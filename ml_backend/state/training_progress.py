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

    Attributes:
        project: What is trained for: a project's id, or "dataset".
        started: When it began (seconds since 1970).
        told: When it last told how far it is (seconds since 1970).
        stage: What it is a training for, in words; "" for a candidate.
        epoch: The last one finished; 0 while the images are read.
        epochs: How many there will be.
        loss: The mean of that epoch; None before the first has ended.
        seconds_left: Estimated; None before the first has ended.
    """

    project: str
    started: float
    told: float
    stage: str = ""
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    seconds_left: float | None = None


@contextmanager
def tell_progress(
    folder: Path, project: str, on: Callable[[Step], None], stage: str = ""
) -> Iterator[Callable[[Step], None]]:
    """Tell a training's steps to other processes while the block runs.

    Telling may fail, on a full disk say: the training goes on.

    Args:
        folder: Gets one file for the project, which goes when the block ends.
        project: A project's id, or "dataset".
        on: Called with every step as well.
        stage: See `Training`.

    Yields:
        What is to be called with every step.
    """
    path = folder / f"{project}.json"
    now = time.time()
    state = Training(project, now, now, stage)

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


def list_trainings(folder: Path) -> list[Training]:
    """Return the trainings that run, by project."""
    trainings = (read_json(path) for path in sorted(folder.glob("[!.]*.json")))
    return [Training(**training) for training in trainings if training is not None]


def forget(folder: Path) -> None:
    """Forget all trainings: when a worker starts, because the one before may have been killed."""
    for path in folder.glob("*.json"):
        path.unlink(missing_ok=True)
