"""A promotion on trial: edits that rise roll it back, noise hardly ever does."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test

from ml_backend.dataset.corrections import Correction, Edit
from ml_backend.promotion import rollback_test
from ml_backend.promotion.rollback import Aftermath
from ml_backend.registry.versions import ChampionChange, Registry, Version
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tests.unit.ml_backend.dataset.test_corrections import LABELS, region
from tests.unit.ml_backend.registry.test_versions import weights

CONFIG = (
    Path(__file__).parents[4] / "ml_backend" / "label_studio" / "configs" / "mitosis.xml"
).read_text()
PROMOTION = ChampionChange("v2", "v1", "promotion", 1.0, "cytoloop", "better")


def corrections(version: str, counts: list[int], first: int) -> list[Correction]:
    kept = Edit("kept", "Mitotic cell", 1.0)
    return [
        Correction(first + i, first + i, version, 1.0, (kept, *[Edit("added", "Other")] * count))
        for i, count in enumerate(counts)
    ]


def verdict(before: list[int], after: list[int]) -> rollback_test.Verdict | None:
    made = [*corrections("v1", before, 1), *corrections("v2", after, 1000)]
    return rollback_test.judge(PROMOTION, reversed(made))


def test_a_clear_rise_is_worse_and_says_by_how_much() -> None:
    found = verdict([1, 2, 0, 1] * 5, [4, 3, 5, 4] * 5)
    assert found is not None and found.worse
    assert "4.00 edits a task in the first 20 tasks of v2, 1.00 in the last 20 of v1" in found.said


def test_the_same_or_fewer_edits_are_not() -> None:
    for after in ([1, 2, 0, 1] * 5, [0] * 20, [1, 2, 1, 1] * 5):
        found = verdict([1, 2, 0, 1] * 5, after)
        assert found is not None and not found.worse


def test_too_few_tasks_are_no_verdict() -> None:
    assert verdict([1] * 30, [9] * 19) is None
    assert verdict([1] * 4, [9] * 30) is None


def test_what_comes_after_the_first_tasks_changes_nothing() -> None:
    assert verdict([1] * 20, [0] * 20 + [9] * 30) == verdict([1] * 20, [0] * 20)


def test_several_annotators_of_a_task_are_one_task() -> None:
    twice = [*corrections("v2", [8] * 10, 1000), *corrections("v2", [0] * 10, 1000)]
    twice = [Correction(c.task, i, c.version, 1.0, c.edits) for i, c in enumerate(twice, 1000)]
    assert rollback_test.judge(PROMOTION, [*corrections("v1", [1] * 20, 1), *twice]) is None


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=5, max_size=30),
    st.lists(st.integers(0, 8), min_size=20, max_size=20),
)
def test_the_chance_is_that_of_a_permutation_test(before: list[int], after: list[int]) -> None:
    expected = permutation_test(
        (after, before),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        alternative="greater",
        n_resamples=4000,
        vectorized=True,
        rng=np.random.default_rng(1),
    ).pvalue
    assert rollback_test.rose(before, after) == pytest.approx(expected, abs=0.04)
    assert rollback_test.rose(before, after) == rollback_test.rose(before, after)


def test_noise_alone_rarely_rolls_back() -> None:
    rng = np.random.default_rng(0)
    worse = 0
    for _ in range(200):
        counts = rng.poisson(rng.gamma(1.0, 2.0, 60)).tolist()
        found = verdict(counts[:40], counts[40:])
        worse += found is not None and found.worse
    assert worse <= 10


def change(
    version: str, previous: str, kind: Any = "promotion", by: str = "cytoloop"
) -> ChampionChange:
    return ChampionChange(version, previous, kind, 1.0, by, "")


def test_what_is_watched() -> None:
    first, second = change("v1", ""), change("v2", "v1")
    assert rollback_test.watched([]) is None and rollback_test.watched([first]) is None
    assert rollback_test.watched([first, second]) == second
    by_hand = change("v1", "v2", "rollback", "ana")
    assert rollback_test.watched([first, second, by_hand]) is None
    again = change("v2", "v1", by="ana")
    assert rollback_test.watched([first, second, by_hand, again]) == again
    # What was rolled back by itself and then wanted all the same is left in peace.
    by_itself = change("v1", "v2", "rollback")
    assert rollback_test.watched([first, second, by_itself, again]) is None
    assert rollback_test.found_worse([first, second, by_itself]) == {"v2"}
    assert rollback_test.found_worse([first, second, by_hand]) == set()


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
        from ml_backend.dataset.corrections import started_from

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
            self.projects.keep_shown(1, started_from(task))
            self.tasks.append(task)

    def watch(self) -> rollback_test.Verdict | None:
        return Aftermath(self.projects, self.registry).watch(self.project, self.tasks)


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
    assert (1, "publish") in {note[:2] for note in lab.projects.notes()}
    # The version keeps what was found of it.
    figures = lab.registry.get("v2").figures
    assert figures["watch"]["worse"] and figures["watch"]["said"] == found.said
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
    from ml_backend.registry.versions import UnknownVersion

    lab = Lab(tmp_path)
    with pytest.raises(UnknownVersion, match="v1 is not the champion"):
        lab.registry.roll_back("1", by="cytoloop", reason="worse", of="v1")
    assert lab.registry.get_champion("1") == "v2"
