"""What of the worker's log is shown on the terminal of `up`."""

from __future__ import annotations

from pathlib import Path

from ml_backend.state.training_progress import Training
from tasks.launcher.worker_log import WorkerLog, describe_trainings


def test_only_what_is_new_and_of_projects_is_told_and_nothing_twice(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("2026-11-21 19:46:26,244 INFO project 1: old\n")
    worker_log = WorkerLog(log)
    assert list(worker_log.read_new_lines()) == []
    with log.open("a") as file:
        file.write("2026-11-21 19:58:41,712 INFO project 1: training was asked for\n")
        file.write("2026-11-21 19:58:45,001 INFO project 1: training epoch 1, epochs 40\n")
        file.write("Traceback (most recent call last):\n")
        file.write("2026-11-21 19:59:00,000 WARNING project 2: nothing is drawn\n")
        file.write("2026-11-21 20:04:00,000 WARNING project 2: nothing is drawn\n")
        file.write("2026-11-21 20:05:00,000 INFO project 1: v1 is the cham")
    assert list(worker_log.read_new_lines()) == [
        "19:58  project 1: training was asked for",
        "19:59  project 2: nothing is drawn",
    ]
    with log.open("a") as file:
        file.write("pion now\n")
    assert list(worker_log.read_new_lines()) == ["20:05  project 1: v1 is the champion now"]
    assert list(worker_log.read_new_lines()) == []


def test_what_goes_on_is_one_line() -> None:
    assert describe_trainings([]) == "Waiting for corrections"
    assert describe_trainings([Training("1", 0.0, 0.0)]) == "Training for project 1"
    half = Training("1", 0.0, 0.0, epoch=12, epochs=40, loss=3.0, seconds_left=170.0)
    assert describe_trainings([half]) == "Training for project 1: pass 12 of 40, about 3 min left"
