"""The counts of one server. That trainings are told is tested beside the progress."""

from __future__ import annotations

from pathlib import Path

from ml_backend.serving.metrics import ServerMetrics, TrainingCollector
from ml_backend.state.training_progress import tell_progress


def test_counts_of_two_servers_are_apart(tmp_path: Path) -> None:
    first, second = ServerMetrics(tmp_path), ServerMetrics(tmp_path)
    first.requests.labels("predict", 200).inc(3)
    labels = {"route": "predict", "code": "200"}
    assert first.registry.get_sample_value("cytoloop_requests_total", labels) == 3
    assert second.registry.get_sample_value("cytoloop_requests_total", labels) is None


def test_a_training_is_shown_while_it_runs(tmp_path: Path) -> None:
    def epochs() -> list[float]:
        gauges = {gauge.name: gauge for gauge in TrainingCollector(tmp_path).collect()}
        assert len(gauges) == 6
        return [sample.value for sample in gauges["cytoloop_training_epoch"].samples]

    assert epochs() == []
    with tell_progress(tmp_path, "7", lambda step: None) as tell:
        tell({"epoch": 2, "epochs": 40})
        assert epochs() == [2]
    assert epochs() == []
