"""What several tests of learners start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.kinds import find_learner
from ml_backend.learners.model_file import REGION_CLASSIFIER
from ml_backend.learners.training_job import TrainingJob
from tests.regions import CLASSES, paint


@pytest.fixture(scope="session")
def discs_and_crosses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What learned eight images, in four groups; one more is no image, one has no box."""
    folder = tmp_path_factory.mktemp("regions")
    examples = [paint(folder / f"{i}.png", i, f"g{i % 4}") for i in range(8)]
    broken = replace(examples[0], image=folder / "broken.png")
    broken.image.write_bytes(b"no image")
    empty = replace(examples[0], boxes=Boxes())
    told: list[dict[str, object]] = []
    job = TrainingJob(
        [*examples, broken, empty], CLASSES, CLASSES, None, folder / "out", kind=REGION_CLASSIFIER
    )
    find_learner(REGION_CLASSIFIER).train(job, told.append)
    assert [step["skipped"] for step in told if "skipped" in step] == [str(broken.image)]
    return folder / "out"
