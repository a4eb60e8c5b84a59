"""Projects whose queue was not drawn: what of them is a random sample, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ml_backend.counting.estimates import ProjectCount
from ml_backend.counting.project import AT_RANDOM, POWERED, count_at_random
from ml_backend.counting.random_reviews import (
    order_held_out,
    order_randomly,
    read_predicted,
    take_beginning,
)
from ml_backend.dataset.split import assign
from ml_backend.estimation.prediction_powered import Refusal
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.registry.versions import Version

LABELS = parse_labels(
    '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i">'
    '<Label value="Mitotic cell"/></RectangleLabels></View>'
)
VERSION = Version("starter", "starter", 0.0)
TILES = 300


def draw_cells(number: int, scores: list[float] | None = None) -> list[dict[str, Any]]:
    return [
        {
            "id": f"r{n}",
            "type": "rectanglelabels",
            "from_name": "l",
            "to_name": "i",
            "original_width": 100,
            "original_height": 100,
            "value": {"x": 8 * n, "y": 0, "width": 6, "height": 6, "rectanglelabels": [label]},
            **({"score": scores[n]} if scores else {}),
        }
        for n, label in enumerate(["Mitotic cell"] * number)
    ]


@pytest.fixture
def tasks() -> list[dict[str, Any]]:
    """Tiles of their own groups, with predictions by a good detector; nobody reviewed any."""
    random = np.random.default_rng(2)
    truth = random.poisson(0.8, TILES)
    found = random.binomial(truth, 0.9)
    return [
        {
            "id": n + 1,
            "data": {
                "image": f"/data/upload/{n}.png",
                "truth": int(truth[n]),
                "split": assign(f"file:/data/upload/{n}.png", 0.3).side,
            },
            "annotations": [],
            "predictions": [
                {"model_version": "starter", "result": draw_cells(found[n], [0.9] * found[n])}
            ],
        }
        for n in range(TILES)
    ]


def review(tasks: list[dict[str, Any]], ids: list[int]) -> None:
    for task in tasks:
        if task["id"] in ids:
            result = draw_cells(task["data"]["truth"])
            task["annotations"] = [{"id": task["id"], "completed_by": 1, "result": result}]


def test_reviews_in_random_order_are_a_sample_and_the_detector_helps(tasks) -> None:
    review(tasks, order_randomly(tasks, "image")[:90])
    count = count_at_random(tasks, LABELS, "newest", VERSION)
    assert isinstance(count, ProjectCount)
    plain, powered = count.figures
    assert (plain.method, powered.method) == (AT_RANDOM, POWERED)
    total = sum(task["data"]["truth"] for task in tasks)
    for figure in count.figures:
        low, high = figure.estimate.interval
        assert low <= total <= high
        assert figure.estimate.reviewed == 90
    assert np.ptp(powered.estimate.interval) < 0.7 * np.ptp(plain.estimate.interval)
    assert plain.naive == pytest.approx(sum(read_predicted(tasks, "starter").values()))


def test_held_out_tasks_are_a_sample_where_each_is_a_group(tasks) -> None:
    order = order_held_out(tasks, "image")
    assert 60 < len(order) < 120
    review(tasks, order[:50])
    count = count_at_random(tasks, LABELS, "newest", None)
    assert isinstance(count, ProjectCount)
    assert [figure.method for figure in count.figures] == [AT_RANDOM]
    tasks[0]["data"]["sample"] = tasks[1]["data"]["sample"] = "one slide"
    assert order_held_out(tasks, "image") == []


def test_reviews_of_doubtful_tiles_are_refused_with_the_reason(tasks) -> None:
    review(tasks, list(range(1, 200)))
    refused = count_at_random(tasks, LABELS, "newest", VERSION)
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith("199 of 300 tiles were reviewed, but only")
    assert "--goal count" in refused.reason


def test_a_version_that_saw_the_tiles_does_not_help(tasks) -> None:
    review(tasks, order_randomly(tasks, "image")[:90])
    trained = Version("v1", "1", 0.0, seen_groups=("file:/data/upload/7.png",))
    count = count_at_random(tasks, LABELS, "newest", trained)
    assert isinstance(count, ProjectCount)
    assert len(count.figures) == 1
    assert "v1 does not help the estimate: the version was trained" in count.notes[-1]


def test_all_reviewed_is_the_count(tasks) -> None:
    review(tasks, list(range(1, TILES + 1)))
    count = count_at_random(tasks, LABELS, "newest", VERSION)
    assert isinstance(count, ProjectCount)
    total = sum(task["data"]["truth"] for task in tasks)
    assert count.headline.estimate.sequence.tolist() == [total, total]
    assert count.missing.missing == 0


def test_blind_predictions_tell_nothing(tasks) -> None:
    tasks[0]["data"]["blind"] = True
    assert set(read_predicted(tasks, "starter")) == set(range(2, TILES + 1))
    assert read_predicted(tasks, "another") == {}


def test_the_beginning_ends_at_the_first_gap() -> None:
    assert take_beginning([3, 1, 2], {3, 2}) == [3]
    assert take_beginning([], {1}) == []
