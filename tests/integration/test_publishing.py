"""Publishing to a real Label Studio: what is new stands before what is old goes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml_backend.active_learning.queue import score_at_place
from ml_backend.active_learning.strategies.base import Candidate, Context, Strategy
from ml_backend.active_learning.strategies.certainty import score_certainty
from ml_backend.active_learning.strategies.random_order import score_randomly
from ml_backend.active_learning.strategies.table import STRATEGIES
from ml_backend.dataset.corrections import find_shown_regions
from ml_backend.dataset.split import compute_queue_place
from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.http import open_studio_client
from ml_backend.label_studio.image_hosts import ImageHosts
from ml_backend.label_studio.image_source import AccessToken, ImageSource
from ml_backend.registry.versions import Registry
from ml_backend.serving import publish
from ml_backend.serving.model_cache import ModelCache
from ml_backend.serving.preannotation import QUEUED
from ml_backend.serving.publish import Publisher
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tests.conftest import RunningStudio
from tests.integration.test_annotators import sign_up

CONFIGS = Path(__file__).parents[2] / "ml_backend" / "label_studio" / "configs"


def versions(task: dict[str, Any]) -> list[str]:
    return sorted(prediction["model_version"] for prediction in task["predictions"])


def test_a_promotion_reaches_untouched_tasks_alone(
    label_studio: RunningStudio,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    studio = label_studio.studio
    settings = Settings(data_dir=tmp_path)
    config = (CONFIGS / "mitosis.xml").read_text(encoding="utf-8")
    number = studio.create_project("Published", config).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    for seed in range(3):
        pixels, _ = generate_field(np.random.default_rng(seed), size=(347, 260), scale=0.25)
        cv2.imwrite(str(folder / f"{seed}.png"), pixels[..., ::-1])
    (folder / "3.png").write_bytes(b"")
    studio.add_media_folder(number, folder)
    address = f"/data/local-files/?d={number}/"
    tasks = [{"data": {"image": f"{address}{seed}.png"}} for seed in range(4)]
    first, second, third, empty = studio.import_tasks(number, tasks)

    projects = Projects(settings.projects_database)
    url, token = label_studio.url, label_studio.account.token
    project = Project(number, url, token, "Published", config)
    projects.connect(project)
    serving = ModelCache(settings, registry)
    images = ImageSource(url, token, project=number)
    publisher = Publisher(project, projects, serving, registry, studio, images)
    starter = registry.list_versions()[0].name

    # Nothing is drawn without a champion.
    assert publisher.publish().imported == 0

    registry.promote(str(number), starter, by="test", reason="start")
    done = publisher.publish()
    assert (done.version, done.imported, done.left_out) == (starter, 3, 1)
    assert studio.get_project(number).model_version == starter
    assert [entry["task"] for entry in projects.list_left_out(number)] == [empty]
    again = publisher.publish()
    assert (again.imported, again.deleted) == (0, 0)

    # A promotion: touched tasks keep what their annotator saw.
    (shown,) = studio.list_tasks(number, ids=[first])
    parent = shown["predictions"][0]["id"]
    studio.submit_annotation(first, shown["predictions"][0]["result"], parent_prediction=parent)
    registry.promote(str(number), "next-v1", by="test", reason="better")
    assert publisher.publish().imported == 2
    assert studio.get_project(number).model_version == "next-v1"
    now = {task["id"]: task for task in studio.list_tasks(number)}
    assert versions(now[first]) == [starter]
    # The old one stays for a while: somebody may have it on the screen.
    assert versions(now[second]) == sorted([starter, "next-v1"])

    monkeypatch.setattr(publish, "GRACE", 0.0)
    assert publisher.publish().deleted == 2
    now = {task["id"]: task for task in studio.list_tasks(number)}
    assert versions(now[second]) == versions(now[third]) == ["next-v1"]
    assert versions(now[first]) == [starter]
    assert now[first]["annotations"][0]["parent_prediction"] == parent

    # A double, of a request that went on when its sender was gone, is dropped as well.
    double = now[second]["predictions"][0]
    studio.import_predictions(number, config, [(second, "next-v1", 0.5, double["result"])])
    assert publisher.publish().deleted == 1
    (task,) = studio.list_tasks(number, ids=[second])
    assert [prediction["id"] for prediction in task["predictions"]] == [double["id"]]

    # What /predict had no time for is imported, touched or not.
    projects.add_left_out(number, [(first, QUEUED)])
    assert publisher.publish().imported == 1
    (task,) = studio.list_tasks(number, ids=[first])
    assert versions(task) == sorted([starter, "next-v1"])
    assert [entry["task"] for entry in projects.list_left_out(number)] == [empty]

    # A rollback draws exactly the same again.
    before = now[first]["predictions"][0]
    registry.roll_back(str(number), by="test", reason="worse")
    publisher.publish()
    back = {task["id"]: task for task in studio.list_tasks(number)}
    drawn = {p["model_version"]: p["result"] for p in back[second]["predictions"]}
    assert set(drawn) == {starter} and before["model_version"] == starter


def test_blind_tasks_show_no_boxes_and_held_out_ones_come_anywhere(
    label_studio: RunningStudio, registry: Registry, tmp_path: Path
) -> None:
    """The queue is Label Studio's own: the order in which the view and Label All Tasks go."""
    settings = Settings(data_dir=tmp_path, strategy="certainty")
    studio = label_studio.studio
    config = (CONFIGS / "mitosis.xml").read_text(encoding="utf-8")
    number = studio.create_project("Blind", config).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    pixels, _ = generate_field(np.random.default_rng(3))
    cv2.imwrite(str(folder / "a.png"), pixels[..., ::-1])
    studio.add_media_folder(number, folder)
    studio.ensure_view(number)
    address = f"/data/local-files/?d={number}/a.png"
    sides: list[dict[str, Any]] = [
        {"split": "train"},
        {"split": "holdout", "sha256": "a"},
        {"split": "holdout", "sha256": "e", "blind": True},
        {"split": "buffer"},
    ]
    ids = studio.import_tasks(number, [{"data": {"image": address, **fields}} for fields in sides])

    projects = Projects(settings.projects_database)
    url, token = label_studio.url, label_studio.account.token
    project = Project(number, url, token, "Blind", config)
    projects.connect(project)
    starter = registry.list_versions()[0].name
    projects.keep_queue_scores(number, starter, "certainty", [i / 100 for i in range(100)])
    registry.promote(str(number), starter, by="test", reason="start")
    images = ImageSource(url, token, project=number)
    publisher = Publisher(
        project, projects, ModelCache(settings, registry), registry, studio, images
    )
    assert publisher.publish().imported == 4

    drawn = {task["id"]: task["predictions"][0] for task in studio.list_tasks(number)}
    train, held, blind, buffer = (drawn[task] for task in ids)
    assert train["result"] == held["result"] == buffer["result"] != []
    assert blind["result"] == []
    assert train["score"] == buffer["score"] != held["score"]
    for task, data in ((held, sides[1]), (blind, sides[2])):
        place = compute_queue_place(data, address)
        assert place is not None and task["score"] == pytest.approx(0.99 * place)

    # Nothing is added to it, and Label All Tasks hands the tasks out in the order of the scores.
    assert publisher.publish().imported == 0
    with open_studio_client(url) as http:
        header = {"Authorization": AccessToken(f"{url}/", token, http).header()}
        following = http.get(f"{url}/api/projects/{number}/next/", headers=header).json()["id"]
    assert following == min(drawn, key=lambda task: drawn[task]["score"]) == ids[2]

    # What was not shown is no pre-annotation to measure corrections by.
    studio.submit_annotation(ids[2], train["result"], parent_prediction=blind["id"])
    studio.submit_annotation(ids[1], train["result"], parent_prediction=held["id"])
    tasks = list(studio.list_tasks(number))
    assert [len(find_shown_regions(task)) for task in tasks] == [0, 1, 0, 0]


def test_labels_that_changed_without_a_word_are_drawn_with(
    label_studio: RunningStudio, registry: Registry, tmp_path: Path
) -> None:
    """Nobody has told us: what is drawn has the labels of the project as it is."""
    studio, settings = label_studio.studio, Settings(data_dir=tmp_path)
    config = (CONFIGS / "mitosis.xml").read_text(encoding="utf-8")
    number = studio.create_project("Renamed", config).id
    projects = Projects(settings.projects_database)
    url, token = label_studio.url, label_studio.account.token
    projects.connect(Project(number, url, token, "Renamed", config))
    registry.promote(str(number), registry.list_versions()[0].name, by="test", reason="start")
    renamed = config.replace("Mitotic cell", "Wall")
    studio.session.sdk.projects.update(number, label_config=renamed)
    studio.import_tasks(number, [{"data": {"image": "/data/local-files/?d=none.png"}}])
    publisher = Publisher(
        projects.get(number),
        projects,
        ModelCache(settings, registry),
        registry,
        studio,
        ImageSource(url, token, project=number),
    )
    assert publisher.publish().version == f"{number}-untrained"
    assert projects.get(number).label_config == studio.get_project(number).label_config


class WatchedStudio(Studio):
    """A Label Studio client that looks at the queue after every score that changes.

    It may also end as a process does that is killed: after `left` changes.
    """

    def __init__(self, url: str, token: str, project: int, version: str) -> None:
        super().__init__(url, token)
        self.left = 1000
        self._queue = project, version

    def set_score(self, prediction: int, score: float) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        super().set_score(prediction, score)
        project, version = self._queue
        assert self.count_untouched(project, without=version) == 0
        assert self.get_project(project).model_version == version


@dataclass
class Queue:
    """A project of eight tasks with an image each, pre-annotated by `version`."""

    number: int
    addresses: dict[int, str]
    projects: Projects
    studio: WatchedStudio
    publisher: Publisher
    version: str

    def predictions(self) -> dict[int, dict[str, Any]]:
        return {task["id"]: task["predictions"][0] for task in self.studio.list_tasks(self.number)}

    def scores(self) -> dict[int, float]:
        return {task: prediction["score"] for task, prediction in self.predictions().items()}


HELD_OUT = 5  # the place of the held-out task among the eight


@pytest.fixture
def queue(label_studio: RunningStudio, registry: Registry, tmp_path: Path) -> Queue:
    settings = Settings(data_dir=tmp_path, strategy="certainty")
    config = (CONFIGS / "mitosis.xml").read_text(encoding="utf-8")
    number = label_studio.studio.create_project("Queue", config).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    for seed in range(8):
        pixels, _ = generate_field(np.random.default_rng(seed), size=(347, 260), scale=0.25)
        cv2.imwrite(str(folder / f"{seed}.png"), pixels[..., ::-1])
    projects = Projects(settings.projects_database)
    url, token = label_studio.url, label_studio.account.token
    project = Project(number, url, token, "Queue", config)
    projects.connect(project)
    version = registry.list_versions()[0].name
    registry.promote(str(number), version, by="test", reason="start")
    studio = WatchedStudio(url, token, number, version)
    studio.add_media_folder(number, folder)
    addresses = [f"/data/local-files/?d={number}/{seed}.png" for seed in range(8)]
    tasks: list[dict[str, Any]] = [{"data": {"image": address}} for address in addresses]
    tasks[HELD_OUT]["data"]["split"] = "holdout"
    ids = studio.import_tasks(number, tasks)
    images = ImageSource(url, token, project=number)
    publisher = Publisher(
        project, projects, ModelCache(settings, registry), registry, studio, images
    )
    assert publisher.publish().imported == 8
    return Queue(
        number, dict(zip(ids, addresses, strict=True)), projects, studio, publisher, version
    )


def score_by_chance(addresses: dict[int, str]) -> dict[int, float]:
    """The scores of a random order, by task."""
    candidates = [Candidate(address, Boxes()) for address in addresses.values()]
    scores = score_randomly(candidates, Context(0.5)).tolist()
    return dict(zip(addresses, scores, strict=True))


def test_another_strategy_reorders_the_queue_and_loses_nothing(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    projects, publisher, number = queue.projects, queue.publisher, queue.number
    before = queue.predictions()
    ids = list(before)
    touched, opened, held = ids[0], ids[1], ids[HELD_OUT]
    certain = queue.scores()
    queue.studio.submit_annotation(touched, [], parent_prediction=before[touched]["id"])

    # It is killed on the way, and goes on where it was.
    monkeypatch.setattr(publish, "FIRST", 2)
    monkeypatch.setattr(publish, "MOST", 2)
    projects.choose_strategy(number, "random")
    queue.studio.left = 3
    with pytest.raises(KeyboardInterrupt):
        publisher.publish()
    assert projects.rescore_after(number, queue.version, "random") == ids[2]
    queue.studio.left = 1000
    done = publisher.publish()
    assert (done.imported, done.left_out, done.deleted, done.rescored) == (0, 0, 0, 4)

    # The same pre-annotations in another order; what was reviewed stays as it was seen.
    after = queue.predictions()
    for task, prediction in before.items():
        for name in ("id", "result", "model_version", "created_at"):
            assert after[task][name] == prediction[name]
    scores, chance = queue.scores(), score_by_chance(queue.addresses)
    assert scores[touched] == certain[touched]
    others = [task for task in ids if task not in (touched, held)]
    assert [scores[task] for task in others] == [chance[task] for task in others]
    # Among its chunk, since so few tasks do not say yet how scores are distributed.
    place = compute_queue_place({"split": "holdout"}, queue.addresses[held])
    assert place is not None
    assert scores[held] == score_at_place(place, [chance[ids[HELD_OUT]], chance[ids[HELD_OUT + 1]]])

    # Label Studio hands them out in that order, and who had one open loses no work.
    with open_studio_client(queue.studio.url) as http:
        token = projects.get(number).token
        header = {"Authorization": AccessToken(f"{queue.studio.url}/", token, http).header()}
        address = f"{queue.studio.url}/api/projects/{number}/next/"
        following = http.get(address, headers=header).json()["id"]
    assert following == min(ids[1:], key=scores.__getitem__)
    queue.studio.submit_annotation(opened, [], parent_prediction=before[opened]["id"])

    # Nothing is done twice, and the former strategy gives the former scores to the last bit.
    assert publisher.publish().rescored == 0
    projects.choose_strategy(number, "certainty")
    publisher.publish()
    scores = queue.scores()
    others.remove(opened)
    assert [scores[task] for task in others] == [certain[task] for task in others]


def test_a_new_version_is_scored_by_the_projects_strategy_at_once(
    queue: Queue, registry: Registry
) -> None:
    queue.projects.choose_strategy(queue.number, "random")
    registry.promote(str(queue.number), "next-v1", by="test", reason="better")
    done = queue.publisher.publish()
    assert (done.version, done.imported, done.rescored) == ("next-v1", 8, 0)
    scores = {
        task["id"]: prediction["score"]
        for task in queue.studio.list_tasks(queue.number)
        for prediction in task["predictions"]
        if prediction["model_version"] == "next-v1"
    }
    held = list(queue.addresses)[HELD_OUT]
    assert {**scores, held: 0} == {**score_by_chance(queue.addresses), held: 0}


def spread(candidates: Sequence[Candidate], context: Context) -> np.ndarray:
    """Spread the candidates evenly over 0..1, the least certain first."""
    ranks = np.argsort(np.argsort(score_certainty(candidates, context), kind="stable"))
    return ranks / max(1, len(candidates) - 1)


def test_a_strategy_that_needs_the_whole_queue_gets_it(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "FIRST", 2)
    monkeypatch.setattr(publish, "MOST", 2)
    monkeypatch.setitem(STRATEGIES, "spread", Strategy("spread", spread, whole=True))
    certain = queue.scores()
    held = list(queue.addresses)[HELD_OUT]
    queue.projects.choose_strategy(queue.number, "spread")
    queue.publisher.publish()
    scores = queue.scores()
    others = [task for task in scores if task != held]
    assert len({scores[task] for task in others}) == 7
    in_order = sorted(others, key=scores.__getitem__)
    assert [certain[task] for task in in_order] == sorted(certain[task] for task in others)

    # Tasks that come later are put in among all the others.
    later = [{"data": {"image": address}} for address in queue.addresses.values()][:3]
    queue.studio.import_tasks(queue.number, later)
    assert queue.publisher.publish().imported == 3
    scores = queue.scores()
    steps = {round(scores[task] * 10, 6) for task in scores if task != held}
    assert len(steps) == 10 and steps < set(range(11))
    assert queue.publisher.publish().rescored == 0


def test_by_default_tasks_that_come_later_find_their_places_and_the_others_keep_theirs(
    queue: Queue,
) -> None:
    queue.projects.choose_strategy(queue.number, Settings.model_fields["strategy"].default)
    assert queue.publisher.publish().rescored
    before = queue.scores()
    later = [{"data": {"image": address}} for address in list(queue.addresses.values())[:3]]
    added = queue.studio.import_tasks(queue.number, later)
    done = queue.publisher.publish()
    assert (done.imported, done.rescored) == (3, 0)
    after = queue.scores()
    assert {task: after[task] for task in before} == before
    # They show the same images, and the share of tasks with a box is known better by now.
    assert [after[task] for task in added] == pytest.approx(list(before.values())[:3], rel=0.1)
    assert len({round(score, 6) for score in before.values()}) > 4


def test_two_people_walk_the_queue_and_a_new_version_ranks_the_rest(
    queue: Queue, label_studio: RunningStudio, registry: Registry
) -> None:
    queue.projects.choose_strategy(queue.number, "clasp")
    queue.publisher.publish()
    before = queue.scores()
    with sign_up(label_studio, "walker-1") as first, sign_up(label_studio, "walker-2") as second:

        def walk(steps: int) -> list[int]:
            """Both take a task, then both submit: nobody may get the other's."""
            taken = []
            for _ in range(steps):
                following = [p.get(f"/api/projects/{queue.number}/next/") for p in (first, second)]
                for person, answer in zip((first, second), following, strict=True):
                    task = answer.json()["id"]
                    done = person.post(f"/api/tasks/{task}/annotations", json={"result": []})
                    assert done.status_code == 201, done.text
                    taken.append(task)
            return taken

        taken = walk(2)
        assert [before[task] for task in taken] == sorted(before.values())[:4]
        # A retraining in between: the rest is drawn anew, and what was reviewed stays.
        registry.promote(str(queue.number), "next-v1", by="test", reason="better")
        assert queue.publisher.publish().imported == 4
        after = {
            task["id"]: prediction["score"]
            for task in queue.studio.list_tasks(queue.number)
            for prediction in task["predictions"]
            if prediction["model_version"] == "next-v1"
        }
        rest = walk(2)
    assert sorted([*taken, *rest]) == sorted(queue.addresses)
    assert set(after) == set(rest) and [after[task] for task in rest] == sorted(after.values())
    # Where each task stood is kept with it, for those of the first version too.
    kept = {t["id"]: t["predictions"] for t in queue.studio.list_tasks(queue.number)}
    assert all([p["score"] for p in kept[task]] == [before[task]] for task in taken)


def test_images_that_drip_hold_nobody_up_and_deleted_tasks_are_forgotten(
    label_studio: RunningStudio,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twenty addresses that never end come before a good image; Label Studio is the real one."""
    studio, settings = label_studio.studio, Settings(data_dir=tmp_path)
    config = (CONFIGS / "mitosis.xml").read_text(encoding="utf-8")
    number = studio.create_project("Dripping", config).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    pixels, _ = generate_field(np.random.default_rng(1), size=(347, 260), scale=0.25)
    cv2.imwrite(str(folder / "good.png"), pixels[..., ::-1])
    studio.add_media_folder(number, folder)
    good = {"data": {"image": f"/data/local-files/?d={number}/good.png"}}

    class Drip(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(0.2):
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

        def log_message(self, *args: object) -> None:
            pass

    ended = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Drip) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        slow = [{"data": {"image": f"{url}/{n}.png"}} for n in range(20)]
        *late, first, second = studio.import_tasks(number, [*slow, good, good])

        projects = Projects(settings.projects_database)
        token = label_studio.account.token
        project = Project(number, label_studio.url, token, "Dripping", config)
        projects.connect(project)
        projects.add_left_out(number, [(10**9, "its image is gone"), (late[0], "not yet")])
        registry.promote(str(number), registry.list_versions()[0].name, by="test", reason="start")
        images = ImageSource(
            label_studio.url,
            token,
            project=number,
            max_seconds=40,
            hosts=ImageHosts.parse(f"127.0.0.1:{server.server_port}"),
        )
        models = ModelCache(settings, registry)
        models.get_preannotator(project)  # loaded now
        publisher = Publisher(project, projects, models, registry, studio, images)
        monkeypatch.setattr(publish, "SLOW_SECONDS", 50.0)
        publishing = threading.Thread(target=publisher.publish)
        started = time.monotonic()
        publishing.start()
        held: set[int] = set()
        while held != {first, second}:
            assert time.monotonic() - started < 25, "the good ones wait for the others"
            held = {task["id"] for task in studio.list_tasks(number) if task["predictions"]}
            time.sleep(0.2)
        publishing.join(90)
        assert not publishing.is_alive()
        listed = {row["task"]: row["reason"] for row in projects.list_left_out(number)}
        assert set(listed) == set(late)
        assert all("too slow" in why or "took longer" in why for why in listed.values())
        ended.set()
        server.shutdown()
