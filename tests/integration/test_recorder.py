"""MLflow records a version; where it cannot, nothing else fails."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from ml_backend.learners.model_file import FILE_NAME
from ml_backend.registry.starters import find_starter_weights, read_starter
from ml_backend.registry.versions import Registry
from ml_backend.retraining.mlflow_log import record_in_child
from ml_backend.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path / "data")
    weights = tmp_path / FILE_NAME
    weights.write_bytes(find_starter_weights("starter:mitosis").read_bytes())
    version = replace(
        read_starter("starter:mitosis"),
        name="1-v1-test",
        project="1",
        figures={"f1": 0.75, "ap50": None, "f1_interval": [0.5, 0.9]},
        decision={"promoted": True, "reasons": ["better"]},
    )
    Registry(settings.versions, settings.champions).add(version, [weights])
    return settings


def test_a_version_is_recorded_with_its_figures_and_files(settings: Settings) -> None:
    assert record_in_child("1-v1-test", settings)
    with sqlite3.connect(settings.data_dir / "mlflow.sqlite") as database:
        assert database.execute("select key, value from metrics").fetchall() == [("f1", 0.75)]
        params = dict(database.execute("select key, value from params").fetchall())
        names = [name for (name,) in database.execute("select name from experiments")]
    assert params["architecture"] == "yolov5n" and "cytoloop-1" in names
    assert list((settings.data_dir / "mlflow-files").rglob(FILE_NAME))


def test_a_failing_record_blocks_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert not record_in_child("1-v9-none", settings)
    assert "MLflow did not record 1-v9-none" in caplog.text
