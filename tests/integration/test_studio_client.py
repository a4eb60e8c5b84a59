"""The client against a real Label Studio: what we rely on, and what the server really does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ml_backend.label_studio import session
from ml_backend.label_studio.client import VIEW_TITLE, Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.people import check_password
from ml_backend.label_studio.session import (
    ProjectGone,
    StudioFault,
    StudioRefused,
    StudioUnreachable,
)
from tests.conftest import RunningStudio

LABELS = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image">
<Label value="Mitotic cell"/><Label value="Other"/></RectangleLabels></View>"""

numbers = itertools.count(1)


def region(x: float = 10, label: str = "Mitotic cell", **changes: Any) -> dict[str, Any]:
    return {
        "id": f"region{x}",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 640,
        "original_height": 480,
        "image_rotation": 0,
        "score": 0.9,
        "value": {
            "x": x, "y": 10, "width": 5, "height": 5, "rotation": 0, "rectanglelabels": [label],
        },
    } | changes  # fmt: skip


@pytest.fixture
def project(label_studio: RunningStudio) -> int:
    return label_studio.studio.create_project(f"Project {next(numbers)}", LABELS).id


@pytest.fixture
def studio(label_studio: RunningStudio) -> Studio:
    return label_studio.studio


def add(studio: Studio, project: int, count: int) -> list[int]:
    return studio.import_tasks(
        project, [{"data": {"image": f"/data/upload/{i}.png"}} for i in range(count)]
    )


def raw(label_studio: RunningStudio) -> httpx.Client:
    refreshed = httpx.post(
        f"{label_studio.url}/api/token/refresh/", json={"refresh": label_studio.account.token}
    ).json()
    return httpx.Client(
        base_url=label_studio.url, headers={"Authorization": f"Bearer {refreshed['access']}"}
    )


def test_a_project_is_made_to_show_pre_annotations_least_certain_first(
    label_studio: RunningStudio, project: int
) -> None:
    found = label_studio.studio.get_project(project)
    assert (found.id, found.label_config, found.model_version) == (project, LABELS, "")
    assert found.created > 1.6e9
    assert project in {entry.id for entry in label_studio.studio.list_projects()}
    with raw(label_studio) as http:
        settings = http.get(f"/api/projects/{project}").json()
    assert settings["sampling"] == "Uncertainty sampling"
    assert settings["show_collab_predictions"] is True


def test_tasks_come_once_each_over_all_pages(studio: Studio, project: int) -> None:
    seen: list[tuple[int, int]] = []
    tasks = [{"data": {"image": f"/data/upload/{i}.png"}} for i in range(10)]
    ids = studio.import_tasks(
        project, tasks, chunk=4, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(4, 10), (8, 10), (10, 10)]
    assert len(set(ids)) == 10
    for page in (3, 5, 10, 100):
        read = list(studio.list_tasks(project, page=page))
        assert [task["id"] for task in read] == sorted(ids)
    assert read[0]["data"] == {"image": "/data/upload/0.png"}
    assert [task["id"] for task in studio.list_tasks(project, ids=ids[2:4])] == ids[2:4]
    assert list(studio.list_tasks(project, ids=[])) == []


def test_tasks_deleted_while_reading_hide_no_other(
    label_studio: RunningStudio, project: int
) -> None:
    ids = add(label_studio.studio, project, 6)
    reading = label_studio.studio.list_tasks(project, page=2)
    first = [next(reading)["id"], next(reading)["id"]]
    with raw(label_studio) as http:
        for gone in first:
            assert http.delete(f"/api/tasks/{gone}/").status_code == 204
    assert first + [task["id"] for task in reading] == ids


def test_untouched_is_without_annotation_draft_and_skip(
    label_studio: RunningStudio, project: int
) -> None:
    studio = label_studio.studio
    plain, annotated, skipped, drafted = add(studio, project, 4)
    studio.submit_annotation(annotated, [])
    with raw(label_studio) as http:
        skip = {"result": [], "was_cancelled": True}
        assert http.post(f"/api/tasks/{skipped}/annotations", json=skip).status_code == 201
        draft = {"result": [region()], "lead_time": 1}
        assert http.post(f"/api/tasks/{drafted}/drafts", json=draft).status_code == 201
    assert [task["id"] for task in studio.list_untouched_tasks(project)] == [plain]
    assert studio.count_untouched(project) == 1
    assert [task["id"] for task in studio.list_annotated_tasks(project)] == [annotated]


def test_the_draft_of_another_user_counts_as_touched(
    label_studio: RunningStudio, project: int
) -> None:
    plain, drafted = add(label_studio.studio, project, 2)
    with raw(label_studio) as http:
        invite = http.get("/api/invite").json()["token"]
    with httpx.Client(base_url=label_studio.url, follow_redirects=True) as other:
        page = f"/user/signup/?token={invite}"
        other.get(page)
        form = {"email": "second@localhost.org", "password": "a long password 1"}
        other.post(page, data=form | {"csrfmiddlewaretoken": other.cookies["csrftoken"]})
        headers = {"X-CSRFToken": other.cookies["csrftoken"]}
        draft = {"result": [region()], "lead_time": 1}
        reply = other.post(f"/api/tasks/{drafted}/drafts", json=draft, headers=headers)
        assert reply.status_code == 201, reply.text
    assert [task["id"] for task in label_studio.studio.list_untouched_tasks(project)] == [plain]


def test_a_version_is_shown_once_it_has_pre_annotations_and_orders_the_tasks(
    label_studio: RunningStudio, project: int
) -> None:
    studio = label_studio.studio
    ids = add(studio, project, 5)
    assert studio.set_model_version(project, "v1") is False
    scores = dict(zip(ids, (0.9, 0.2, 0.7, 0.4), strict=False))
    studio.import_predictions(
        project, LABELS, [(task, "v1", score, [region()]) for task, score in scores.items()]
    )
    assert studio.set_model_version(project, "v1") is True
    assert studio.set_model_version(project, "v1") is True
    assert studio.get_project(project).model_version == "v1"
    assert [task["id"] for task in studio.list_untouched_tasks(project, without="v1")] == ids[4:]
    assert studio.count_untouched(project, without="v1") == 1
    shown = {
        task["id"]: task["predictions"] for task in studio.list_untouched_tasks(project, full=True)
    }
    assert {task: shown[task][0]["score"] for task in scores} == scores
    studio.import_predictions(project, LABELS, [(ids[1], "v0", 0.1, [])])
    assert [task["id"] for task in studio.list_untouched_tasks(project, several=True)] == [ids[1]]
    studio.delete_predictions(
        entry["id"]
        for task in studio.list_untouched_tasks(project, several=True, full=True)
        for entry in task["predictions"]
        if entry["model_version"] == "v0"
    )

    studio.ensure_view(project)
    studio.ensure_view(project)
    with raw(label_studio) as http:
        views = http.get("/api/dm/views", params={"project": project}).json()
        assert [view["data"]["title"] for view in views] == [VIEW_TITLE]
        rows = http.get("/api/tasks", params={"view": views[0]["id"]}).json()["tasks"]
        following = http.get(f"/api/projects/{project}/next").json()
    ascending = sorted(scores, key=lambda task: scores[task])
    assert [row["id"] for row in rows] == [*ascending, ids[4]]
    assert [row["predictions_score"] for row in rows] == [0.2, 0.4, 0.7, 0.9, None]
    assert following["id"] == ascending[0]


@pytest.mark.parametrize(
    "bad",
    [
        region(from_name="nowhere"),
        region(label="Unheard of"),
        region(x=300),
        {"type": "rectanglelabels", "value": {}},
    ],
)
def test_an_invalid_pre_annotation_is_left_out_alone(
    studio: Studio, project: int, bad: dict[str, Any]
) -> None:
    tasks = add(studio, project, 2)
    ((task, reason),) = studio.import_predictions(
        project, LABELS, [(tasks[0], "v1", 0.5, [region()]), (tasks[1], "v1", 0.5, [bad])]
    )
    assert task == tasks[1] and "does not fit the labels" in reason
    assert studio.count_untouched(project, without="v1") == 1


def test_the_server_refuses_an_annotation_whose_pre_annotation_was_deleted(
    studio: Studio, project: int
) -> None:
    """Why old pre-annotations must not be deleted while somebody may have them open."""
    (task,) = add(studio, project, 1)
    studio.import_predictions(project, LABELS, [(task, "v1", 0.5, [region()])])
    (prediction,) = (entry["id"] for entry in next(studio.list_tasks(project))["predictions"])
    studio.delete_predictions([prediction])
    studio.delete_predictions([prediction])  # gone already: fine
    with pytest.raises(StudioFault, match="Invalid pk"):
        studio.submit_annotation(task, [region()], parent_prediction=prediction)
    assert studio.submit_annotation(task, [region()]) > 0


def test_images_need_the_token_and_come_with_it(label_studio: RunningStudio, project: int) -> None:
    folder = label_studio.media / str(project)
    folder.mkdir(parents=True)
    (folder / "a cell.png").write_bytes(b"pixels")
    label_studio.studio.add_media_folder(project, folder)
    label_studio.studio.add_media_folder(project, folder)
    address = f"/data/local-files/?d={project}/a%20cell.png"
    assert httpx.get(f"{label_studio.url}{address}").status_code == 401
    with raw(label_studio) as http:
        upload = {"file": ("b.png", b"\x89PNG uploaded", "image/png")}
        http.post(f"/api/projects/{project}/import", files=upload).raise_for_status()
    uploaded = [task["data"]["image"] for task in label_studio.studio.list_tasks(project)]
    source = ImageSource(label_studio.url, label_studio.account.token, project=project)
    got = dict(source.fetch([address, *uploaded, f"{address}.missing", "s3://none/1.png"]))
    assert got[0] == b"pixels"
    assert got[1] == b"\x89PNG uploaded"
    assert "HTTP 404" in str(got[2])
    assert "HTTP 404" in str(got[3])


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda s: s.get_project(999_999), ProjectGone, "no such project"),
        (lambda s: list(s.list_tasks(999_999)), ProjectGone, "no such project"),
        (lambda s: s.create_project("ab", LABELS), StudioFault, "at least 3 characters"),
        (lambda s: s.create_project("abc", "<View><Open>"), StudioFault, "label_config"),
    ],
)
def test_faults_are_one_line_of_their_kind(
    studio: Studio, act: Callable[[Studio], Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        act(studio)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoil", [lambda t: t[:-3] + "abc", lambda t: "0123456789abcdef"])
def test_a_token_that_is_not_accepted_is_told(
    label_studio: RunningStudio, spoil: Callable[[str], str]
) -> None:
    with pytest.raises(StudioRefused, match="personal access token"):
        Studio(label_studio.url, spoil(label_studio.account.token)).list_projects()


def test_a_server_that_is_not_there_is_told(
    label_studio: RunningStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "WAITS", (0.01, 0.01))
    with pytest.raises(StudioUnreachable, match="does not answer"):
        Studio("http://127.0.0.1:9", label_studio.account.token).list_projects()


def test_label_studio_says_who_somebody_is(label_studio: RunningStudio) -> None:
    account, url = label_studio.account, label_studio.url
    person = label_studio.studio.get_person()
    assert person.email == account.username and person.id > 0
    assert check_password(url, account.username, account.password) == person
    assert check_password(url, account.username, "wrong") is None
    with pytest.raises(StudioUnreachable):
        check_password("http://127.0.0.1:9", account.username, account.password)


def test_a_description_leads_to_the_page_once(label_studio: RunningStudio) -> None:
    studio = label_studio.studio
    project = studio.create_project("Leads to the page", LABELS, "Of spring").id
    for address in ("http://127.0.0.1:9090/a", "http://127.0.0.1:9090/b"):
        studio.link_page(project, address)
        found = studio.session.call(studio.session.sdk.projects.get, project)
        assert found.description == f"Of spring\nHow it learns: {address}"
    studio.link_page(project, None)
    assert studio.session.sdk.projects.get(project).description == "Of spring"
