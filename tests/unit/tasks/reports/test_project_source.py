"""Tasks of a project as the source of a report."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest

from ml_backend.dataset.consensus import collect_submissions
from ml_backend.dataset.snapshot import FetchedImage, to_item
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import LabelingConfig
from tasks.reports.counts import count_objects
from tasks.reports.project_source import ProjectReader

PHASES = LabelingConfig.parse(
    (files("ml_backend.label_studio.configs") / "phases.xml").read_text(encoding="utf-8")
)


def draw_regions(*rows: tuple[float, float, str]) -> list[dict[str, Any]]:
    """Boxes of 20 px, by their upper left corner."""
    drawn = Boxes.from_rows((x, y, x + 20, y + 20, label) for x, y, label in rows)
    matching = PHASES.match_classes(PHASES.values)
    return PHASES.write_regions(drawn, width=120, height=120, matching=matching, version="v1")


def read(task: dict[str, Any], policy: Any) -> ProjectReader:
    return ProjectReader([task], PHASES, {}, version="", title="t", policy=policy)


def test_of_several_annotators_the_policy_decides() -> None:
    """What `cytoloop export` writes and `cytoloop report` counts, of the same annotations."""
    three = [
        draw_regions((10, 10, "Metaphase"), (60, 60, "Anaphase")),
        draw_regions((11, 10, "Metaphase")),
        draw_regions((10, 11, "Metaphase"), (90, 10, "Interphase")),
    ]
    task = {
        "id": 1,
        "data": {"image": "/data/a.png"},
        "annotations": [
            {"id": n, "updated_at": f"2026-01-0{9 - n}", "completed_by": n, "result": result}
            for n, result in enumerate(three)
        ],
    }
    wanted = {"newest": ["Anaphase", "Metaphase"], "majority": ["Metaphase"]}
    wanted["agreement"] = ["Metaphase"]  # the second annotator's
    for policy, labels in wanted.items():
        reader = read(task, policy)
        ((group,), agreed) = reader.read_groups(), reader.agreements
        assert sorted(marked.label for marked in group.objects) == labels
        assert all(group.is_reviewed(marked) for marked in group.objects)
        assert all(marked.confidence is None for marked in group.objects)
        (chosen,) = collect_submissions([task])
        image = FetchedImage("a.png", "hash", (120, 120))
        item = to_item(chosen, PHASES, image, 0.2, policy)  # type: ignore[arg-type]
        assert sorted(row[4] for row in item.boxes) == labels
        assert agreed == [item.agreement] == [pytest.approx((2 / 3 + 2 / 4 + 2 / 3) / 3)]
    # A ground truth counts alone, whatever the policy.
    task["annotations"][0]["ground_truth"] = True  # type: ignore[index]
    assert len(read(task, "majority").read_groups()[0].objects) == 2


def test_only_tasks_with_a_scan_and_a_place_share_coordinates() -> None:
    def make_task(number: int, **data: Any) -> dict[str, Any]:
        prediction = {
            "id": number,
            "model_version": "v",
            "result": draw_regions((5, 5, "Metaphase")),
        }
        image = {"image": f"/data/{number}.png", **data}
        return {"id": number, "data": image, "annotations": [], "predictions": [prediction]}

    tasks = [
        make_task(1, scan="s", x=0, y=0),
        make_task(2, scan="s", x=200, y=0),
        make_task(3, sample="m"),
        make_task(4),
    ]
    reader = ProjectReader(tasks, PHASES, {}, version="v", title="Project", policy="newest")
    groups = {group.scan: group for group in reader.read_groups()}
    assert {scan: len(group.images) for scan, group in groups.items()} == {
        "m": 1,
        "s": 2,
        "Project": 1,
    }
    assert [marked.box[0] for marked in groups["s"].objects] == pytest.approx([5, 205])
    assert reader.addresses[groups["s"].name, 1] == "/data/2.png"
    assert {image.state for group in groups.values() for image in group.images} == {"detected"}


IMAGES = LabelingConfig.parse(
    (files("ml_backend.label_studio.configs") / "images.xml").read_text(encoding="utf-8")
)


def choose(name: str, score: float | None = None) -> list[dict[str, Any]]:
    item = {"from_name": "kind", "to_name": "image", "type": "choices"}
    return [{**item, "value": {"choices": [name]}, **({} if score is None else {"score": score})}]


def test_choices_of_whole_images_count_one_by_one_under_their_scan() -> None:
    place = {"scan": "slide", "x": 0, "y": 0}
    tasks: list[dict[str, Any]] = [
        {"id": 1, "data": {"image": "a.png", **place}, "predictions": [
            {"id": 1, "model_version": "v1", "result": choose("Chromosomes", 0.7)}]},
        {"id": 2, "data": {"image": "b.png", **place}, "annotations": [
            {"id": 2, "updated_at": "2026-01-02", "completed_by": 1, "result": choose("Others")},
            {"id": 3, "updated_at": "2026-01-01", "completed_by": 2,
             "result": choose("Chromosomes")}]},
        {"id": 3, "data": {"image": "c.png", "sample": "s"}},
    ]  # fmt: skip
    reader = ProjectReader(tasks, IMAGES, {}, version="v1", title="t", policy="newest")
    groups = reader.read_groups()
    assert reader.names_images and [(group.scan, len(group.images)) for group in groups] == [
        ("s", 1),
        ("slide", 1),
        ("slide", 1),
    ]
    found = [(m.label, m.confidence, m.whole, m.partial) for g in groups for m in g.objects]
    assert sorted(found, key=str) == [
        ("Chromosomes", 0.7, True, False),
        ("Others", None, True, False),
    ]


SPREADS = LabelingConfig.parse(
    (files("ml_backend.label_studio.configs") / "spreads.xml").read_text(encoding="utf-8")
)


def draw_chromosomes(*rows: tuple[float, str]) -> list[dict[str, Any]]:
    """Chromosomes of 20 px, by their left side, of which something is chosen; "" for nothing."""
    return SPREADS.write_regions(
        Boxes.from_rows((x, 10, x + 20, 30, "Single chromosome") for x, _ in rows),
        width=120,
        height=120,
        matching=SPREADS.match_classes(SPREADS.values),
        version="v1",
        chosen=[{name: 0.9} if name else {} for _, name in rows],
        choice_matching=SPREADS.match_region_choices("ABC"),
    )


@pytest.mark.parametrize("policy", ["newest", "majority"])
def test_a_box_is_counted_as_what_is_chosen_of_it(policy: Any) -> None:
    tasks: list[dict[str, Any]] = [
        {"id": 1, "data": {"image": "a.png"}, "predictions": [
            {"id": 1, "model_version": "v1", "result": draw_chromosomes((10, "A"), (60, ""))}]},
        {"id": 2, "data": {"image": "b.png"}, "annotations": [
            {"id": 2, "updated_at": "2026-01-02", "completed_by": 1,
             "result": draw_chromosomes((10, "C"), (60, ""))},
            {"id": 3, "updated_at": "2026-01-01", "completed_by": 2,
             "result": draw_chromosomes((11, "B"), (60, "B"))}]},
    ]  # fmt: skip
    reader = ProjectReader(tasks, SPREADS, {}, version="v1", title="t", policy=policy)
    groups = reader.read_groups()
    (detected, reviewed) = (count_objects([g], SPREADS.box_names) for g in groups)
    assert {row.label: row.detected for row in detected} == {
        "Single chromosome": 1, "Other": 0, "A": 1, "B": 0, "C": 0,
    }  # fmt: skip
    # Of several annotators the newest who chose anything for the box decides.
    unnamed = int(policy == "newest")
    assert {row.label: row.reviewed for row in reviewed} == {
        "Single chromosome": unnamed, "Other": 0, "A": 0, "B": 1 - unnamed, "C": 1,
    }  # fmt: skip
    assert not reader.skipped
