"""A project whose annotators err: a tenth of the classes swapped, in images of real samples."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.dataset.snapshot import Item, Snapshot, build_snapshot
from ml_backend.demo.synthetic_images import generate_field
from ml_backend.evaluation.metrics import evaluate
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.learners.detector.hyperparameters import RECIPE
from ml_backend.learners.detector.inference import Detector
from ml_backend.promotion.predict_examples import predict_examples
from ml_backend.registry.versions import Registry
from ml_backend.retraining.pipeline import Pipeline
from ml_backend.retraining.train_version import Wishes
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.plain_files import hash_file
from tests.conftest import SHARED_DATA

LABELS = ("Mitotic cell", "Other")
SHARE = 0.1
HELD = ("Os", "Asa", "Ta")  # the starter never saw them


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Labelled images of four samples; generated ones where there are no real ones."""
    real = SHARED_DATA / "plant_mitosis"
    if real.is_dir():
        return [
            replace(
                example,
                boxes=replace(example.boxes, label=list(map(canonicalize, example.boxes.label))),
            )
            for example in read_folder(real).examples
            if example.boxes is not None and example.group in (*HELD, "Ns")
        ]
    folder = tmp_path_factory.mktemp("fields")
    made = []
    for seed in range(12):
        pixels, boxes = generate_field(np.random.default_rng(seed))
        cv2.imwrite(str(folder / f"{seed}.png"), pixels[..., ::-1])
        made.append(Example(folder / f"{seed}.png", (*HELD, "Ns")[seed % 4], boxes))
    return made


def swapped(boxes: Boxes, rng: np.random.Generator) -> Boxes:
    """A tenth of the boxes, at random, under the other label."""
    wrong = rng.random(len(boxes)) < SHARE
    other = np.where(boxes.label == LABELS[0], LABELS[1], LABELS[0])
    return replace(boxes, label=np.where(wrong, other, boxes.label))


def project(examples: Iterable[Example], images: Path) -> Snapshot:
    """A snapshot with errors on both sides; only the training side's images are there."""
    rng = np.random.default_rng(0)
    items = []
    for number, example in enumerate(examples, start=1):
        held = example.group in HELD
        if not held:
            images.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(example.image, images / str(number))
        boxes = swapped(example.boxes or Boxes(), rng)
        items.append(
            Item(
                task=number,
                annotation=number,
                updated="2026-01-01",
                image=str(number),
                image_hash=hash_file(example.image),
                group=f"sample:{example.group}",
                split="holdout" if held else "train",
                sampling_p=1.0,
                sampling_reason="",
                boxes=tuple(row[:5] for row in boxes.to_rows()),
            )
        )
    return build_snapshot(1, LABELS, items, [])


def f1(detector: Detector, found: tuple[Sequence[Example], Sequence[Boxes]]) -> float:
    figures = evaluate(
        found[0], found[1], threshold=detector.card.threshold, headline=detector.card.headline
    )
    assert figures.f1.value is not None
    return figures.f1.value


@pytest.mark.timeout(900)
def test_figures_stay_honest_where_labels_are_wrong(
    examples: list[Example], starter_versions: Path, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path)
    shutil.copytree(starter_versions, settings.versions)
    projects = Projects(settings.projects_database)
    registry = Registry(settings.versions, settings.champions)
    config = (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")
    projects.connect(Project(1, "http://studio", "token", "Errors", config))
    snapshot = project(examples, settings.images / "1")

    version = Pipeline(settings, projects, registry).train(snapshot, Wishes(epochs=1, imgsz=256))

    # The hold-out chose nothing: its images were not even there, and the threshold is the
    # recipe's.
    held = snapshot.select_side("holdout")
    assert held and not {item.image_hash for item in held} & set(version.seen_hashes)
    assert not {item.group for item in held} & set(version.seen_groups)
    card = registry.read_card(version.name)
    assert card.threshold == RECIPE.threshold and set(card.classes) == set(LABELS)

    # Judged by a truth with errors, a detector does not look better than it is, and no
    # worse than the errors explain.
    clean = [example for example in examples if example.group in HELD]
    rng = np.random.default_rng(1)
    (starter,) = (
        version.name for version in registry.list_versions() if version.project == "starter"
    )
    for name in (starter, version.name):
        detector = Detector.load(registry.get_folder(name))
        kept, answers, unread = predict_examples(detector, clean)
        boxes = [answer.boxes for answer in answers]
        assert not unread and len(kept) == len(clean)
        true = f1(detector, (kept, boxes))
        told = [
            f1(
                detector,
                ([replace(o, boxes=swapped(o.boxes or Boxes(), rng)) for o in kept], boxes),
            )
            for _ in range(6)
        ]
        assert np.mean(told) <= true + 0.01
        assert np.mean(told) >= true * (1 - 4 * SHARE)
