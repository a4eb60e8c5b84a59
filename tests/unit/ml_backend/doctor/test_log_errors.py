"""The last error of a log, and what it means."""

from __future__ import annotations

from datetime import datetime

import pytest

from ml_backend.doctor.log_errors import MEANINGS, find_last_error, find_meaning

STAMP = "2026-11-29 03:04:05,678"
# As the product and Label Studio write them.
LINES = {
    "project 1: Label Studio at http://x refuses the token (Token is blacklisted); make": "token",
    "core.utils.exceptions.SsrfBlockedUrlError: URL resolves to a reserved network": "protection",
    "project 3: Label Studio at http://x has no such project or task (No Project); it is "
    "forgotten here": "deleted",
    "the disk is full, /d/x.json was not written: make room and do the same again": "disk",
    "sqlite3.OperationalError: database is locked": "another process",
    "the data folder /d cannot be used: unable to open; trying again in 10 s": "data folder",
    "project 1: not trained: none of the 4 corrected training tasks of project 1 has a mark of a "
    "headline class; mark some and try again; again in 60 s": "nothing to learn",
    "v2 was not promoted: not judged: there is no corrected task that neither was trained": "exam",
    "project 1: the hold-out lost task 4: deleted; figures from before": "held-out",
    "ImportError: libGL.so.1: cannot open shared object file": "OpenCV",
    "[Errno 98] Address already in use: ('127.0.0.1', 9090)": "port",
    "/d/versions/1-v1/weights.safetensors is missing": "file of a version",
    "project 1: Label Studio at http://x does not answer (Connection refused); again": "answer",
    "task 3 left out: http://h/a.png may not be read (HTTP 401)": "image",
    "project 1: not trained: a training was out of memory; again in 60 s": "memory",
}


@pytest.mark.parametrize("line", LINES)
def test_known_errors_are_explained(line: str) -> None:
    error = find_last_error([f"{STAMP} INFO worker started", f"{STAMP} ERROR {line}", "later"])
    assert error is not None and error.meaning is not None
    assert LINES[line] in error.meaning.means
    assert error.at == datetime(2026, 11, 29, 3, 4, 5)


def test_every_meaning_is_reached_by_a_line() -> None:
    assert {find_meaning(line) for line in LINES} == set(MEANINGS)


def test_the_last_error_counts_and_warnings_only_where_they_are_known() -> None:
    lines = [
        f"{STAMP} ERROR the disk is full, x was not written",
        f"{STAMP} WARNING project 1: task 7 is not in the snapshot: no image",
        f"{STAMP} INFO all well",
    ]
    error = find_last_error(lines)
    assert error is not None and "disk is full" in error.line
    known = f"{STAMP} WARNING project 1: the hold-out lost task 4: deleted"
    error = find_last_error([*lines, known])
    assert error is not None and error.line == known
    assert find_last_error(lines[1:]) is None


def test_an_unknown_error_is_shown_shortened_with_the_time_of_its_record() -> None:
    lines = [f"{STAMP} ERROR /predict failed", "Traceback", f"ValueError: {'x' * 500}"]
    error = find_last_error(lines)
    assert error is not None and error.meaning is None
    assert error.line.startswith("ValueError") and len(error.line) < 300
    assert error.at == datetime(2026, 11, 29, 3, 4, 5)


def test_what_label_studio_logs_while_all_is_well_is_no_error() -> None:
    retry = f"[{STAMP}] [urllib3::urlopen::8] [WARNING] Retrying after 'Connection refused'"
    assert find_last_error([retry]) is None
    assert find_last_error([retry.replace("WARNING", "ERROR")]) is not None
    line = "rest_framework.exceptions.ValidationError: {'model_version': [\"Model version doesn't "
    assert (
        find_last_error([f'{line}exist either as live model or as static predictions."]}}']) is None
    )
