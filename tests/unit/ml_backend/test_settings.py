"""Settings: from the environment, checked, and everything that is kept below one folder."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from ml_backend.settings import Settings


def test_a_setting_is_read_from_its_environment_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CYTOLOOP_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CYTOLOOP_RETRAIN_AFTER", "7")
    settings = Settings()
    assert (settings.data_dir, settings.retrain_after) == (tmp_path, 7)
    monkeypatch.setenv("CYTOLOOP_RETRAIN_AFTER", "0")
    with pytest.raises(ValidationError, match="retrain_after"):
        Settings()


def test_all_that_is_kept_lies_below_the_data_folder_at_places_of_its_own(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    places = [
        settings.versions,
        settings.champions,
        settings.snapshots,
        settings.images,
        settings.media,
        settings.training,
        settings.progress,
        settings.logs,
        settings.studio,
        settings.projects_database,
        settings.jobs_database,
    ]
    assert all(tmp_path in place.parents for place in places)
    assert len(set(places)) == len(places)


def test_one_setting_moves_all_databases(tmp_path: Path) -> None:
    url = "postgresql://me:secret@db/cytoloop"  # pragma: allowlist secret
    shared = Settings(data_dir=tmp_path, database_url=url)
    assert {shared.projects_database, shared.samples_database, shared.jobs_database} == {url}
    assert "secret" not in repr(shared)
    assert Settings(data_dir=tmp_path, database_url="").database_url is None
    with pytest.raises(ValidationError, match="postgresql://user@host/name"):
        Settings(data_dir=tmp_path, database_url="mysql://me@db/cytoloop")


def test_runs_are_recorded_in_the_data_folder_unless_a_server_is_given(tmp_path: Path) -> None:
    own = Settings(data_dir=tmp_path).tracking_uri
    assert own.startswith("sqlite:///") and tmp_path.as_posix() in own
    shared = Settings(data_dir=tmp_path, mlflow_tracking_uri="http://mlflow.lab:5000")
    assert shared.tracking_uri == "http://mlflow.lab:5000"
