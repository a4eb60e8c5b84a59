"""Learners are found by kind, and chosen by what a project labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.learners.kinds import (
    OWN,
    UnknownKind,
    choose_learner,
    find_learner,
    list_kinds,
    load_model,
)

IMAGE = '<Image name="i" value="$image"/>'
BOXES = '<RectangleLabels name="l" toName="i"><Label value="Cell"/></RectangleLabels>'


def test_every_kind_of_the_table_is_what_it_is_called() -> None:
    assert set(OWN) <= set(list_kinds())
    assert all(find_learner(kind).kind == kind for kind in OWN)


def test_an_unknown_kind_names_those_that_there_are() -> None:
    with pytest.raises(UnknownKind, match="'none'.*detector"):
        find_learner("none")


def test_rectangles_are_for_the_detector_and_an_image_alone_for_nobody() -> None:
    learner = choose_learner(LabelingConfig.parse(f"<View>{IMAGE}{BOXES}</View>"))
    assert learner is not None and learner.kind == "detector"
    assert choose_learner(LabelingConfig.parse(f"<View>{IMAGE}</View>")) is None


def test_a_folder_without_weights_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="weights.safetensors is missing"):
        load_model(tmp_path)
