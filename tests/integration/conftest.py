"""What several integration tests start from."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings


@pytest.fixture
def registry(tmp_path: Path, starter_versions: Path) -> Registry:
    """The starter, and the same once more as the next version of a project."""
    settings = Settings(data_dir=tmp_path)
    shutil.copytree(starter_versions, settings.versions)
    registry = Registry(settings.versions, settings.champions)
    (starter,) = registry.list_versions()
    files = [path for path in registry.get_folder(starter.name).iterdir() if path.suffix != ".json"]
    registry.add(replace(starter, name="next-v1", created=1.0), files)
    return registry
