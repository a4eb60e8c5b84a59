"""Snapshots and their images, on the machine that took them and on another."""

from __future__ import annotations

import secrets
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.label_studio.client import Studio
from ml_backend.registry.versions import Registry
from ml_backend.retraining.collect import Collector, open_collector
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tests.crashing.rounds import CONFIG
from tests.crashing.studio import StandIn
from tests.s3 import make_bucket

IMAGES = ("1.png", "2.png")


def open_machine(folder: Path, media: Path, store: str | None, project: Project) -> Collector:
    """A data folder of its own that reads the same images."""
    folder.mkdir()
    (folder / "media").symlink_to(media)
    settings = Settings(data_dir=folder, store_url=store)
    projects = Projects(settings.projects_database)
    projects.connect(project)
    return open_collector(settings, projects, Registry.open(settings))


def test_another_machine_gets_a_snapshot_with_its_images(tmp_path: Path, s3: str) -> None:
    bucket = f"b{secrets.token_hex(4)}"
    make_bucket(s3, bucket)
    media = tmp_path / "media"
    media.mkdir()
    for shade, name in enumerate(IMAGES):
        cv2.imwrite(str(media / name), np.full((32, 48, 3), 50 * shade, np.uint8))
    with StandIn() as stand_in:
        studio = Studio(stand_in.url, stand_in.token)
        number = studio.create_project("Shared", CONFIG).id
        tasks = studio.import_tasks(
            number, [{"data": {"image": f"/data/local-files/?d={name}"}} for name in IMAGES]
        )
        for task in tasks:
            studio.submit_annotation(task, [])
        project = Project(number, stand_in.url, stand_in.token, "Shared", CONFIG)
        first, second = (
            open_machine(tmp_path / name, media, f"s3://{bucket}/lab", project) for name in "ab"
        )
        taken = first.take_snapshot(number)
        assert second.load_snapshot(taken.name) == taken and len(taken.items) == 2
        for item in taken.items:
            here, there = (tmp_path / name / "images" / str(number) / item.image for name in "ab")
            assert here.read_bytes() == there.read_bytes()
        # Images may be removed at any time, here too.
        (tmp_path / "a" / "images" / str(number) / taken.items[0].image).unlink()
        assert first.load_snapshot(taken.name) == taken
        assert (tmp_path / "a" / "images" / str(number) / taken.items[0].image).exists()
    with pytest.raises(LookupError, match="there is no snapshot"):
        second.load_snapshot("never")
