"""Connected projects and the notes between server and worker."""

import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml_backend.dataset.corrections import ShownRegions
from ml_backend.state.projects import NotConnected, OtherStudio, Project, Projects
from ml_backend.system.database import DatabaseError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "projects.sqlite"


@pytest.fixture(params=["sqlite", "postgresql"])
def projects(request: pytest.FixtureRequest, path: Path) -> Projects:
    in_file = request.param == "sqlite"
    return Projects(path if in_file else request.getfixturevalue("postgres_address"))


def project(number: int, url: str = "http://studio") -> Project:
    return Project(number, url, "token", "A project", "<View/>")


def test_a_project_reads_back(projects: Projects) -> None:
    projects.connect(project(3))
    projects.update_labels(3, "<View>new</View>")
    assert projects.get(3).label_config == "<View>new</View>"
    assert [connected.id for connected in projects.list_projects()] == [3]


def test_an_unknown_project_says_how_to_connect_it(projects: Projects) -> None:
    with pytest.raises(NotConnected, match="cytoloop connect"):
        projects.get(7)


def test_ids_of_two_servers_are_not_mixed(projects: Projects) -> None:
    projects.connect(project(3))
    projects.connect(project(4, "http://studio/"))
    with pytest.raises(OtherStudio, match="--data-dir"):
        projects.connect(project(3, "http://other"))


def test_a_server_that_moved_keeps_its_projects(projects: Projects) -> None:
    connected = project(1)
    projects.connect(connected)
    projects.move(connected.url + "/", "http://127.0.0.1:9999", "new")
    moved = projects.get(connected.id)
    assert (moved.url, moved.token, moved.title) == (
        "http://127.0.0.1:9999",
        "new",
        connected.title,
    )
    projects.move("http://elsewhere", "http://127.0.0.1:1", "other")
    assert projects.get(connected.id) == moved


def test_a_forgotten_project_leaves_no_note(projects: Projects) -> None:
    connected = project(1)
    projects.connect(connected)
    projects.add_note(connected.id, "changed")
    projects.add_left_out(connected.id, [(1, "too large")])
    projects.forget(connected.id)
    assert (
        projects.list_projects() == []
        and projects.list_notes() == []
        and projects.list_left_out() == []
    )


def test_a_note_left_again_is_not_lost(projects: Projects) -> None:
    projects.add_note(1, "changed")
    ((_, kind, _, last),) = projects.list_notes()
    assert kind == "changed"
    projects.add_note(1, "changed")  # while the first is acted on
    projects.remove_note(1, "changed", last)
    assert len(projects.list_notes()) == 1
    ((_, _, _, last),) = projects.list_notes()
    projects.remove_note(1, "changed", last)
    assert projects.list_notes() == []


def test_notes_from_many_threads_are_one(projects: Projects) -> None:
    threads = [threading.Thread(target=projects.add_note, args=(1, "changed")) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(projects.list_notes()) == 1


def test_a_note_that_could_not_be_written_comes_with_the_next(path: Path) -> None:
    """As on a full disk: who left it is told, and it is not forgotten."""
    projects = Projects(path)
    blocker = sqlite3.connect(path)
    blocker.execute("alter table note rename to away")
    blocker.commit()
    with pytest.raises(DatabaseError):
        projects.add_note(1, "train")
    blocker.execute("alter table away rename to note")
    blocker.commit()
    blocker.close()
    projects.add_note(2, "changed")
    assert {(number, kind) for number, kind, _, _ in projects.list_notes()} == {
        (1, "train"),
        (2, "changed"),
    }


def test_tasks_left_out_are_listed_until_let_in(projects: Projects) -> None:
    projects.add_left_out(1, [(10, "zero bytes"), (11, "404")])
    projects.add_left_out(2, [(10, "404")])
    projects.remove_left_out(1, [11])
    (entry,) = projects.list_left_out(1)
    assert (entry["task"], entry["reason"]) == (10, "zero bytes")
    assert len(projects.list_left_out()) == 2


def test_the_first_scores_of_a_version_by_a_strategy_are_kept(projects: Projects) -> None:
    few, many = [0.5], [i / 20 for i in range(20)]
    key = (1, "v1", "certainty")
    assert list(projects.keep_queue_scores(*key)) == []
    assert projects.keep_queue_scores(*key, few) == few
    assert projects.keep_queue_scores(*key, many) == many
    assert projects.keep_queue_scores(*key, [0.0] * 40) == projects.keep_queue_scores(*key) == many
    for other in ((2, "v1", "certainty"), (1, "v2", "certainty"), (1, "v1", "random")):
        assert projects.keep_queue_scores(*other, few) == few


def test_the_share_of_tasks_that_show_a_box_is_that_of_all_that_were_counted(
    projects: Projects,
) -> None:
    assert projects.count_foreground(1, "v1", 0, 0) == 1 / 2  # nothing is known
    assert projects.count_foreground(1, "v1", 3, 8) == 4 / 10
    assert projects.count_foreground(1, "v1", 1, 24) == 5 / 34
    assert projects.count_foreground(1, "v2", 1, 1) == projects.count_foreground(2, "v1", 1, 1)
    counted = [
        threading.Thread(target=projects.count_foreground, args=(3, "v", 1, 2)) for _ in range(20)
    ]
    for thread in counted:
        thread.start()
    for thread in counted:
        thread.join()
    assert projects.count_foreground(3, "v", 0, 0) == 21 / 42


def test_a_strategy_stays_when_a_project_is_connected_again(projects: Projects) -> None:
    projects.connect(project(1))
    assert projects.get_strategy(1) is None
    projects.choose_strategy(1, "random")
    projects.connect(project(1))
    projects.choose_strategy(2, "certainty")
    assert (projects.get_strategy(1), projects.get_strategy(2)) == ("random", "certainty")
    projects.forget(1)
    assert projects.get_strategy(1) is None


def test_scores_are_changed_once_for_a_strategy_and_from_where_it_stopped(
    projects: Projects,
) -> None:
    # Whatever was scored before there were strategies follows the first.
    assert projects.rescore_after(1, "v1", "certainty") is None
    assert projects.rescore_after(1, "v1", "random") == 0
    projects.note_rescored(1, "v1", "random", until=40)
    assert projects.rescore_after(1, "v1", "random") == 40
    assert projects.rescore_after(1, "v1", "certainty") == 0  # chosen again half-way
    projects.note_rescored(1, "v1", "random")
    assert projects.rescore_after(1, "v1", "random") is None
    assert projects.rescore_after(1, "v1", "certainty") == 0
    assert projects.rescore_after(1, "v2", "random") == projects.rescore_after(2, "v1", "random")


# As the tables were when there was one strategy.
FORMER = """
pragma journal_mode = wal;
create table project (
    id integer primary key, url text not null, token text not null,
    title text not null, label_config text not null
);
create table certainty (
    project integer not null, version text not null, among text not null,
    primary key (project, version)
);
insert into project values (1, 'http://studio', 'token', 'A project', '<View/>');
insert into certainty values (1, 'v1', '[0.25, 0.5]');
"""


def test_a_data_folder_from_before_there_were_strategies_opens(tmp_path: Path) -> None:
    path = tmp_path / "projects.sqlite"
    with sqlite3.connect(path) as database:
        database.executescript(FORMER)
    for _ in range(2):
        projects = Projects(path)
        assert projects.list_projects() == [project(1)]
        assert projects.get_strategy(1) is None
        assert projects.keep_queue_scores(1, "v1", "certainty") == [0.25, 0.5]
        assert list(projects.keep_queue_scores(1, "v1", "random")) == []


def test_processes_that_open_a_former_data_folder_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "projects.sqlite"
    with sqlite3.connect(path) as database:
        database.executescript(FORMER)
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(Projects, [path] * 8))
    assert all(store.keep_queue_scores(1, "v1", "certainty") == [0.25, 0.5] for store in opened)


def test_an_id_beyond_every_integer_belongs_to_no_project(projects: Projects) -> None:
    for number in (2**63, -(2**80)):
        with pytest.raises(NotConnected):
            projects.get(number)


def test_any_text_is_kept(projects: Projects) -> None:
    """Also what a database refuses: half letters, and a zero character."""
    projects.connect(Project(1, "http://studio", "token", "Zellen ü \ud83d \x00", "<View/>"))
    assert projects.get(1).title == "Zellen ü \\ud83d \\x00"


def test_what_an_annotation_started_from_stays_what_it_was(projects: Projects) -> None:
    first, second = ShownRegions("v1", [{"id": "a"}]), ShownRegions("v2", [])
    projects.keep_shown_regions(1, {})
    projects.keep_shown_regions(1, {5: first, 6: second})
    projects.keep_shown_regions(1, {5: second})
    assert projects.get_shown_regions(1) == {5: first, 6: second}
    assert projects.get_shown_regions(1, ["v2"]) == {6: second}


def test_a_job_that_failed_waits_until_it_is_done_or_asked_for(projects: Projects) -> None:
    assert projects.count_failures(1, "improve") == 0
    for _ in range(2):
        projects.keep_trouble(1, "improve", "the disk is full", 60)
    assert projects.count_failures(1, "improve") == 2
    ((job, reason, at),) = projects.list_troubles(1)
    assert (job, reason) == ("improve", "the disk is full")
    assert projects.is_put_off(1, "improve") and projects.is_put_off(1, "improve", at)
    assert not projects.is_put_off(1, "improve", at + 1)
    assert not projects.is_put_off(1, "publish") and not projects.is_put_off(2, "improve")
    projects.end_waits()
    assert not projects.is_put_off(1, "improve") and projects.list_troubles(1)
    projects.keep_trouble(1, "improve", "again", 60)
    projects.clear_trouble(1, "improve")
    assert not projects.is_put_off(1, "improve") and projects.list_troubles(1) == []


def test_what_was_measured_is_new_only_if_it_changed(projects: Projects) -> None:
    assert projects.get_agreement(1) == {}
    assert projects.keep_agreement(1, {"alpha": 0.5, "tasks": 3})
    assert not projects.keep_agreement(1, {"tasks": 3, "alpha": 0.5})
    assert projects.keep_agreement(1, {"alpha": 0.6})
    assert projects.get_agreement(1) == {"alpha": 0.6}


def test_polling_is_chosen_and_taken_back(projects: Projects) -> None:
    for polled in (True, True, False, False):
        projects.choose_polling(1, polled)
        assert projects.is_polled(1) == polled and not projects.is_polled(2)


def test_requests_come_newest_first(projects: Projects) -> None:
    projects.record_request(1, "train", "a@b")
    projects.record_request(1, "roll back", "c@d")
    assert [what for what, _, _ in projects.list_requests(1)] == ["roll back", "train"]
    assert len(projects.list_requests(1, limit=1)) == 1 and projects.list_requests(2) == []


def test_the_last_attempt_is_the_newest(projects: Projects) -> None:
    assert projects.get_last_attempt(1) is None
    projects.record_attempt(1, "s1", "promoted")
    projects.record_attempt(1, "s2", "not promoted")
    assert projects.get_last_attempt(1) == "s2"


@pytest.mark.skipif(os.name != "posix", reason="the locks that are meant are POSIX's")
def test_opening_twice_loses_nothing_to_another_process(tmp_path: Path) -> None:
    """Closing a second handle of the file must not drop the locks of the first."""
    path = tmp_path / "projects.sqlite"
    first = Projects(path)
    second = Projects(path)
    first.connect(Project(1, "http://127.0.0.1:9", "token", "A", "<View/>"))
    # Another process that comes and goes would take the log for its own and remove it.
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "c.execute('select count(*) from note').fetchone(); c.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.with_name("projects.sqlite-wal").exists()
    second.record_attempt(1, "snapshot", "outcome")
    assert first.get_last_attempt(1) == "snapshot"


def test_the_goal_and_the_estimate_of_a_project(projects: Projects) -> None:
    assert (projects.get_goal(1), projects.get_estimate(1)) == ("learn", None)
    projects.choose_goal(1, "count")
    projects.keep_estimate(1, {"estimates": []})
    projects.keep_estimate(1, {"estimates": [{"what": "x"}]})
    assert projects.get_goal(1) == "count" and projects.get_goal(2) == "learn"
    assert projects.get_estimate(1) == {"estimates": [{"what": "x"}]}
    projects.forget(1)
    assert (projects.get_goal(1), projects.get_estimate(1)) == ("learn", None)
