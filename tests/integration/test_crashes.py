"""Killed at some writes, before a real Label Studio; benchmarks/crashes.py kills hundreds."""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.session import ProjectGone, StudioFault
from tests.conftest import RunningStudio, free_port
from tests.crashing.nursery import Nursery
from tests.crashing.rounds import CONFIG, Plan, Round, template
from tests.crashing.studio import StandIn

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked and killed")


@pytest.mark.timeout(400)
def test_nothing_is_lost_when_processes_are_killed_at_their_writes(
    label_studio: RunningStudio, starter_versions: Path, tmp_path: Path
) -> None:
    """Label Studio is told of no webhook, so no event arrives: the worker has to ask.

    But for one burst, of 200 presses on Start training, while a training runs.
    """
    plans: dict[str, list[Plan]] = {
        "worker": [
            {"points": ["after: POST /api/projects/N/import/predictions"], "count": 1},
            {"points": ["while: start training_child"], "count": 1, "while": 0.3},
            {"points": ["before: move into place a version"], "count": 1},
            {"points": ["before: move into place champions/"], "count": 1},
            {"points": ["after: DELETE /api/predictions/N/"], "count": 2},
        ],
        # The first one that is started ends with its worker.
        "training": 2 * [{"points": ["before: move into place training/"], "count": 2}],
        "server": [],
    }

    def next_plan(role: str) -> Plan | None:
        return plans[role].pop(0) if plans[role] else None

    answered: list[dict[str, Any] | None] = []

    def burst(part: str) -> None:
        if part == "training":
            event = {"action": "START_TRAINING", "project": {"id": crashing.project}}
            with ThreadPoolExecutor(20) as pool:
                answered.extend(
                    pool.map(lambda _: crashing.ask_backend("/webhook", event), range(200))
                )

    with Nursery() as nursery:
        crashing = Round(
            template(tmp_path, starter_versions),
            nursery,
            tmp_path / "round",
            label_studio.url,
            label_studio.account.token,
            next_plan,
            random.Random(0),
            port=free_port(),
            trouble=burst,
        )
        crashing.run()  # raises Broken, with what does not hold
    assert len(answered) == 200 and all(answered)
    # One at 12 corrections, one for the burst, one asked for at last; of a snapshot one.
    assert len(crashing.registry.list_versions(str(crashing.project))) <= 3
    died = [role for role, _ in crashing.deaths]
    assert died.count("worker") == 5 and died.count("training") >= 1, crashing.deaths


def walk(studio: Studio) -> dict[str, Any]:
    """What a server answers to what the loop asks; without ids and times."""
    region = {
        "id": "r1",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 640,
        "original_height": 480,
        "image_rotation": 0,
        "value": {
            "x": 10, "y": 10, "width": 5, "height": 5, "rotation": 0,
            "rectanglelabels": ["Mitotic cell"],
        },
    }  # fmt: skip
    project = studio.create_project("Walked", CONFIG).id
    ids = studio.import_tasks(project, [{"data": {"image": f"{i}.png"}} for i in range(5)])
    place = {task: index for index, task in enumerate(ids)}
    seen: dict[str, Any] = {"tasks": studio.get_project(project).tasks}
    seen["unknown version"] = studio.set_model_version(project, "v1")
    studio.import_predictions(project, CONFIG, [(task, "v1", 0.5, [region]) for task in ids[:3]])
    seen["version after the first"] = studio.get_project(project).model_version
    studio.import_predictions(project, CONFIG, [(ids[1], "v2", 0.25, [])])
    seen["chosen"] = (
        studio.set_model_version(project, "v2"),
        studio.get_project(project).model_version,
    )
    first, second = list(studio.list_tasks(project))[:2]
    parent = first["predictions"][0]["id"]
    studio.submit_annotation(ids[0], [region], parent_prediction=parent)

    def of(tasks: Any) -> list[int]:
        return [place[task["id"]] for task in tasks]

    seen["annotated"] = of(studio.list_annotated_tasks(project))
    seen["without v1"] = of(studio.list_untouched_tasks(project, without="v1"))
    seen["several"] = of(studio.list_untouched_tasks(project, several=True))
    seen["counted"] = studio.count_untouched(project, without="v2")
    seen["by id"] = of(studio.list_tasks(project, ids=ids[1:3]))
    seen["in pages"] = of(studio.list_tasks(project, page=2))
    seen["held"] = [
        [
            (prediction["model_version"], prediction["score"], len(prediction["result"]))
            for prediction in task["predictions"]
        ]
        for task in studio.list_tasks(project)
    ]
    (annotated,) = studio.list_annotated_tasks(project)
    (annotation,) = annotated["annotations"]
    seen["annotation"] = {
        "parent kept": annotation["parent_prediction"] == parent,
        "cancelled": annotation["was_cancelled"],
        "ground truth": annotation["ground_truth"],
        "result": annotation["result"][0]["value"],
    }
    studio.delete_predictions([parent, second["predictions"][0]["id"], parent])
    (annotated,) = studio.list_annotated_tasks(project)
    seen["parent deleted"] = annotated["annotations"][0]["parent_prediction"]
    for name, act in {
        "a parent that is gone": lambda: studio.submit_annotation(
            ids[1], [region], parent_prediction=parent
        ),
        "no such project": lambda: studio.get_project(999_999),
        "no tasks of no project": lambda: list(studio.list_tasks(999_999)),
    }.items():
        with pytest.raises((StudioFault, ProjectGone)) as caught:
            act()
        seen[name] = type(caught.value).__name__, "Invalid pk" in str(caught.value)
    return seen


def test_the_stand_in_answers_as_the_real_server(label_studio: RunningStudio) -> None:
    with StandIn() as stand_in:
        expected = walk(label_studio.studio)
        assert walk(Studio(stand_in.url, stand_in.token)) == expected
