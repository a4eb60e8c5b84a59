"""A project that counts, in a real Label Studio: two people walk a queue that was drawn by lot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest

from ml_backend.counting.estimates import ProjectCount
from ml_backend.counting.project import count_project
from ml_backend.counting.sample import SampleStore
from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.http import open_studio_client
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.registry.versions import Registry
from ml_backend.serving.model_cache import ModelCache
from ml_backend.serving.publish import Publisher
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tests.annotated import make_rectangles
from tests.conftest import RunningStudio

CONFIGS = Path(__file__).parents[2] / "ml_backend" / "label_studio" / "configs"
TILES, SIZE = 80, (96, 96)


@pytest.fixture
def people(label_studio: RunningStudio) -> Iterator[list[httpx.Client]]:
    """The owner of the server and somebody whom they invited, logged in as browsers are."""
    account = label_studio.account
    with (
        open_studio_client(label_studio.url) as owner,
        open_studio_client(label_studio.url) as guest,
    ):
        owner.base_url = guest.base_url = label_studio.url
        _submit(owner, "/user/login/", {"email": account.username, "password": account.password})
        invite = owner.get("/api/invite").json()["token"]
        guest_account = {"email": "second@example.org", "password": "second-person-1"}
        _submit(guest, f"/user/signup/?token={invite}", guest_account)
        if guest.get("/api/current-user/whoami").status_code != 200:  # of an earlier test
            _submit(guest, "/user/login/", guest_account)
        yield [owner, guest]


def _submit(http: httpx.Client, page: str, form: dict[str, str]) -> None:
    http.get(page)
    token = http.cookies["csrftoken"]
    http.post(
        page, data={**form, "csrfmiddlewaretoken": token}, headers={"Referer": str(http.base_url)}
    )


def make_tiles(folder: Path) -> list[Boxes]:
    """Draw tiles of which every sixth shows dividing cells; return the truth."""
    truths = []
    for seed in range(TILES):
        pixels, boxes = generate_field(
            seed, size=SIZE, scale=0.25, dividing=2 if seed % 6 == 0 else 0
        )
        cv2.imwrite(str(folder / f"{seed}.png"), pixels[..., ::-1])
        truths.append(boxes.select(boxes.label == "Mitotic cell"))
    return truths


def take_next(http: httpx.Client, project: int) -> dict[str, Any]:
    answer = http.get(f"/api/projects/{project}/next/")
    assert answer.status_code == 200, answer.text
    return answer.json()


def submit(http: httpx.Client, task: dict[str, Any], truth: Boxes) -> None:
    result = make_rectangles(truth.xyxy.tolist(), SIZE)
    answer = http.post(
        f"/api/tasks/{task['id']}/annotations/",
        json={"result": result, "lead_time": 1.0},
        headers={"X-CSRFToken": http.cookies["csrftoken"], "Referer": str(http.base_url)},
    )
    assert answer.status_code == 201, answer.text


def test_two_people_walk_a_drawn_queue_and_the_count_holds(
    label_studio: RunningStudio, registry: Registry, people: list[httpx.Client], tmp_path: Path
) -> None:
    studio, settings = label_studio.studio, Settings(data_dir=tmp_path)
    config = (CONFIGS / "mitosis.xml").read_text(encoding="utf-8")
    number = studio.create_project("Counted", config).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    truths = make_tiles(folder)
    studio.add_media_folder(number, folder)
    ids = studio.import_tasks(
        number,
        [
            {"data": {"image": f"/data/local-files/?d={number}/{n}.png", "blind": n == 3}}
            for n in range(TILES)
        ],
    )
    truth = dict(zip(ids, truths, strict=True))
    projects, store = Projects(settings.projects_database), SampleStore(settings.samples_database)
    url, token = label_studio.url, label_studio.account.token
    projects.connect(Project(number, url, token, "Counted", config))
    registry.promote(str(number), registry.list_versions()[0].name, by="test", reason="start")
    models = ModelCache(settings, registry)

    def publish() -> None:
        project = projects.get(number)
        images = ImageSource(url, token, project=number)
        Publisher(project, projects, models, registry, studio, images).publish()

    def count() -> ProjectCount:
        found = count_project(number, settings)
        assert isinstance(found, ProjectCount)
        return found

    # A person reviewed a task before anybody thought of counting; then the goal is set.
    publish()
    first = take_next(people[0], number)
    submit(people[0], first, truth[first["id"]])
    projects.choose_goal(number, "count")
    publish()
    drawn = store.list_draws(number)
    assert drawn[0] == replace(drawn[0], task=first["id"], probability=1.0, version="")
    assert len({tile.task for tile in drawn}) == len(drawn) == 61
    # The probability of every task is in its own data, too.
    data = {task["id"]: task["data"] for task in studio.list_tasks(number, full=False)}
    for place, tile in enumerate(drawn[1:], start=2):
        assert (data[tile.task]["draw"], data[tile.task]["draw_p"]) == (place, tile.probability)
        assert (
            data[tile.task]["image"] == f"/data/local-files/?d={number}/{ids.index(tile.task)}.png"
        )

    def walk(steps: int) -> list[int]:
        """Both take a task, then both submit: nobody may get the other's."""
        taken = []
        for _ in range(steps):
            tasks = [take_next(person, number) for person in people]
            for person, task in zip(people, tasks, strict=True):
                submit(person, task, truth[task["id"]])
                taken.append(task["id"])
        return taken

    taken = walk(10)
    assert taken == [tile.task for tile in drawn[1:21]]
    assert count().headline.estimate.reviewed == 21

    # A version later, what nobody can have seen is drawn anew, and what was drawn stands.
    registry.promote(str(number), "next-v1", by="test", reason="better")
    publish()
    again = store.list_draws(number)
    assert again[:31] == drawn[:31]
    assert {tile.version for tile in again[31:]} == {"next-v1"}
    put_back = {tile.task for tile in drawn} - {tile.task for tile in again}
    data = {task["id"]: task["data"] for task in studio.list_tasks(number, full=False)}
    assert not any("draw" in data[task] for task in put_back)
    taken += walk(20)
    assert taken == [tile.task for tile in again[1:61]]
    assert len(set(taken)) == len(taken)

    total = sum(map(len, truths))
    estimate = count().headline.estimate
    assert (estimate.reviewed, estimate.tiles) == (61, TILES)
    assert estimate.sequence[0] <= total <= estimate.sequence[1]
    assert (
        estimate.interval[0]
        >= estimate.counted
        == sum(len(truth[task]) for task in [first["id"], *taken])
    )
