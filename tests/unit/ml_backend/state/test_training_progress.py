"""A training tells how far it is, and nothing once it has ended."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ml_backend.serving.app import create_app
from ml_backend.settings import Settings
from ml_backend.state.training_progress import forget, list_trainings, tell_progress
from ml_backend.system.credentials import read_backend_password

EPOCH = {"epoch": 3, "epochs": 40, "loss": 1.25, "seconds_left": 74.0}


def test_what_is_told_is_read_until_the_end(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    assert list_trainings(tmp_path / "none") == []
    with tell_progress(tmp_path, "7", heard.append) as tell:
        (training,) = list_trainings(tmp_path)
        assert (training.project, training.epoch, training.loss) == ("7", 0, None)
        tell({"skipped": "a.png", "reason": "empty"})
        tell(EPOCH)
        (training,) = list_trainings(tmp_path)
        assert (training.epoch, training.epochs, training.loss, training.seconds_left) == (
            3,
            40,
            1.25,
            74.0,
        )
        assert training.started <= training.told
    assert list_trainings(tmp_path) == []
    assert heard == [{"skipped": "a.png", "reason": "empty"}, EPOCH]


def test_a_training_that_failed_is_over_too(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), tell_progress(tmp_path, "7", print):
        raise RuntimeError
    assert list_trainings(tmp_path) == []


def test_what_a_killed_worker_left_is_forgotten(tmp_path: Path) -> None:
    killed = tell_progress(tmp_path, "7", print)
    killed.__enter__()
    (tmp_path / ".7.half.json").write_text("{")
    assert len(list_trainings(tmp_path)) == 1
    forget(tmp_path)
    assert list_trainings(tmp_path) == []


def test_telling_that_fails_harms_no_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    heard: list[dict[str, Any]] = []
    with tell_progress(tmp_path / "file", "7", heard.append) as tell:
        tell(EPOCH)
    assert heard == [EPOCH]


def test_metrics_show_each_training(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    client = create_app(settings).test_client()
    user = f"{settings.backend_user}:{read_backend_password(settings)}"
    secret = base64.b64encode(user.encode()).decode()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Basic {secret}"

    def figures() -> dict[tuple[str, str], float]:
        text = client.get("/metrics").get_data(as_text=True)
        return {
            (sample.name.removeprefix("cytoloop_training_"), sample.labels["project"]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("cytoloop_training_")
        }

    assert figures() == {}
    with (
        tell_progress(settings.progress, "1", lambda step: None) as tell,
        tell_progress(settings.progress, "dataset", lambda step: None),
    ):
        tell(EPOCH)
        found = figures()
        assert found["epoch", "1"] == 3 and found["epochs", "1"] == 40
        assert found["loss", "1"] == 1.25 and found["seconds_left", "1"] == 74
        assert found["told_timestamp_seconds", "1"] >= found["started_timestamp_seconds", "1"]
        assert found["epoch", "dataset"] == 0 and ("loss", "dataset") not in found
    assert figures() == {}
