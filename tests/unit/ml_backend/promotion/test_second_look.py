"""Findings are kept with a version, and hold while nobody changes the annotation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.dataset.example import Example
from ml_backend.dataset.snapshot import Item
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.base import Prediction
from ml_backend.promotion.second_look import (
    Finding,
    find_doubtful,
    keep_findings,
    list_findings,
    read_findings,
)
from ml_backend.registry.versions import Registry, Version

CELL, OTHER = (10.0, 10.0, 40.0, 40.0, "Cell"), (60.0, 60.0, 90.0, 90.0, "Cell")


def make_item(task: int, updated: str = "monday") -> Item:
    return Item(task, task, updated, f"{task}.png", f"h{task}", "g", "train", None, "", (CELL,))


def answer(task: int, *seen: tuple[float, float, float, float, str]) -> tuple:
    item = make_item(task)
    made = Prediction((100, 100), Boxes.from_rows(seen))
    return item, Example(Path(item.image), "g", Boxes.from_rows([CELL])), made


def test_the_likeliest_error_comes_first_and_the_confirmed_ones_not_at_all() -> None:
    answers = [answer(1, CELL), answer(2, CELL, OTHER), answer(3, (14, 10, 44, 40, "Cell"))]
    findings = list_findings(answers, 0.5)
    assert [(finding.task, finding.issue.kind) for finding in findings][0] == (2, "overlooked")
    assert 1 not in {finding.task for finding in findings}
    assert all(Finding.from_json(finding.to_json()) == finding for finding in findings)
    assert len({finding.key for finding in findings}) == len(findings)


def test_whole_images_are_doubted_by_their_choices() -> None:
    examples = [Example(Path(f"{n}.png"), "g", Boxes(), choices=("x",)) for n in range(2)]
    made = [Prediction((9, 9), choices={"x": p, "y": 1 - p}) for p in (0.8, 0.2)]
    ((place, issue),) = find_doubtful(zip(examples, made, strict=True), 0.5)
    assert place == 1 and issue.kind == "other choice"


def test_what_stands_out_needs_no_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    answers = []
    for number in range(20):
        name, radius = ("large", 20) if number % 2 else ("small", 8)
        pixels = rng.normal(20, 3, (60, 60)).clip(0, 255).astype(np.uint8)
        cv2.circle(pixels, (30, 30), radius + int(rng.integers(-1, 2)), 200, -1)
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
        given = "large" if number == 4 else name
        example = Example(tmp_path / f"{number}.png", "g", Boxes(), choices=(given,))
        answers.append((example, Prediction((60, 60), choices={given: 0.9})))
    answers.append(
        (Example(tmp_path / "gone.png", "g", Boxes(), choices=("small",)), answers[0][1])
    )
    (place, issue), *_ = find_doubtful(answers, 0.5)
    assert place == 4 and (issue.kind, issue.suggested) == ("like another", "small")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "versions", tmp_path / "champions")
    for number in (1, 2):
        name = f"1-v{number}"
        registry.get_folder(name).mkdir(parents=True)
        registry.record(Version(name, "1", float(number), "", None, (), ()))
    return registry


def test_the_newest_version_that_looked_at_a_task_counts(registry: Registry) -> None:
    first, second = (registry.get_folder(f"1-v{number}") for number in (1, 2))
    (found,) = list_findings([answer(2, CELL, OTHER)], 0.5)
    also = replace(found, task=3)
    keep_findings(first, [make_item(2), make_item(3)], [found, also])
    current = {2: "monday", 3: "monday"}
    assert [finding.task for finding in read_findings(registry, "1", current)] == [2, 3]
    # A later version looked at task 2 again and found nothing; task 3 it did not see.
    keep_findings(second, [make_item(2)], [])
    assert [finding.task for finding in read_findings(registry, "1", current)] == [3]
    # Somebody corrected task 3 since, and task 2 was deleted.
    assert read_findings(registry, "1", {3: "tuesday"}) == []
    assert read_findings(registry, "2", current) == []
