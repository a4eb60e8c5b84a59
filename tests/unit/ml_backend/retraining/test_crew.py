"""Workers: one on a data folder; on PostgreSQL several, of which one leads."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest
from dbos import DBOS

from ml_backend.retraining.crew import (
    SharedCrew,
    WorkerRunning,
    is_worker_running,
    join_crew,
)
from ml_backend.retraining.job_queue import JobQueue
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.system.retry import wait_until


def test_a_data_folder_has_one_worker(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert not is_worker_running(settings)
    with join_crew(settings) as crew:
        assert is_worker_running(settings)
        assert crew.leads() and crew.find_gone(["other"]) == set()
        with pytest.raises(WorkerRunning, match=str(tmp_path)), join_crew(settings):
            pass
    assert not is_worker_running(settings)


def test_one_of_several_leads_until_it_is_gone(tmp_path: Path, postgres_address: str) -> None:
    settings = Settings(data_dir=tmp_path, database_url=postgres_address)
    with join_crew(settings) as second:
        with join_crew(settings) as first:
            assert first.leads() and not second.leads() and is_worker_running(settings)
            assert second.find_gone([first.name, "never-there"]) == {"never-there"}
        # PostgreSQL frees its locks in a moment.
        assert wait_until(second.leads, every=0.01, timeout=30) and second.leads()
        assert second.find_gone([first.name]) == {first.name}
    assert wait_until(lambda: not is_worker_running(settings), every=0.01, timeout=30)


def test_a_worker_whose_connection_broke_joins_again(postgres_address: str) -> None:
    first, second = SharedCrew(postgres_address), SharedCrew(postgres_address)
    assert first.leads()
    with psycopg.connect(postgres_address, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_locks"
            " where locktype = 'advisory' and pid <> pg_backend_pid()"
        )
    assert not first.leads()  # it was not there for a while; another may lead
    second.leads()
    assert [first.leads(), second.leads()].count(True) == 1
    assert first.find_gone([first.name, second.name]) == set()
    first.leave()
    second.leave()


def test_jobs_of_a_worker_that_is_gone_go_on_with_another(
    tmp_path: Path, postgres_address: str
) -> None:
    settings = Settings(data_dir=tmp_path, database_url=postgres_address)
    with join_crew(settings) as crew:
        queue = JobQueue(settings, crew)
        queue.launch()
        try:
            assert queue.enqueue("publish", 3)  # of no project: it is forgotten, and done
            assert wait_until(lambda: not queue.is_busy("publish", 3), every=0.05, timeout=30)
            # As if a worker had been killed in the midst of it.
            with psycopg.connect(postgres_address) as connection:
                connection.execute(
                    "update dbos.workflow_status set status = 'PENDING', executor_id = 'gone'"
                )
            Projects(postgres_address).add_note(3, "publish")
            queue.revive()
            queue.revive()  # not its own
            assert queue.is_busy("publish", 3)
            started = time.time()
            queue.take_over()
            assert wait_until(lambda: not queue.is_busy("publish", 3), every=0.05, timeout=30)
            assert Projects(postgres_address).list_notes() == []  # it was done once more
            (job,) = DBOS.list_workflows()
            assert job.executor_id == crew.name and (job.updated_at or 0) >= started * 1000 - 1000
        finally:
            DBOS.destroy()
