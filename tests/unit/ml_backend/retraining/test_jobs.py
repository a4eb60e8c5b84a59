"""Jobs that something passing stopped: put off ever longer, but not for who asks."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from ml_backend.learners.base import TrainingInterrupted
from ml_backend.retraining.jobs import context, put_off
from ml_backend.settings import Settings


def test_a_job_put_off_keeps_its_wish_and_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(data_dir=tmp_path)
    context.open(settings)
    waits = context.projects.is_put_off
    with caplog.at_level(logging.ERROR):
        for _ in range(12):
            put_off("improve", 5, OSError("the disk is full"))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "project 5: not trained: the disk is full; again in 60 s"
    assert [line.split("again in ")[1] for line in lines[1:3]] == ["240 s", "300 s"]
    assert lines[-1].endswith(f"again in {settings.reconcile_seconds:.0f} s")

    # The wish is there, but waits; a person who asks now does not.
    ((project, note, _, left),) = context.projects.list_notes()
    assert (project, note) == (5, "train")
    assert waits(5, "improve") and waits(5, "improve", left)
    assert not waits(5, "improve", time.time() + 1)
    assert not waits(5, "publish") and not waits(6, "improve")
    context.projects.end_waits()
    assert not waits(5, "improve")

    # A training that is killed again and again is tried ever less often.
    for _ in range(10):
        put_off("improve", 6, TrainingInterrupted("killed"))
    assert caplog.records[-1].getMessage().endswith("again in 14400 s")


def test_a_database_fault_is_told_in_one_line_without_its_statement(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context.open(Settings(data_dir=tmp_path))
    put_off("publish", 7, OSError("disk I/O\n error\n[SQL: insert into x]\n(more)"))
    assert caplog.messages == ["project 7: not published: disk I/O error; again in 60 s"]
    assert [note for _, note, _, _ in context.projects.list_notes()] == ["publish"]
