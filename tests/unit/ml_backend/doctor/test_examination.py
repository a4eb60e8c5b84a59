"""The examination as a whole, where no Label Studio answers."""

from __future__ import annotations

import time
from pathlib import Path

import jwt
import pytest

from ml_backend.doctor.examination import examine, find_worst
from ml_backend.doctor.finding import Finding, Result
from ml_backend.settings import Settings
from ml_backend.state.projects import NotConnected, Project, Projects


def connect(settings: Settings, token: str) -> None:
    Projects(settings.projects_database).connect(
        Project(1, "http://127.0.0.1:9", token, "Cells", "<View/>")
    )


def find(settings: Settings, check: str) -> Finding:
    (found,) = (result.finding for result in examine(settings) if result.check == check)
    return found


def test_a_new_folder_is_well_but_for_what_is_not_there_yet(tmp_path: Path) -> None:
    results = list(examine(Settings(data_dir=tmp_path)))
    assert not [result for result in results if result.finding.severity == "error"]
    assert "cytoloop up" in find(Settings(data_dir=tmp_path), "projects").mend


@pytest.mark.parametrize(
    ("token", "severity", "words"),
    [
        ("0123456789abcdef" * 2, "warning", "legacy"),
        (jwt.encode({"exp": time.time() - 60}, "k" * 32), "error", "expired"),
        (jwt.encode({"exp": time.time() + 3 * 86400 + 60}, "k" * 32), "warning", "in 3 days"),
        (jwt.encode({"exp": time.time() + 1e8}, "k" * 32), "ok", "personal"),
    ],
)
def test_tokens_are_read_before_anybody_is_asked(
    tmp_path: Path, token: str, severity: str, words: str
) -> None:
    settings = Settings(data_dir=tmp_path)
    connect(settings, token)
    finding = find(settings, "token")
    assert finding.severity == severity and words in finding.seen
    if severity != "ok":
        assert "connect --url http://127.0.0.1:9 --token - --project 1" in finding.mend


def test_where_label_studio_does_not_answer_that_is_found_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    connect(settings, jwt.encode({"exp": time.time() + 1e8}, "k" * 32))
    about = [result for result in examine(settings) if result.project == 1]
    assert [result.check for result in about] == ["token", "Label Studio"]
    assert "does not answer" in about[1].finding.seen and "cytoloop up" in about[1].finding.mend
    assert find_worst(about) == "error"


def test_an_unknown_project_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotConnected, match="cytoloop connect"):
        list(examine(Settings(data_dir=tmp_path), 7))


def test_the_worst_finding_counts() -> None:
    results = [Result("a", None, Finding(s, "x")) for s in ("note", "warning", "ok")]  # type: ignore[arg-type]
    assert find_worst(results) == "warning"
    assert find_worst([]) == "ok"
