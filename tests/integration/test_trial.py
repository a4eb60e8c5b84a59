"""Trials with real trainings: shuffled labels are refused, right ones win, and a rollback
draws exactly what was drawn before."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml_backend.dataset import snapshot as snapshots
from ml_backend.dataset.snapshot import Item, Snapshot
from ml_backend.demo.synthetic_images import generate_field
from ml_backend.registry.versions import Registry, UnknownVersion
from ml_backend.retraining.pipeline import Pipeline
from ml_backend.retraining.train_version import Wishes
from ml_backend.serving.model_cache import ModelCache
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects

CONFIG = (
    Path(__file__).parents[2] / "ml_backend" / "label_studio" / "configs" / "mitosis.xml"
).read_text("utf-8")
TRAINED, HELD = 4, 8
PROJECT = 1


@pytest.fixture(scope="module")
def pipeline(
    starter_versions: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """A project with the starter as its champion; nothing here asks its Label Studio."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("trial"))
    shutil.copytree(starter_versions, settings.versions)
    projects = Projects(settings.projects_database)
    registry = Registry(settings.versions, settings.champions)
    pipeline = Pipeline(settings, projects, registry)
    pipeline.projects.connect(Project(PROJECT, "http://127.0.0.1:1", "", "Trial", CONFIG))
    (starter,) = pipeline.registry.list_versions()
    pipeline.registry.promote(str(PROJECT), starter.name, by="test", reason="start")
    yield pipeline


@pytest.fixture(scope="module")
def items(pipeline: Pipeline) -> list[Item]:
    """Corrected tasks, each a file of its own: those of the training side first."""
    folder = pipeline.settings.images / str(PROJECT)
    folder.mkdir(parents=True)
    made = []
    for number in range(TRAINED + HELD):
        pixels, boxes = generate_field(np.random.default_rng(number), size=(640, 480))
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), pixels[..., ::-1])
        made.append(
            Item(
                task=number,
                annotation=number,
                updated="",
                image=path.name,
                image_hash=hashlib.sha256(path.read_bytes()).hexdigest(),
                group=f"file:{number}.png",
                split="train" if number < TRAINED else "holdout",
                sampling_p=None,
                sampling_reason="",
                boxes=tuple((*row[:4], row[4]) for row in boxes.to_rows()),
                blind=number % 4 == 0,
            )
        )
    return made


def snapshot(pipeline: Pipeline, items: Sequence[Item]) -> Snapshot:
    taken = snapshots.build_snapshot(PROJECT, ("Mitotic cell", "Other"), items, ())
    snapshots.save_snapshot(taken, pipeline.settings.snapshots)
    return taken


def drawn(pipeline: Pipeline) -> bytes:
    """What the champion draws in the held-out tasks, as Label Studio would be sent it."""
    serving = ModelCache(pipeline.settings, pipeline.registry)
    preannotator = serving.get_preannotator(pipeline.projects.get(PROJECT))
    assert preannotator is not None
    folder = pipeline.settings.images / str(PROJECT)

    def fetch(addresses: Sequence[str], deadline: float | None) -> Iterator[tuple[int, bytes]]:
        for position, address in enumerate(addresses):
            yield position, (folder / address).read_bytes()

    tasks = [{"data": {"image": f"{number}.png"}} for number in range(TRAINED, TRAINED + HELD)]
    outcomes: dict[int, Any] = dict(preannotator.preannotate(tasks, fetch))
    return json.dumps([outcomes[i].to_json() for i in range(HELD)]).encode()


@pytest.mark.timeout(600)
def test_worse_is_refused_better_is_promoted_and_rolled_back(
    pipeline: Pipeline, items: list[Item]
) -> None:
    registry = pipeline.registry
    starter = registry.get_champion(str(PROJECT))

    # The boxes of every training image lie in another one.
    shuffled = [
        replace(item, boxes=items[(place + 1) % TRAINED].boxes) if place < TRAINED else item
        for place, item in enumerate(items)
    ]
    wrong = snapshot(pipeline, shuffled)
    wishes = Wishes(base="starter:mitosis", epochs=25, imgsz=256)
    worse = pipeline.train(wrong, wishes)
    decision = pipeline.try_out(worse, wrong, wishes)
    assert not decision.promoted
    assert decision.reasons[0].startswith("not better: F1 of")
    assert decision.difference is not None and decision.difference < -0.1
    assert decision.provisional and decision.tasks == HELD
    kept = registry.get(worse.name)
    assert kept.decision["reasons"] == list(decision.reasons)
    assert kept.decision["champion"] == starter
    assert kept.figures["f1"] < kept.decision["champion_f1"]
    apart = kept.decision["apart"]
    assert {kind: figures["tasks"] for kind, figures in apart.items()} == {
        "held_out": HELD,
        "blind": 2,
        "pre_annotated": 6,
    }
    assert apart["held_out"]["f1"] == kept.figures["f1"]
    assert apart["held_out"]["champion_f1"] == kept.decision["champion_f1"]

    # Chosen by hand all the same: what it saw does not count any more.
    pipeline.promote(worse.name, PROJECT, ["by hand"], by="ann")
    before = drawn(pipeline)
    right = snapshot(pipeline, items)
    wishes = replace(wishes, epochs=1)
    better = pipeline.train(right, wishes)
    decision = pipeline.try_out(better, right, wishes)
    assert decision.promoted and decision.reasons[0].startswith("better: F1 of")
    assert set(registry.get(better.name).decision["judged"]) == set(range(TRAINED, TRAINED + HELD))
    pipeline.promote(better.name, PROJECT, decision.reasons, by="cytoloop")
    assert drawn(pipeline) != before

    registry.roll_back(str(PROJECT), by="ann", reason="to see the old boxes")
    assert drawn(pipeline) == before
    last = registry.list_changes(str(PROJECT))[-1]
    assert (last.kind, last.by, last.version) == ("rollback", "ann", worse.name)

    # What was trained on a snapshot is there, unless something else is asked for: then a training
    # begins, which here has nothing to start from.
    weights = [
        path for path in registry.get_folder(better.name).iterdir() if path.suffix != ".json"
    ]
    lost = registry.add(replace(better, name="lost", base="starter:lost"), weights)
    asked = Wishes(base=lost.base)
    assert pipeline.train(right, asked).name == lost.name
    with pytest.raises(UnknownVersion, match="starter:lost"):
        pipeline.train(right, replace(asked, epochs=2))
