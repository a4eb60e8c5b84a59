"""What a labelled folder teaches, and what a model is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.registry.versions import Registry
from ml_backend.retraining.labelled_folder import (
    OtherTask,
    choose_box_label,
    evaluate_folder,
    split_classes,
    train_folder,
)
from ml_backend.retraining.train_version import NothingToLearn, Wishes
from ml_backend.settings import Settings
from tests.regions import CLASSES, paint


def write_coco(folder: Path, images: int) -> Path:
    """Discs and crosses with their boxes, as COCO; every two images are of one sample."""
    folder.mkdir()
    content: dict[str, list[dict[str, object]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
    }
    samples = ["image,sample"]
    for number in range(images):
        example = paint(folder / f"{number}.png", number)
        assert example.boxes is not None
        content["images"].append(
            {"id": number, "file_name": f"{number}.png", "width": 320, "height": 100}
        )
        content["annotations"] += [
            {
                "id": len(content["annotations"]) + place,
                "image_id": number,
                "category_id": CLASSES.index(name),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
            }
            for place, (x1, y1, x2, y2, name, _) in enumerate(example.boxes.to_rows())
        ]
        samples.append(f"{number}.png,s{number // 2}")
    (folder / "coco.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "image_labels.csv").write_text("\n".join(samples), encoding="utf-8")
    return folder


def test_boxes_with_classes_teach_and_judge_a_classifier_of_regions(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "regions", 16)
    settings = Settings(data_dir=tmp_path / "data")
    registry = Registry(settings.versions, settings.champions)
    version, unread = train_folder(settings, registry, folder, task="classify-region")
    assert version.kind == "region_classifier" and not unread
    assert version.seen_groups == tuple(sorted(f"s{number}" for number in range(8)))
    figures, _ = evaluate_folder(
        registry, folder, version.name, lambda done, total: None, "classify-region"
    )
    assert (figures["images"], figures["items"], figures["groups"]) == (16, 96, 8)
    assert figures["trained_on"] == 16 and figures["balanced_accuracy"] > 0.9
    for name in ("accuracy", "balanced_accuracy", "f1", "calibration_error"):
        low, high = figures[f"{name}_interval"]  # there are eight groups
        assert low <= figures[name] <= high
    assert set(figures["confusion"]) == set(figures["classes"]) == set(CLASSES)
    with pytest.raises(OtherTask, match="--task classify-region"):
        evaluate_folder(registry, folder, version.name, lambda *_: None, "detect")


def test_a_detector_finds_what_a_classifier_tells_apart(tmp_path: Path) -> None:
    """Boxes with classes teach both: the one finds objects, the other says of which class."""
    folder = write_coco(tmp_path / "regions", 8)
    settings = Settings(data_dir=tmp_path / "data")
    registry = Registry(settings.versions, settings.champions)
    task, wishes = "detect-and-classify", Wishes(epochs=1, imgsz=160)
    version, unread = train_folder(settings, registry, folder, wishes, task=task)
    assert version.kind == "detector_classifier" and not unread
    figures, _ = evaluate_folder(registry, folder, version.name, lambda done, total: None)
    assert figures["headline"] == ["Object"] and figures["trained_on"] == 8
    assert set(figures["region_choices"]["classes"]) <= set(CLASSES)
    assert 0 <= figures["f1_with_choice"] <= figures["f1"] <= 1
    with pytest.raises(OtherTask, match="--task detect-and-classify"):
        evaluate_folder(registry, folder, version.name, lambda *_: None, "detect")


@pytest.mark.parametrize(
    ("classes", "label"),
    [
        (("A", "C"), "Single chromosome"),
        (("metaphases", "Anaphase"), "Mitotic cell"),
        (("A", "Anaphase"), "Object"),
    ],
)
def test_boxes_are_called_as_ready_labels_with_these_choices_call_them(
    classes: tuple[str, ...], label: str
) -> None:
    assert choose_box_label(classes) == label


def test_a_class_alone_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "regions", 2)
    text = (folder / "coco.json").read_text(encoding="utf-8").replace('"Disc"', '"Other"')
    (folder / "coco.json").write_text(text, encoding="utf-8")
    settings = Settings(data_dir=tmp_path / "data")
    registry = Registry(settings.versions, settings.champions)
    with pytest.raises(NothingToLearn, match="no two classes of boxes"):
        train_folder(settings, registry, folder, task="detect-and-classify")


@given(st.lists(st.sampled_from(["A", "b", "Other", "Cell"]), max_size=6))
def test_classes_become_choices_and_nothing_else_changes(names: list[str]) -> None:
    boxes = Boxes.from_rows((i, 0.0, i + 5.0, 5.0, name) for i, name in enumerate(names))
    split = split_classes(Example(Path("a"), "g", boxes), ("A", "B"), "Thing")
    assert split.boxes is not None and (split.boxes.xyxy == boxes.xyxy).all()
    rows = zip(names, split.boxes.label.tolist(), split.region_choices, strict=True)
    for name, label, chosen in rows:
        apart = name in ("A", "b")
        assert (label, chosen) == (("Thing", (name.upper(),)) if apart else (name, ()))


def test_a_folder_without_boxes_teaches_no_regions(tmp_path: Path) -> None:
    for name in ("A", "B"):
        (tmp_path / "images" / name).mkdir(parents=True)
        paint(tmp_path / "images" / name / "1.png", 0)
    settings = Settings(data_dir=tmp_path / "data")
    registry = Registry(settings.versions, settings.champions)
    with pytest.raises(NothingToLearn, match="no box with a class"):
        train_folder(settings, registry, tmp_path / "images", task="classify-region")
