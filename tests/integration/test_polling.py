"""A Label Studio as it is by default, which may talk to nobody on this machine, and with its check
of predictions switched on: what refuses us is named, and `connect --poll` needs no way in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.doctor.examination import examine
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.inspection import list_backends, list_webhooks
from ml_backend.label_studio.installation import StudioInstallation
from ml_backend.label_studio.session import AddressBlocked, StudioFault
from ml_backend.registry.versions import Registry
from ml_backend.serving.connect import connect
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from tests.conftest import free_port
from tests.integration.test_connection import serve
from tests.integration.test_worker import Worker

MITOSIS = (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")
DEFAULTS = {
    "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "true",
    "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "true",
    "fflag_feat_utc_210_prediction_validation_15082025": "true",
}


@dataclass
class Guarded:
    """A Label Studio, first open and then as it is by default, with a project of ours."""

    url: str
    token: str
    media: Path
    settings: Settings
    project: int
    backend_url: str

    @property
    def studio(self) -> Studio:
        return Studio(self.url, self.token)

    def import_images(self, seeds: range) -> list[int]:
        folder = self.media / str(self.project)
        folder.mkdir(exist_ok=True)
        for seed in seeds:
            pixels = generate_field(np.random.default_rng(seed), size=(347, 260), scale=0.25)[0]
            cv2.imwrite(str(folder / f"{seed}.png"), pixels[..., ::-1])
        self.studio.add_media_folder(self.project, folder)
        address = f"/data/local-files/?d={self.project}/"
        alike = {"split": "train", "sample": "leaf"}
        data = [{"image": f"{address}{seed}.png", **alike} for seed in seeds]
        return self.studio.import_tasks(self.project, [{"data": fields} for fields in data])

    def find(self, check: str) -> list[str]:
        results = examine(self.settings, self.project)
        return [result.finding.seen for result in results if result.check == check]


@pytest.fixture(scope="module")
def guarded(label_studio_env: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    installation = StudioInstallation(folder / "label-studio", label_studio_env)
    settings = Settings(data_dir=folder / "data")
    port, media = free_port(), folder / "mydata"
    with ExitStack() as stack:
        installation.start(port, media, folder / "ls.log")
        stack.callback(installation.stop)
        backend = serve(settings)
        stack.callback(backend.process.stop)
        installation.wait_ready()
        token = installation.prepare_account().token
        project = Studio(installation.url, token).create_project("Guarded", MITOSIS).id
        connect(settings, installation.url, token, project, backend.url)
        installation.stop()
        installation.start(port, media, folder / "ls.log", DEFAULTS)
        installation.wait_ready()
        yield Guarded(installation.url, token, media, settings, project, backend.url)


def test_protections_are_named_with_both_ways_out(guarded: Guarded) -> None:
    session = guarded.studio.session
    ours = list_backends(session, guarded.project)
    with pytest.raises(AddressBlocked, match="ML_BLOCK_LOCAL_IP=false.*connect --poll"):
        connect(guarded.settings, guarded.url, guarded.token, guarded.project, guarded.backend_url)
    # What was connected before stays.
    assert [b.id for b in list_backends(session, guarded.project)] == [b.id for b in ours]
    assert len(list_webhooks(session, guarded.project)) == 1
    found = " ".join(guarded.find("backend"))
    assert f"protection forbids it to talk to {guarded.backend_url}" in found
    assert "the backend at" in found and "answers" in found  # from here it is reached


@pytest.mark.timeout(900)
def test_polling_publishes_and_trains_by_requests_alone(guarded: Guarded) -> None:
    connection = connect(guarded.settings, guarded.url, guarded.token, guarded.project, None)
    assert "Label Studio need not reach this machine" in connection.describe()
    session, studio, number = guarded.studio.session, guarded.studio, guarded.project
    assert list_backends(session, number) == [] and list_webhooks(session, number) == []
    first = guarded.import_images(range(4))

    def lacking() -> int:
        return studio.count_untouched(number, without=connection.version)

    # All reconciliations but the first are hours away.
    short = {"CYTOLOOP_RETRAIN_AFTER": "5", "CYTOLOOP_EPOCHS": "1", "CYTOLOOP_IMGSZ": "64"}
    worker = Worker(guarded.settings, CYTOLOOP_RECONCILE_SECONDS="9999", **short)
    try:
        worker.until("boxes at the start", lambda: lacking() == 0, 60)
        later = guarded.import_images(range(4, 7))
        worker.until("boxes for later images", lambda: lacking() == 0, 60)
        held = {task["id"]: task["predictions"] for task in studio.list_tasks(number)}
        assert all(len(held[task]) == 1 for task in [*first, *later])
        assert studio.get_project(number).model_version == connection.version
        assert Projects(guarded.settings.projects_database).list_left_out(number) == []
        for task in [*first, *later][:5]:
            studio.submit_annotation(task, held[task][0]["result"])
        worker.until(
            "corrections are counted",
            lambda: worker.count_in_log("5 tasks corrected since the last training"),
            60,
        )
        settings = guarded.settings
        registry = Registry(settings.versions, settings.champions)
        worker.until("a version", lambda: registry.list_versions(str(number)))
        # All are of one sample, so none could be lent to judging: people may still choose it.
        worker.until("its trial", lambda: registry.list_versions(str(number))[0].decision)
        assert registry.get_champion(str(number)) == connection.version
        assert guarded.find("backend")[0].startswith("connected with --poll")
        assert any("took" in seen and "mydata" in seen for seen in guarded.find("local files"))
    finally:
        worker.process.kill()
        worker.process.wait()


def test_with_label_studios_check_of_predictions_an_invalid_one_is_left_out_alone(
    guarded: Guarded,
) -> None:
    studio, number = guarded.studio, guarded.project
    tasks = guarded.import_images(range(7, 10))
    sound: dict[str, Any] = {
        "from_name": "label", "to_name": "image", "type": "rectanglelabels", "image_rotation": 0,
        "original_width": 347, "original_height": 260,
        "value": {
            "x": 1, "y": 1, "width": 9, "height": 9, "rotation": 0,
            "rectanglelabels": ["Mitotic cell"],
        },
    }  # fmt: skip
    strange = {**sound, "value": {**sound["value"], "rectanglelabels": ["Stoma"]}}
    regions = [[sound], [strange], [sound]]
    made = [(task, "v", 0.5, result) for task, result in zip(tasks, regions, strict=True)]
    ((task, reason),) = studio.import_predictions(number, MITOSIS, made)
    assert task == tasks[1] and "does not fit the labels" in reason
    held = {task["id"]: len(task["predictions"]) for task in studio.list_tasks(number, ids=tasks)}
    assert held == {tasks[0]: 1, tasks[1]: 0, tasks[2]: 1}
    # The server's own check is on: unasked, it takes none of the same request.
    session = studio.session
    with pytest.raises(StudioFault, match="Stoma"):
        session.call(
            session.sdk.predictions.create, task=tasks[1], result=[strange], model_version="v"
        )
