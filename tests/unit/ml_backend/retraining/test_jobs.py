"""Jobs that something passing stopped: put off ever longer, but not for who asks."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from ml_backend.retraining import jobs as room
from ml_backend.retraining.jobs import Jobs
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects


def test_a_job_put_off_keeps_its_wish_and_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(data_dir=tmp_path)
    projects, jobs = Projects(settings.projects_database), Jobs(settings)
    assert not jobs.waits("improve", 5)
    with caplog.at_level(logging.ERROR):
        for _ in range(600):  # two days of an absent server
            jobs._put_off("improve", 5, OSError("the disk is full"))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "project 5: not trained: the disk is full; again in 60 s"
    assert [line.split("again in ")[1] for line in lines[1:3]] == ["240 s", "300 s"]
    assert lines[-1].endswith(f"again in {settings.reconcile_seconds:.0f} s")

    # The wish is there, but waits; a person who asks now does not.
    assert [(project, kind) for project, kind, _, _ in projects.notes()] == [(5, "train")]
    ((_, _, _, left),) = projects.notes()
    assert jobs.waits("improve", 5) and jobs.waits("improve", 5, left)
    assert not jobs.waits("improve", 5, time.time() + 1)
    assert not jobs.waits("publish", 5) and not jobs.waits("improve", 6)

    # A training that is killed again and again is tried ever less often.
    error = room.TrainingInterrupted("killed")
    jobs._put_off("improve", 6, error, room._LONGEST)
    for _ in range(9):
        jobs._put_off("improve", 6, error, room._LONGEST)
    assert caplog.records[-1].getMessage().endswith("again in 14400 s")
    jobs._done_well("improve", 5)
    assert not jobs.waits("improve", 5)
