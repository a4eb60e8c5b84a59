"""What `/metrics` shows: the requests, the tasks answered, and the trainings that run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ml_backend.state.training_progress import Training, list_trainings

# Name, help text and value of each gauge of a running training.
_GAUGES: tuple[tuple[str, str, Callable[[Training], float | None]], ...] = (
    ("epoch", "The last epoch that is finished", lambda training: training.epoch),
    ("epochs", "How many epochs there will be", lambda training: training.epochs),
    ("loss", "The mean loss of the last epoch", lambda training: training.loss),
    ("seconds_left", "Estimated", lambda training: training.seconds_left),
    ("started_timestamp_seconds", "Since 1970", lambda training: training.started),
    ("told_timestamp_seconds", "When it was last heard of", lambda training: training.told),
)


class TrainingCollector(Collector):
    """Reads the running trainings from the data folder at each request.

    Args:
        folder: Where the processes that train write their progress.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Yield one gauge for each number that a training tells, labelled by project."""
        trainings = list_trainings(self._folder)
        for name, text, read in _GAUGES:
            gauge = GaugeMetricFamily(f"cytoloop_training_{name}", text, labels=["project"])
            for training in trainings:
                if (value := read(training)) is not None:
                    gauge.add_metric([training.project], value)
            yield gauge


class ServerMetrics:
    """The counts of one server process.

    Args:
        progress: Where the processes that train write their progress.

    Attributes:
        registry: Holds everything below, and the running trainings.
        requests: Requests answered, by route and status code.
        seconds: Time to answer a request in seconds, by route.
        preannotated: Tasks that were answered, by project.
        left_out: Tasks that were answered with nothing to store, by project.
    """

    def __init__(self, progress: Path) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(TrainingCollector(progress))
        self.requests = Counter(
            "cytoloop_requests", "Requests answered", ["route", "code"], registry=self.registry
        )
        self.seconds = Histogram(
            "cytoloop_request_seconds",
            "Time to answer",
            ["route"],
            registry=self.registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30, 60, 100),
        )
        self.preannotated = Counter(
            "cytoloop_tasks_preannotated", "Tasks answered", ["project"], registry=self.registry
        )
        self.left_out = Counter(
            "cytoloop_tasks_left_out",
            "Tasks answered with nothing to store",
            ["project"],
            registry=self.registry,
        )
