"""The doctor before a real Label Studio and a real backend, of which one thing after another is
broken and mended by the command that it names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files

import cv2
import numpy as np
import pytest

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.doctor.examination import examine
from ml_backend.doctor.finding import Finding
from ml_backend.label_studio.inspection import find_backend, is_ours, list_backends, list_webhooks
from ml_backend.serving.connect import connect
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from tests.conftest import RunningStudio
from tests.integration.test_connection import Backend, serve

MITOSIS = (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("doctor"))


@pytest.fixture(scope="module")
def backend(settings: Settings) -> Iterator[Backend]:
    running = serve(settings)
    yield running
    running.process.stop()


@pytest.fixture(scope="module")
def project(label_studio: RunningStudio, settings: Settings, backend: Backend) -> int:
    """A connected project of three images, pre-annotated."""
    studio = label_studio.studio
    number = studio.create_project("For the doctor", MITOSIS).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    for seed in range(3):
        pixels = generate_field(np.random.default_rng(seed), size=(347, 260), scale=0.25)[0]
        cv2.imwrite(str(folder / f"{seed}.png"), pixels[..., ::-1])
    studio.add_media_folder(number, folder)
    addresses = [f"/data/local-files/?d={number}/{seed}.png" for seed in range(3)]
    tasks = studio.import_tasks(
        number, [{"data": {"image": address, "split": "train"}} for address in addresses]
    )
    version = reconnect(label_studio, settings, backend, number)
    studio.retrieve_predictions(number, tasks)
    assert studio.set_model_version(number, version)
    return number


def reconnect(
    label_studio: RunningStudio, settings: Settings, backend: Backend, project: int
) -> str:
    token = label_studio.account.token
    return connect(settings, label_studio.url, token, project, backend.url).version


def find(settings: Settings, project: int, check: str) -> list[Finding]:
    results = examine(settings, project)
    return [
        result.finding
        for result in results
        if result.project == project and result.check == check and result.finding.severity != "ok"
    ]


def test_a_project_as_it_should_be_has_nothing_to_mend(
    project: int, settings: Settings, label_studio: RunningStudio, backend: Backend
) -> None:
    assert find_backend(label_studio.studio.session, project) == backend.url
    wrong = [
        result
        for result in examine(settings, project)
        if result.project == project and result.finding.severity in ("warning", "error")
    ]
    assert wrong == []
    checks = {result.check for result in examine(settings, project) if result.project == project}
    assert checks >= {
        "token", "Label Studio", "clock", "backend", "webhook", "labels", "version", "images",
        "local files", "training",
    }  # fmt: skip


def test_a_webhook_without_the_password_is_found_and_mended_by_connect(
    project: int, settings: Settings, label_studio: RunningStudio, backend: Backend
) -> None:
    session = label_studio.studio.session
    (hook,) = list_webhooks(session, project)
    session.call(session.sdk.webhooks.update, hook.id, url=hook.url, headers={})
    (finding,) = find(settings, project, "webhook")
    assert finding.severity == "error" and "HTTP 401" in finding.seen
    assert f"--project {project}" in finding.mend
    session.call(session.sdk.webhooks.delete, hook.id)
    (finding,) = find(settings, project, "webhook")
    assert finding.severity == "warning" and "the webhook is gone" in finding.seen
    reconnect(label_studio, settings, backend, project)
    assert find(settings, project, "webhook") == []


def test_a_version_that_the_project_does_not_show_is_found(
    project: int, settings: Settings, label_studio: RunningStudio
) -> None:
    studio = label_studio.studio
    version = studio.get_project(project).model_version
    (task, *_) = [task["id"] for task in studio.list_tasks(project)]
    studio.import_predictions(project, MITOSIS, [(task, "someone-elses", 0.5, [])])
    assert studio.set_model_version(project, "someone-elses")
    wrong, strange = find(settings, project, "version")
    assert wrong.severity == "error"
    assert "shows 'someone-elses'" in wrong.seen and version in wrong.mend
    assert strange.severity == "note" and "someone-elses" in strange.seen
    assert studio.set_model_version(project, version)
    (strange,) = find(settings, project, "version")
    assert strange.severity == "note"


def test_images_that_cannot_be_read_are_found(
    project: int, settings: Settings, label_studio: RunningStudio
) -> None:
    image = label_studio.media / str(project) / "1.png"
    content = image.read_bytes()
    image.unlink()
    (finding,) = find(settings, project, "images")
    assert finding.severity == "warning"
    assert "1 of 3 images cannot be read" in finding.seen and "404" in finding.seen
    image.write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (finding,) = find(settings, project, "images")
    assert "1 of 3 images cannot be read" in finding.seen
    image.write_bytes(content)
    Projects(settings.projects_database).add_left_out(project, [(7, "the file is empty")])
    (finding,) = find(settings, project, "images")
    assert "1 tasks are left out: the file is empty (task 7)" in finding.seen
    Projects(settings.projects_database).remove_left_out(project, [7])


def test_labels_and_classes_that_do_not_meet_are_found(
    project: int, settings: Settings, label_studio: RunningStudio
) -> None:
    session = label_studio.studio.session
    for old, new, words in (
        ('value="Other"', 'value="Stoma"', "no class for the label Stoma"),
        ('value="Mitotic cell"', 'value="Stoma"', "so nothing is drawn"),
        ("RectangleLabels", "PolygonLabels", "the labels are none"),
    ):
        config = MITOSIS.replace(old, new)
        session.call(session.sdk.projects.update, project, label_config=config)
        assert any(words in finding.seen for finding in find(settings, project, "labels")), words
    session.call(session.sdk.projects.update, project, label_config=MITOSIS)
    config = MITOSIS.replace('value="$image"', 'value="$picture"')
    session.call(session.sdk.projects.update, project, label_config=config)
    (finding,) = find(settings, project, "images")
    assert "no field 'picture'" in finding.seen
    session.call(session.sdk.projects.update, project, label_config=MITOSIS)


def test_a_training_that_cannot_be_judged_is_foretold(
    project: int, settings: Settings, label_studio: RunningStudio
) -> None:
    (task, *_) = [task["id"] for task in label_studio.studio.list_tasks(project)]
    label_studio.studio.submit_annotation(task, [])
    (finding,) = find(settings, project, "training")
    assert "1 corrected tasks, 0 of them held out" in finding.seen and "holdout" in finding.mend


def test_a_backend_that_is_down_or_not_ours_or_gone_is_found(
    project: int, settings: Settings, label_studio: RunningStudio, backend: Backend
) -> None:
    other = Settings(data_dir=settings.data_dir, backend_password="of another folder")
    assert any("another password" in finding.seen for finding in find(other, project, "backend"))
    session = label_studio.studio.session
    moved = serve(settings)
    token = label_studio.account.token
    connect(settings, label_studio.url, token, project, moved.url)
    moved.process.stop()
    here, there = find(settings, project, "backend")
    assert "from here, the backend is not reached" in here.seen
    assert there.severity == "error" and f"does not reach the backend at {moved.url}" in there.seen
    assert "cytoloop serve" in there.mend
    for ours in list_backends(session, project):
        assert is_ours(ours)
        session.call(session.sdk.ml.delete, ours.id)
    (finding,) = find(settings, project, "backend")
    assert "no ML backend of ours" in finding.seen
    reconnect(label_studio, settings, backend, project)
    assert find(settings, project, "backend") == []


def test_a_revoked_token_ends_the_examination_with_what_to_do(
    project: int, settings: Settings
) -> None:
    projects = Projects(settings.projects_database)
    connected = projects.get(project)
    projects.connect(replace(connected, token="0" * 40))
    try:
        (finding,) = find(settings, project, "Label Studio")
        assert finding.severity == "error" and "Personal Access Token" in finding.seen.title()
    finally:
        projects.connect(connected)


def test_the_command_prints_all_of_it_and_its_exit_code_is_the_gravest(
    project: int, settings: Settings
) -> None:
    command = [sys.executable, "-m", "ml_backend", "--data-dir", str(settings.data_dir), "doctor"]
    done = subprocess.run([*command, "--json"], capture_output=True, encoding="utf-8")
    result = json.loads(done.stdout)
    # No worker runs here.
    assert (done.returncode, result["severity"]) == (1, "error")
    errors = [finding for finding in result["findings"] if finding["severity"] == "error"]
    assert [finding["check"] for finding in errors] == ["worker"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert f"project {project}" in done.stdout and "→ cytoloop" in done.stdout
