"""A training in a process of its own, whatever the kind.

    python -m ml_backend.learners.training_child JOB.json [PARENT]

A training takes minutes, all cores and gigabytes, and may be killed for it. The worker and
the command line therefore start it as a child at low priority (`run_in_child`) and read
its progress, one JSON object a line. Whatever happens there is a `TrainingFailed` here.

Trainings that are wanted together run side by side (`run_side_by_side`), each on its share of the
cores: networks this small gain little from a second core (2.2 s a pass over 20 frames on two, 2.1
s on one, and 2.5 s on one while another training has the other).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock
from typing import Any

from ml_backend import __version__
from ml_backend.learners.base import (
    NO_MEMORY,
    Progress,
    TrainingFailed,
    TrainingInterrupted,
)
from ml_backend.learners.kinds import find_learner
from ml_backend.learners.model_file import FILE_NAME
from ml_backend.learners.training_job import TrainingJob
from ml_backend.system.atomic_files import read_json, write_json
from ml_backend.system.child_module import build_command

# The last line that a child tells, beside those of `learners.base.Progress`:
#   {"done": true, "seconds"}, or {"error": why, "again": may another try do}

# Written into `out` when all else is there: what the training was of.
DONE = "done.json"


def is_finished(job: TrainingJob) -> bool:
    """Tell whether exactly this job, by this release and recipe, was finished in `job.out`."""
    try:
        return read_json(job.out / DONE) == identify(job.to_json())
    except ValueError:
        return False


def identify(job: dict[str, Any]) -> dict[str, Any]:
    """Give what makes two trainings the same, as DONE holds it.

    Args:
        job: `TrainingJob.to_json`.
    """
    recipe = dict(find_learner(job["kind"]).recipe)
    identity = {"job": job, "recipe": recipe, "release": __version__}
    return dict(json.loads(json.dumps(identity)))


def run_in_child(job: TrainingJob, on_progress: Progress, threads: int | None = None) -> Path:
    """Train in a child process at low priority.

    A training that was finished, and whose parent was killed before it took the result, is
    not done again: the files that exactly this job left in `out` are taken.

    Args:
        job: What to train.
        on_progress: Called with what the child tells, except its last line. An exception from
            it ends the child.
        threads: Of the CPU, that the network may take; all where None.

    Returns:
        The path of the weights.

    Raises:
        TrainingFailed: The child found nothing to train on, or failed.
        TrainingInterrupted: It was killed, or the machine had no room for it.
    """
    learner = find_learner(job.kind)
    if all(learner.read_truth(example) is None for example in job.examples):
        raise TrainingFailed("no image is labelled yet; correct and submit some tasks first")
    if is_finished(job):
        return job.out / FILE_NAME
    # Beside what it makes, where `tidy` finds what a killed parent leaves.
    job.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="child-", dir=job.out.parent) as folder:
        file, log = Path(folder, "job.json"), Path(folder, "stderr.txt")
        write_json(file, job.to_json())
        last: dict[str, Any] = {}
        environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
        with log.open("wb") as stderr:
            child = subprocess.Popen(
                build_command("ml_backend.learners.training_child", file, str(os.getpid())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding="utf-8",
                env=environment,
            )
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    last = json.loads(line)
                    if not last.keys() & {"done", "error"}:
                        on_progress(last)
                child.wait()
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()
                child.stdout.close()
        if not last.get("done") or child.returncode:
            told = log.read_text(encoding="utf-8", errors="replace").strip()
            if "error" in last:
                raise (TrainingInterrupted if last.get("again") else TrainingFailed)(last["error"])
            killed = child.returncode < 0 or not told
            raise (TrainingInterrupted if killed else TrainingFailed)(_why(child.returncode, told))
    return job.out / FILE_NAME


def run_side_by_side(
    jobs: Sequence[TrainingJob], on_progress: Callable[[int, dict[str, Any]], None]
) -> list[Future[Path]]:
    """Train several at once, as many as there are cores; the longest should come first.

    Args:
        jobs: What to train.
        on_progress: Called with the place of a job in `jobs` and what its child tells, by one
            thread at a time.

    Returns:
        For each job what `run_in_child` gives, or raises when it is asked for; all are over.
    """
    if not jobs:
        return []
    cores = os.cpu_count() or 1
    at_once = min(len(jobs), cores)
    telling = Lock()

    def train(place: int) -> Path:
        def tell(step: dict[str, Any]) -> None:
            with telling:
                on_progress(place, step)

        return run_in_child(jobs[place], tell, cores // at_once)

    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(train, place) for place in range(len(jobs))]
        wait(running)
    return running


def _why(returncode: int, told: str) -> str:
    """Explain in one line why a child died without a message of its own."""
    if returncode == -getattr(signal, "SIGKILL", 9):
        return f"the training was killed, most often because {NO_MEMORY}"
    reason = told.splitlines()[-1] if told else "nothing was written to its log"
    return f"the training ended with code {returncode}: {reason}"


def main() -> int:
    """Run the child: arguments are a job's file and the parent's process id, if any."""
    # Libraries print where they like; only progress may reach the real stdout.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def tell(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=lines, flush=True)

    try:
        from ml_backend.learners import child_process

        child_process.lower_priority()
        if len(sys.argv) > 2:
            child_process.end_with_parent(int(sys.argv[2]))
        import time

        started = time.monotonic()
        with open(sys.argv[1], encoding="utf-8") as file:
            content = json.load(file)
        job = TrainingJob.from_json(content)
        (job.out / DONE).unlink(missing_ok=True)
        find_learner(job.kind).train(job, tell)
        write_json(job.out / DONE, identify(content))
        tell({"done": True, "seconds": round(time.monotonic() - started, 1)})
        return 0
    except MemoryError:
        tell({"error": NO_MEMORY, "again": True})
    except (TrainingFailed, OSError, ValueError) as error:
        again = isinstance(error, (TrainingInterrupted, OSError))
        tell({"error": " ".join(str(error).split()), "again": again})
    return 1


if __name__ == "__main__":
    sys.exit(main())
