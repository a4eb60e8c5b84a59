"""The checks of the machine, on this one and on one that lacks something."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend.doctor import machine
from ml_backend.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "not" / "yet" / "there")


def test_one_opencv_is_well_and_two_are_an_error(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finding,) = machine.check_opencv(settings)
    assert finding.severity == "ok" and not finding.mend
    folder = tmp_path / "opencv_python-4.9.0.80.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: opencv-python\nVersion: 4.9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (finding,) = machine.check_opencv(settings)
    assert finding.severity == "error"
    assert "opencv-python 4.9" in finding.seen
    assert "pip uninstall -y opencv-python opencv-python-headless" in finding.mend


def test_openvino_detects_on_this_cpu(settings: Settings) -> None:
    (finding,) = machine.check_openvino(settings)
    assert finding.severity == "ok"


def test_a_full_disk_is_an_error_before_a_training_finds_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    severities = []
    for least, little in ((0, 0), (0, 1 << 62), (1 << 62, 1 << 62)):
        monkeypatch.setattr(machine, "LEAST_FREE", least)
        monkeypatch.setattr(machine, "LITTLE_FREE", little)
        (finding,) = machine.check_disk(settings)
        severities.append(finding.severity)
    assert severities == ["ok", "warning", "error"]
    assert str(settings.images) in finding.mend


def test_a_gpu_is_looked_for(settings: Settings) -> None:
    (finding,) = machine.check_gpu(settings)
    assert finding.severity in ("ok", "warning")
