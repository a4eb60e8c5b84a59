"""After a promotion: edits that rise roll the champion back, and what they say is recorded."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest

from ml_backend.dataset.corrections import find_shown_regions
from ml_backend.promotion.rollback import RollbackWatch
from ml_backend.promotion.rollback_test import Verdict
from ml_backend.registry.versions import Registry, UnknownVersion, Version
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tests.unit.ml_backend.dataset.test_corrections import LABELS, region
from tests.unit.ml_backend.registry.test_versions import weights

CONFIG = (
    Path(__file__).parents[4] / "ml_backend" / "label_studio" / "configs" / "mitosis.xml"
).read_text()


class Lab:
    """A project with two versions, the second on trial, and tasks annotated from each."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(data_dir=folder)
        self.projects = Projects(settings.projects_database)
        self.registry = Registry(settings.versions, settings.champions)
        self.project = Project(1, "http://studio", "token", "Watched", CONFIG)
        self.projects.connect(self.project)
        for name in ("v1", "v2"):
            self.registry.add(Version(name, "1", 1.0), [weights(folder)])
            self.registry.promote("1", name, by="cytoloop", reason="better")
        self.tasks: list[dict[str, Any]] = []

    def annotate(self, version: str, tasks: int, edits: int) -> None:
        for number in range(len(self.tasks) + 1, len(self.tasks) + tasks + 1):
            shown = [region("cell", 10, 10)]
            drawn = copy.deepcopy(shown)
            drawn += [region(f"new{i}", 10 * i, 50, origin="manual") for i in range(edits)]
            task = {
                "id": number,
                "data": {"image": f"/{number}.png"},
                "predictions": [{"id": number, "model_version": version, "result": shown}],
                "annotations": [{"id": number, "parent_prediction": number, "result": drawn}],
            }
            self.projects.keep_shown_regions(1, find_shown_regions(task))
            self.tasks.append(task)

    def watch(self) -> Verdict | None:
        return RollbackWatch(self.projects, self.registry).watch(self.project, self.tasks)


def test_edits_that_rise_roll_the_champion_back_once_and_for_the_record(tmp_path: Path) -> None:
    assert LABELS.values  # the regions of this test are those of the mitosis labels
    lab = Lab(tmp_path)
    lab.annotate("v1", 20, edits=1)
    lab.annotate("v2", 19, edits=4)
    assert lab.watch() is None and lab.registry.get_champion("1") == "v2"
    lab.annotate("v2", 1, edits=4)
    found = lab.watch()
    assert found is not None and found.worse
    assert lab.registry.get_champion("1") == "v1"
    last = lab.registry.list_changes("1")[-1]
    assert (last.kind, last.by, last.previous) == ("rollback", "cytoloop", "v2")
    assert "4.00 edits a task" in last.reason
    assert (1, "publish") in {note[:2] for note in lab.projects.list_notes()}
    # The version keeps what was found of it.
    figures = lab.registry.get("v2").figures
    assert figures["watch"]["worse"] and figures["watch"]["said"] == found.reason
    assert figures["usefulness"]["1"]["edits_per_image"] == 4
    assert lab.registry.get("v1").figures["usefulness"]["1"]["tasks"] == 20
    # Looked at again, nothing more happens; a person may insist.
    assert lab.watch() is None
    lab.registry.promote("1", "v2", by="ana", reason="promoted by hand")
    assert lab.watch() is None and lab.registry.get_champion("1") == "v2"


def test_edits_that_stay_confirm_the_champion(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.annotate("v1", 10, edits=2)
    lab.annotate("v2", 20, edits=1)
    found = lab.watch()
    assert found is not None and not found.worse
    assert lab.registry.get_champion("1") == "v2" and len(lab.registry.list_changes("1")) == 2
    lab.annotate("v2", 30, edits=9)
    assert lab.watch() is None and lab.registry.get_champion("1") == "v2"


def test_where_there_is_nothing_to_go_back_to_it_stays_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Lab(tmp_path)
    lab.annotate("v1", 10, edits=0)
    lab.annotate("v2", 20, edits=3)
    shutil.rmtree(lab.registry.get_folder("v1"))
    found = lab.watch()
    assert found is not None and found.worse and lab.watch() is None
    assert lab.registry.get_champion("1") == "v2"
    assert "not rolled back, because there is no version 'v1'" in caplog.text


def test_a_champion_that_changed_meanwhile_is_not_rolled_back(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    with pytest.raises(UnknownVersion, match="v1 is not the champion"):
        lab.registry.roll_back("1", by="cytoloop", reason="worse", of="v1")
    assert lab.registry.get_champion("1") == "v2"
