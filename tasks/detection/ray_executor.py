"""Detecting in files on a Ray cluster: what `WindowDetector` does, on many machines.

A worker is a Ray actor on one core that holds the detector and opens and looks at files as
the embedded process would. Ray Data hands the files out, holds back what runs ahead of the
reader, and gives what a dead worker had to another, which looks at one file after the other
then: so it shows which one workers die of, and that one alone is given up.

The files must lie at the same path on all machines, and cytoloop must be installed on them with
the extra; the detector travels.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from ml_backend.learners.kinds import find_learner, load_detector
from ml_backend.learners.model_file import FILE_NAME, read_card
from tasks.detection.background_filter import Background
from tasks.detection.window_detector import (
    DetectionMemory,
    NoMemory,
    PlaneDetections,
    WindowDetector,
    remember_complete,
)
from tasks.readers.planes import ScanPlane

T = TypeVar("T")
# What a worker is told beside the model: pixel size, side, overlap and background.
WorkerOptions = tuple[float | None, int, int, Background | None]

# Number and mark of an item, and what opens it.
_Item = tuple[int, str, Callable[[], list[ScanPlane]]]

# Items that a worker takes at a time, and has to do again where it dies with them.
LEAST, MOST = 8, 256
ROUNDS = 16  # times that a worker comes for items, where there are enough: it evens out the end
WORKERS_PER_GPU = 8  # each holds a network of its own, about 0.6 GB
ALONE = 2  # workers that may die of a file by itself, after one that died of it among others
MOST_DEADLY = 64  # files that are given up; where there are more, it is not the files
DEADLY = (
    f"{ALONE + 1} processes ended while they looked at it: it makes a decoder crash, or needs "
    "more memory than a worker has"
)


class ClusterFailed(RuntimeError):
    """One line that says what is in the way."""


@dataclass(frozen=True)
class ClusterDetector(Generic[T]):
    """Detects in items on a Ray cluster.

    Attributes:
        model: The folder of the version.
        pixel_size: µm, see `ObjectDetector.at`.
        memory: See `WindowDetector`; so are the others.
        side: Of the windows, px.
        overlap: Of the windows, px.
        opening: What it gives is sent to the workers, so it must pickle.
        mark: Of an item, for the memory.
        background: Of the scan.
    """

    model: Path
    pixel_size: float | None
    memory: DetectionMemory
    side: int
    overlap: int
    opening: Callable[[T], Callable[[], list[ScanPlane]]]
    mark: Callable[[T], str]
    background: Background | None = None

    def detect(self, items: Iterable[T]) -> Iterator[tuple[T, list[PlaneDetections] | str]]:
        """Yield each item in order with what was detected, or the reason why nothing was.

        Raises:
            ClusterFailed: There is no cluster, or it gave up.
        """
        marked = [(item, self.mark(item)) for item in items]
        new = [self.memory.recall(mark) is None for _, mark in marked]
        asked = [
            pickle.dumps((number, mark, self.opening(item)))
            for number, ((item, mark), fresh) in enumerate(zip(marked, new, strict=True))
            if fresh
        ]
        options = (self.pixel_size, self.side, self.overlap, self.background)
        answers = _answers(self.model, options, asked)
        for (item, mark), fresh in zip(marked, new, strict=True):
            answer = next(answers) if fresh else self.memory.recall(mark)
            assert answer is not None
            if fresh and not isinstance(answer, str):
                remember_complete(self.memory, mark, answer)
            yield item, answer


class AttemptCounter:
    """What workers have begun and not ended; one for all of them, on the cluster."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, what: str) -> int:
        """Count a beginning; return how often that was begun before."""
        self._begun[what] += 1
        return self._begun[what] - 1

    def end(self, what: str) -> None:
        """Forget what has ended."""
        del self._begun[what]


class ClusterWorker:
    """What runs on the cluster, on one core."""

    def __init__(self, model: dict[str, bytes], options: WorkerOptions, tally: Any) -> None:
        """Make the detector ready.

        Args:
            model: The files of a version, by name.
            options: What the worker is told beside the model.
            tally: An `AttemptCounter` on the cluster.
        """
        pixel_size, side, overlap, background = options
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            for file, content in model.items():
                Path(name, file).parent.mkdir(exist_ok=True)
                Path(name, file).write_bytes(content)
            detector = load_detector(Path(name), threads=1).adapt_to(pixel_size)
        self._detector = WindowDetector[_Item](
            detector,
            NoMemory(),
            side,
            overlap,
            lambda item: item[2],
            lambda item: item[1],
            background,
        )
        self._tally = tally

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[bytes]]]:
        """Detect in pickled items, one answer a row."""
        # Pickled by this module, on a cluster that runs our code anyway.
        items: list[_Item] = [pickle.loads(item) for item in batch["item"]]  # noqa: S301
        together = not self._begin(f"from {items[0][0]}")
        answers = self._detector.detect(items) if together else map(self._alone, items)
        for _, answer in answers:
            yield {"seen": [pickle.dumps(answer)]}

    def _alone(self, item: _Item) -> tuple[_Item, list[PlaneDetections] | str]:
        if self._begin(f"{item[0]}") >= ALONE:
            return item, DEADLY
        (answer,) = self._detector.detect([item])
        self._tally.end.remote(f"{item[0]}")
        return answer

    def _begin(self, what: str) -> int:
        import ray

        return ray.get(self._tally.begin.remote(what))


def _answers(
    model: Path, options: WorkerOptions, asked: list[bytes]
) -> Iterator[list[PlaneDetections] | str]:
    if not asked:
        return
    with _connected() as ray:
        have = ray.cluster_resources()
        cpus, gpus = int(have.get("CPU", 0)), have.get("GPU", 0)
        if not cpus:
            raise ClusterFailed("the Ray cluster has no CPU to offer")
        each = min(MOST, max(LEAST, len(asked) // (ROUNDS * cpus)))
        blocks = -(-len(asked) // each)
        share = min(1.0, max(gpus / cpus, 1 / WORKERS_PER_GPU)) if gpus else None
        workers = min(cpus, blocks, int(gpus / share) if share else cpus)
        beside = find_learner(read_card(model / FILE_NAME).kind).serving_files
        files = {name: (model / name).read_bytes() for name in (FILE_NAME, *beside)}
        tally = ray.remote(AttemptCounter).options(num_cpus=0).remote()
        found = ray.data.from_items(asked, override_num_blocks=blocks).map_batches(
            ClusterWorker,
            batch_size=MOST,
            fn_constructor_args=(files, options, tally),
            compute=ray.data.ActorPoolStrategy(min_size=1, initial_size=workers),
            num_cpus=1,
            num_gpus=share,
        )
        try:
            deadly = 0
            for row in found.iter_rows():
                answer = pickle.loads(row["seen"])  # noqa: S301 (our own worker)
                deadly += answer == DEADLY
                if deadly > MOST_DEADLY:
                    raise ClusterFailed(
                        f"more than {MOST_DEADLY} files ended the processes that looked at them: "
                        "the workers may lack memory; start Ray with fewer CPUs a machine"
                    )
                yield answer
        except ray.exceptions.RayError as error:
            raise ClusterFailed(f"Ray gave up: {_reason(error)}") from error


@contextmanager
def _connected() -> Iterator[Any]:
    """Ray, connected as it documents.

    To the cluster of RAY_ADDRESS, else to one that runs on this machine, else to a new one here.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nobody is told how it is used
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what it retries is no news
    # Workers run what is installed on their machine. Where this one was started by `uv run`, Ray
    # would start them by `uv run` too, in a copy of the folder, and refuses to.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterFailed("--executor ray needs the extra ray: uv sync --extra ray") from error
    ours = not ray.is_initialized()
    if ours:
        try:
            # Ray's workers import from the folder that it was started in, before all others; the
            # one that this package was imported from is no news to them.
            with contextlib.chdir(Path(__file__).parents[1]):
                ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:  # a node that starts too slowly is a bare Exception
            raise ClusterFailed(f"Ray does not start: {_reason(error)}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
