"""The images of a project, which exchange tests export and import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ml_backend.label_studio.image_source import ImageSource
from tasks.exchange.annotation_files import TaskImages
from tests.labelled import LABELS, SIZES


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    for number, size in enumerate(SIZES.values()):
        Image.new("L", size, 30).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def images(media: Path) -> TaskImages:
    """Of a project whose tasks show them."""
    tasks: dict[int, dict[str, Any]] = {
        number: {"data": {"image": f"/data/local-files/?d={number}.png", "source": name}}
        for number, name in enumerate(SIZES)
    }
    source = ImageSource("http://127.0.0.1:1", "none", media=media)
    return TaskImages(tasks, LABELS, source, media / "kept")
