"""What a start of `cytoloop up` makes of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend.settings import Settings
from tasks.launcher.up import DEMO_RETRAIN_AFTER, UpOptions, settle_settings


def test_the_demo_trains_sooner_unless_a_setting_says_when(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CYTOLOOP_RETRAIN_AFTER", raising=False)
    plain, demo = UpOptions(), UpOptions(demo=True)
    settings = Settings(data_dir=tmp_path)
    assert settle_settings(demo, settings).retrain_after == DEMO_RETRAIN_AFTER
    assert settle_settings(plain, settings) is settings
    monkeypatch.setenv("CYTOLOOP_RETRAIN_AFTER", "7")
    assert settle_settings(demo, Settings(data_dir=tmp_path)).retrain_after == 7
