"""The methods section: every number in it is one of the record, and what is unknown is not said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml_backend.learners.model_file import ModelCard
from ml_backend.registry.versions import Registry, Version
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tasks.reports.methods import (
    Method,
    NothingToDescribe,
    list_software,
    read_method,
    write_methods,
)

FIXTURE = Path(__file__).parents[3] / "fixtures" / "data_folder_0_1" / "data"
NAME = "1-v1-a06e65fe"


@pytest.fixture
def method() -> Method:
    """Of a version that release 0.1.0 trained and judged."""
    record = json.loads((FIXTURE / "versions" / NAME / "version.json").read_text())
    metadata = json.loads((FIXTURE / "versions" / NAME / "weights.metadata.json").read_text())
    manifest = json.loads((FIXTURE / "snapshots" / f"{record['snapshot']}.json").read_text())
    return Method(
        "Root tips",
        Version(**record),
        ModelCard.from_metadata(metadata, FIXTURE),
        manifest["summary"],
        {"cytoloop": "0.1.0", "Label Studio": "1.23.2", **list_software()},
    )


def find_numbers(value: Any) -> set[str]:
    """Every number of a record, as the text may write it."""
    if isinstance(value, Mapping):
        return set().union(*map(find_numbers, value.values()), set())
    if isinstance(value, list | tuple):
        return set().union(*map(find_numbers, value), {str(len(value))})
    if isinstance(value, bool) or not isinstance(value, int | float):
        return set(re.findall(r"[\d.]+", str(value)))
    return {str(value), f"{value:.3f}", f"{value:.2f}", f"{value:.3g}"}


def test_every_number_is_one_of_the_record(method: Method) -> None:
    text = write_methods(method).split("**Software.**")[0]
    known = find_numbers(vars(method.version)) | find_numbers(vars(method.card))
    known |= find_numbers(method.summary) | {str(sum((method.summary or {})["tasks"].values()))}
    # Of the method itself: 95 %, 1000 resamples, IoU 0.5, below 100 images provisional.
    known |= {"95", "1000", "0.5", "100", "50"}
    told = {number.strip(".") for number in re.findall(r"\d+(?:\.\d+)?", text)}
    names = {number for number in told if re.search(rf"[A-Za-z-]{re.escape(number)}", text)}
    assert told - names <= known
    assert method.version.name in text and "F1" in text


def test_figures_have_their_intervals_and_classes_a_row_each(method: Method) -> None:
    text = write_methods(method)
    figures = method.version.figures
    low, high = figures["ap50_interval"]
    assert f"{figures['ap50']:.3f} ({low:.3f} to {high:.3f})" in text
    assert re.search(r"^\| Mitotic cell \| 16 \| ", text, re.M)
    assert "cross-validation in 2 folds" in text and "provisional" in text
    few = {**figures, "ap50": 0.777, "ap50_interval": None}
    text = write_methods(replace(method, version=replace(method.version, figures=few)))
    assert "| 0.777 |" in text


def test_what_is_not_known_is_not_written(method: Method) -> None:
    unjudged = replace(method.version, figures={}, decision={})
    text = write_methods(replace(method, version=unjudged, summary=None))
    assert "has not been judged" in text and "| class |" not in text
    assert "Annotation" not in text


def test_what_a_version_went_on_from_is_named(method: Method) -> None:
    base = replace(method.version, base="starter:mitosis", earlier="")
    assert "the mean of" not in write_methods(replace(method, version=base))
    went_on = replace(method, version=replace(base, earlier="7-v1-abc"))
    text = write_methods(went_on)
    assert "cytoloop, and where more than its head learned from the mean of" in text
    assert "these weights and those of version 7-v1-abc." in text


def test_the_network_that_was_used_is_cited(method: Method) -> None:
    assert "YOLOv5" in write_methods(method) and "EfficientNet" not in write_methods(method)
    card = replace(method.card, architecture="efficientnet_lite0", kind="classifier")
    text = write_methods(replace(method, card=card))
    assert "EfficientNet" in text and "YOLOv5" not in text


def test_a_project_whose_version_was_not_trained_here_is_told(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    Projects(settings.projects_database).connect(Project(1, "http://x", "t", "Cells", "<View/>"))
    with pytest.raises(NothingToDescribe, match="cytoloop train --project 1"):
        read_method(1, settings)
    assert Registry(settings.versions, settings.champions).list_versions() == []
