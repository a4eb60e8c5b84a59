"""Learners of choices through the loop of a real Label Studio: docs/extending.md's and our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml_backend.dataset.split import hash_to_unit
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tests.conftest import RunningStudio
from tests.extending import count_lines, install, read_blocks
from tests.integration.test_worker import Worker

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <Choices name="light" toName="image"><Choice value="Dark"/><Choice value="Bright"/></Choices>
</View>"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["brightness", "classifier"])
def test_a_learner_of_choices_goes_through_the_whole_loop(
    kind: str, label_studio: RunningStudio, tmp_path: Path
) -> None:
    """The one of the page, installed beside cytoloop, and without it cytoloop's own."""
    (tmp_path / "plugins").mkdir()
    if kind == "brightness":
        blocks = read_blocks("A learner")
        assert count_lines(blocks["brightness.py"]) < 50, "as learners/choices.py promises"
        install(tmp_path / "plugins", blocks)

    # Thirty images, half of them bright; twenty of them are named.
    studio = label_studio.studio
    number = studio.create_project(f"Light by {kind}", CONFIG).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    truth = ["Bright" if i % 2 else "Dark" for i in range(30)]
    for i, name in enumerate(truth):
        light = 180 if name == "Bright" else 40
        pixels = rng.normal(light, 10, (48, 64, 3)).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), pixels)
    studio.add_media_folder(number, folder)
    data = [
        {
            "image": f"/data/local-files/?d={number}/{i}.png",
            "sample": f"s{i}",
            "split": "holdout" if i % 4 >= 2 else "train",
        }
        for i in range(30)
    ]
    ids = studio.import_tasks(number, [{"data": fields} for fields in data])
    for task, name in list(zip(ids, truth, strict=True))[:20]:
        studio.submit_annotation(task, [choice(name)])

    settings = Settings(data_dir=tmp_path / "data")
    settings.data_dir.mkdir()
    projects = Projects(settings.projects_database)
    url, token = label_studio.url, label_studio.account.token
    projects.connect(Project(number, url, token, "Brightness", CONFIG))
    worker = Worker(settings, PYTHONPATH=str(tmp_path / "plugins"))
    try:
        projects.add_note(number, "train")
        registry = Registry(settings.versions, settings.champions)
        worker.until("a champion", lambda: registry.get_champion(str(number)))
        worker.until("published", lambda: len(predictions(studio, number)) >= 10)
        (version,) = registry.list_versions(str(number))
        assert version.kind == kind and version.decision["promoted"]
        assert version.figures["balanced_accuracy"] == 1.0
        # Ten held out, and ten lent from training, which models of folds answered for.
        assert version.decision["folds"] == 2
        assert version.figures["confusion"]["Dark"] == {"Dark": 10, "Bright": 0}
        # The ten untouched tasks are named, rightly, by that version.
        found = predictions(studio, number)
        for task, name in list(zip(ids, truth, strict=True))[20:]:
            (prediction,) = found[task]
            assert prediction["model_version"] == version.name
            (answer,) = prediction["result"]
            assert answer["type"] == "choices" and answer["value"]["choices"] == [name]
            assert 0 < prediction["score"] <= 1
        if kind == "classifier":
            return  # what follows is no matter of the kind

        # Corrections of what was shown are counted like those of boxes.
        wrong, right = ids[20], ids[21]
        for task, name in ((wrong, "Bright"), (right, truth[21])):
            parent = found[task][0]["id"]
            studio.submit_annotation(task, [choice(name)], parent_prediction=parent)
        projects.add_note(number, "train")
        worker.until("judged again", lambda: len(registry.list_versions(str(number))) == 2)
        worker.until("the job is over", lambda: not projects.list_notes())
        usefulness = registry.get(version.name).figures["usefulness"][str(number)]
        assert usefulness["accepted"] == 1
        assert usefulness["classes"]["Dark"]["relabelled"] == 1
    finally:
        worker.process.kill()
        worker.process.wait()


def choice(name: str) -> dict[str, Any]:
    return {
        "id": f"c{hash_to_unit(name):.6f}",
        "type": "choices",
        "from_name": "light",
        "to_name": "image",
        "value": {"choices": [name]},
    }


def predictions(studio: Any, project: int) -> dict[int, list[dict[str, Any]]]:
    return {
        task["id"]: task["predictions"]
        for task in studio.list_tasks(project)
        if task["predictions"]
    }
