"""What may go from a data folder, and what may not whatever its age."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from safetensors.numpy import save_file

from ml_backend.counting.sample import SampleStore
from ml_backend.dataset.corrections import ShownRegions
from ml_backend.dataset.snapshot import load_snapshot
from ml_backend.label_studio.installation import VERSION
from ml_backend.learners.model_file import FILE_NAME, ModelCard
from ml_backend.registry.resolve import INT8
from ml_backend.registry.versions import Registry, Version
from ml_backend.retraining.retention import FolderInUse, find_superfluous, remove
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects

FIXTURE = Path(__file__).parents[3] / "fixtures" / "data_folder_0_1" / "data"
OLD = time.time() - 40 * 86_400


def age(path: Path, at: float = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(b"x" * 100)
    os.utime(path, (at, at))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder of which everything is old; two of three snapshots trained a version."""
    settings = Settings(data_dir=tmp_path)
    for name in ("versions", "champions", "snapshots"):
        shutil.copytree(FIXTURE / name, tmp_path / name)
    for path in tmp_path.rglob("*"):
        os.utime(path, (OLD, OLD))
    return settings


def paths(settings: Settings) -> set[str]:
    found = find_superfluous(settings)
    return {item.path.relative_to(settings.data_dir).as_posix() for item in found}


def test_what_versions_and_last_trainings_refer_to_stays_whatever_its_age(
    settings: Settings,
) -> None:
    versions = Registry(settings.versions, settings.champions).list_versions()
    trained = {version.snapshot for version in versions if version.snapshot}
    there = {path.stem for path in settings.snapshots.glob("*.json")}
    (unused,) = there - trained
    snapshot = load_snapshot(sorted(trained)[0], settings.snapshots)
    assert snapshot is not None
    listed = age(settings.images / "1" / snapshot.items[0].image)
    age(settings.images / "1" / "999-superseded")
    assert paths(settings) == {f"snapshots/{unused}.json", "images/1/999-superseded"}
    projects = Projects(settings.projects_database)
    projects.connect(Project(1, "http://x", "t", "Cells", "<View/>"))
    projects.record_attempt(1, unused, "not judged")
    assert paths(settings) == {"images/1/999-superseded"}
    remove(find_superfluous(settings), settings)
    assert listed.exists() and {path.stem for path in settings.snapshots.glob("*.json")} == there
    assert Registry(settings.versions, settings.champions).list_versions() == versions


def test_what_is_young_stays(settings: Settings) -> None:
    before = paths(settings)
    age(settings.training / "1-abc" / "weights.safetensors")
    os.utime(settings.training / "1-abc", (OLD, OLD))
    age(settings.training / "2-def" / "weights.safetensors", time.time())
    age(settings.logs / "worker.log.1")
    age(settings.logs / "worker.log")
    assert paths(settings) - before == {"training/1-abc", "logs/worker.log.1"}
    longer = Settings(data_dir=settings.data_dir, keep_days=50)
    assert paths(longer) == set()


def test_earlier_releases_of_label_studio_go_once_the_present_one_is_there(
    settings: Settings,
) -> None:
    before = paths(settings)
    age(settings.studio / "environment-1.0.0" / "bin" / "python", time.time())
    assert paths(settings) == before
    age(settings.studio / f"environment-{VERSION}" / "bin" / "python")
    assert paths(settings) - before == {"label-studio/environment-1.0.0"}


def test_nothing_goes_while_something_runs(settings: Settings) -> None:
    leftover = age(settings.training / "a.json")
    items = find_superfluous(settings)
    with FileLock(settings.data_dir / "worker.lock"), pytest.raises(FolderInUse, match="end it"):
        remove(items, settings)
    assert leftover.exists()
    assert remove(items, settings) >= 100
    assert not leftover.exists() and find_superfluous(settings) == []


def make_candidates(settings: Settings, count: int) -> Registry:
    """A project's versions, oldest first, none of which was promoted."""
    registry = Registry.open(settings)
    weights = settings.data_dir / FILE_NAME
    save_file({"a": np.zeros(9)}, weights, ModelCard("n", ("A",), ("A",), 1, 0.5).to_metadata())
    for number in range(count):
        refused = {"promoted": False, "reasons": ["not better"]}
        registry.add(Version(f"7-v{number}", "7", float(number), decision=refused), [weights])
    return registry


def find_weights(settings: Settings) -> set[str]:
    return {item.version for item in find_superfluous(settings) if item.version}


def test_weights_of_old_candidates_go_and_their_figures_stay(settings: Settings) -> None:
    registry = make_candidates(settings, 5)
    few = settings.model_copy(update={"keep_candidates": 2})
    assert find_weights(settings) == set(), "ten stay by default"
    assert find_weights(few) == {"7-v0", "7-v1", "7-v2"}
    before = registry.list_versions()
    (freed,) = {item.size for item in find_superfluous(few) if item.version}
    assert remove(find_superfluous(few), few) >= 3 * freed > 0
    assert find_weights(few) == set()
    after = Registry.open(few).list_versions()
    assert [replace(version, weights_removed=0.0) for version in after] == before
    assert {version.name for version in after if version.weights_removed} == {
        "7-v0", "7-v1", "7-v2",
    }  # fmt: skip
    # What has no weights does not count among those that are kept.
    assert find_weights(settings.model_copy(update={"keep_candidates": 1})) == {"7-v3"}


def test_weights_that_something_refers_to_stay(settings: Settings) -> None:
    few = settings.model_copy(update={"keep_candidates": 1})
    registry = make_candidates(settings, 10)
    registry.promote("7", "7-v0", by="ann", reason="a champion once")
    registry.promote("7", "7-v9", by="ann", reason="the champion")
    projects = Projects(settings.projects_database)
    projects.keep_shown_regions(7, {1: ShownRegions("7-v1", [])})
    projects.note_rescored(7, "7-v2", "certainty")
    SampleStore(settings.samples_database).keep_claims(7, "7-v3", {1: 2.0})
    registry.record(replace(registry.get("7-v4"), decision={}))  # its job was killed
    registry.record(replace(registry.get("7-v5"), decision={"promoted": True}))
    (registry.get_folder("7-v6") / INT8).mkdir()
    registry.record(replace(registry.get("7-v9"), base="7-v7"))
    assert find_weights(few) == set(), "7-v8 is the newest candidate"
    registry.record(replace(registry.get("7-v9"), base=""))
    assert find_weights(few) == {"7-v7"}
