"""Connected projects and the notes between server and worker."""

import sqlite3
import threading
from pathlib import Path

import pytest

from ml_backend.state.projects import NotConnected, OtherStudio, Project, Projects


@pytest.fixture
def projects(tmp_path: Path) -> Projects:
    return Projects(tmp_path / "deep" / "projects.sqlite")


def project(number: int, url: str = "http://studio") -> Project:
    return Project(number, url, "token", "A project", "<View/>")


def test_a_project_reads_back(projects: Projects) -> None:
    projects.connect(project(3))
    projects.update_labels(3, "<View>new</View>")
    assert projects.get(3).label_config == "<View>new</View>"
    assert [one.id for one in projects.all()] == [3]


def test_an_unknown_project_says_how_to_connect_it(projects: Projects) -> None:
    with pytest.raises(NotConnected, match="cytoloop connect"):
        projects.get(7)


def test_ids_of_two_servers_are_not_mixed(projects: Projects) -> None:
    projects.connect(project(3))
    projects.connect(project(4, "http://studio/"))
    with pytest.raises(OtherStudio, match="--data-dir"):
        projects.connect(project(3, "http://other"))


def test_a_server_that_moved_keeps_its_projects(projects: Projects) -> None:
    one = project(1)
    projects.connect(one)
    projects.move(one.url + "/", "http://127.0.0.1:9999", "new")
    moved = projects.get(one.id)
    assert (moved.url, moved.token, moved.title) == ("http://127.0.0.1:9999", "new", one.title)
    projects.move("http://elsewhere", "http://127.0.0.1:1", "other")
    assert projects.get(one.id) == moved


def test_a_forgotten_project_leaves_no_note(projects: Projects) -> None:
    one = project(1)
    projects.connect(one)
    projects.leave(one.id, "changed")
    projects.leave_out(one.id, [(1, "too large")])
    projects.forget(one.id)
    assert projects.all() == [] and projects.notes() == [] and projects.left_out() == []


def test_a_note_left_again_is_not_lost(projects: Projects) -> None:
    projects.leave(1, "changed")
    ((_, kind, _, last),) = projects.notes()
    assert kind == "changed"
    projects.leave(1, "changed")  # while the first is acted on
    projects.take(1, "changed", last)
    assert len(projects.notes()) == 1
    ((_, _, _, last),) = projects.notes()
    projects.take(1, "changed", last)
    assert projects.notes() == []


def test_notes_from_many_threads_are_one(projects: Projects) -> None:
    threads = [threading.Thread(target=projects.leave, args=(1, "changed")) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(projects.notes()) == 1


def test_a_note_that_could_not_be_written_comes_with_the_next(projects: Projects) -> None:
    """As on a full disk: who left it is told, and it is not forgotten."""
    blocker = sqlite3.connect(projects._path)
    blocker.execute("alter table note rename to away")
    blocker.commit()
    with pytest.raises(sqlite3.OperationalError):
        projects.leave(1, "train")
    blocker.execute("alter table away rename to note")
    blocker.commit()
    blocker.close()
    projects.leave(2, "changed")
    assert {(number, kind) for number, kind, _, _ in projects.notes()} == {
        (1, "train"),
        (2, "changed"),
    }


def test_tasks_left_out_are_listed_until_let_in(projects: Projects) -> None:
    projects.leave_out(1, [(10, "zero bytes"), (11, "404")])
    projects.leave_out(2, [(10, "404")])
    projects.let_in(1, [11])
    (entry,) = projects.left_out(1)
    assert (entry["task"], entry["reason"]) == (10, "zero bytes")
    assert len(projects.left_out()) == 2


def test_the_first_certainties_of_a_version_are_kept(projects: Projects) -> None:
    few, many = [0.5], [i / 20 for i in range(20)]
    assert list(projects.certainties(1, "v1")) == []
    assert projects.certainties(1, "v1", few) == few
    assert projects.certainties(1, "v1", many) == many
    assert projects.certainties(1, "v1", [0.0] * 40) == projects.certainties(1, "v1") == many
    assert projects.certainties(2, "v1", few) == projects.certainties(1, "v2", few) == few


def test_the_last_attempt_is_the_newest(projects: Projects) -> None:
    assert projects.last_attempt(1) is None
    projects.attempted(1, "s1", "promoted")
    projects.attempted(1, "s2", "not promoted")
    assert projects.last_attempt(1) == "s2"
