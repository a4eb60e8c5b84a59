"""The backend's answers without HTTP, with a real detector and a real image file."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.registry.starters import name_starter
from ml_backend.serving.app_state import AppState
from ml_backend.serving.backend import NOTES, Backend, BadLabelingConfig, list_versions
from ml_backend.serving.preannotation import QUEUED
from ml_backend.settings import Settings
from ml_backend.state.projects import NotConnected, Project

MITOSIS = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Mitotic cell"/></RectangleLabels></View>'
)
STARTER = name_starter("starter:mitosis")
TASK: dict[str, Any] = {"id": 5, "data": {"image": "/data/local-files/?d=field.png"}}


@pytest.fixture(scope="module")
def state(starter_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> AppState:
    """Project 1 has the starter as its champion, project 2 has none."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    shutil.copytree(starter_versions, settings.versions)
    settings.media.mkdir()
    pixels, _ = generate_field(np.random.default_rng(3))
    cv2.imwrite(str(settings.media / "field.png"), pixels[..., ::-1])
    state = AppState.open(settings)
    for number in (1, 2):
        state.projects.connect(Project(number, "http://127.0.0.1:9", "token", "Roots", MITOSIS))
    state.registry.promote("1", STARTER, by="test", reason="test")
    return state


def test_one_entry_a_task_in_order_under_one_version(state: AppState) -> None:
    backend = Backend(state, 1)
    backend.setup()
    response = backend.predict([{"id": 4, "data": {}}, TASK], context={"result": []}, login="x")
    left_out, drawn = response.predictions
    assert left_out == []
    assert drawn["result"] and 0 <= drawn["score"] <= 1
    assert drawn["model_version"] == response.model_version == backend.model_version == STARTER
    assert [row["task"] for row in state.projects.list_left_out(1)] == [4]


def test_what_is_not_ready_in_time_is_left_to_the_worker(state: AppState) -> None:
    response = Backend(state, 1).predict([TASK], deadline=time.monotonic() - 1)
    assert response.predictions == [[]]
    (row,) = [row for row in state.projects.list_left_out(1) if row["task"] == TASK["id"]]
    assert row["reason"] == QUEUED
    assert (1, "publish") in [
        (project, note) for project, note, _, _ in state.projects.list_notes()
    ]
    Backend(state, 1).predict([TASK])
    assert TASK["id"] not in [row["task"] for row in state.projects.list_left_out(1)]


def ask(state: AppState, project: int, data: dict[str, Any], **value: Any) -> dict[str, Any]:
    """Click, or draw a loose box, as the editor does."""
    kind = "rectanglelabels" if "width" in value else "keypointlabels"
    item = {"id": "r", "type": kind, "value": {**value, kind: ["Mitotic cell"]}}
    response = Backend(state, project).predict([{"id": 9, "data": data}], {"result": [item]})
    (answer,) = response.predictions
    return answer


def test_a_click_is_answered_with_a_box_and_nothing_is_recorded(state: AppState) -> None:
    left_out = state.projects.list_left_out(1)
    (known,) = Backend(state, 1).predict([TASK]).predictions
    drawn = known["result"][0]["value"]
    x, y = drawn["x"] + drawn["width"] / 2, drawn["y"] + drawn["height"] / 2
    for project in (1, 2):  # 2 has no detector: by contrast
        (region,) = ask(state, project, TASK["data"], x=x, y=y)["result"]
        assert region["value"]["rectanglelabels"] == ["Mitotic cell"]
        fitted = region["value"]
        assert fitted["x"] < x < fitted["x"] + fitted["width"]
        assert fitted["y"] < y < fitted["y"] + fitted["height"]
        assert (region["score"] > 0) == (project == 1)
    box = {key: drawn[key] for key in ("x", "y", "width", "height")}
    (region,) = ask(state, 1, TASK["data"], **box)["result"]
    assert region["value"]["width"] == pytest.approx(drawn["width"], abs=5)
    assert state.projects.list_left_out(1) == left_out


def test_a_blind_task_is_answered_without_the_model(state: AppState) -> None:
    (known,) = Backend(state, 1).predict([TASK]).predictions
    drawn = known["result"][0]["value"]
    x, y = drawn["x"] + drawn["width"] / 2, drawn["y"] + drawn["height"] / 2
    answer = ask(state, 1, {**TASK["data"], "blind": True}, x=x, y=y)
    assert [region["score"] for region in answer["result"]] == [0.0]


@pytest.mark.parametrize(
    "data", [{}, {"image": 3}, {"image": "/data/local-files/?d=gone.png"}, {"image": "file:///x"}]
)
def test_a_click_on_what_cannot_be_seen_is_answered_with_nothing(
    state: AppState, data: dict[str, Any]
) -> None:
    assert ask(state, 1, data, x=50, y=50)["result"] == []
    assert ask(state, 1, TASK["data"], x="left", y=50)["result"] == []


def test_an_untrained_project_is_answered_with_nothing_to_store(state: AppState) -> None:
    backend = Backend(state, 2)
    response = backend.predict([TASK, {}])
    assert response.predictions == [[], []] and response.model_version is None
    assert backend.model_version == "2-untrained"


def test_a_labeling_config_that_cannot_be_used_is_not_kept(state: AppState) -> None:
    with pytest.raises(BadLabelingConfig):
        Backend(state, 1, "<View>").setup()
    assert state.projects.get(1).label_config == MITOSIS
    other = MITOSIS.replace("Mitotic cell", "Stoma")
    backend = Backend(state, 1, other)
    backend.setup()
    assert state.projects.get(1).label_config == other and backend.model_version == "1-untrained"
    Backend(state, 1, MITOSIS).setup()
    assert Backend(state, 1).model_version == STARTER


@pytest.mark.parametrize("event", NOTES)
def test_an_event_leaves_its_note(state: AppState, event: str) -> None:
    before = time.time()
    assert Backend(state, 2).fit(event, {"project": {"id": 2}}) is True
    notes = {note: last for project, note, _, last in state.projects.list_notes() if project == 2}
    assert all(notes[note] >= before for note in NOTES[event])


def test_an_unknown_event_leaves_nothing(state: AppState) -> None:
    before = state.projects.list_notes()
    assert Backend(state, 1).fit("MOON_IS_FULL", {}) is False
    assert state.projects.list_notes() == before


def test_only_connected_projects_are_answered(state: AppState) -> None:
    with pytest.raises(NotConnected, match="cytoloop connect"):
        Backend(state, 77)


def test_every_version_that_a_project_may_show_is_listed(state: AppState) -> None:
    assert list_versions(state) == [STARTER, "1-untrained", "2-untrained"]
