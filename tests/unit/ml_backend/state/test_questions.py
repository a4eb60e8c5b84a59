"""What was asked about labels outlives the process that asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ml_backend.state.questions import Questions


def test_what_was_confirmed_is_read_back_for_its_project_alone(tmp_path: Path) -> None:
    folder = tmp_path / "questions"
    assert Questions.read(folder, 1) == Questions()
    replace(Questions(), project=7).confirm(["a"]).write(folder, 1)
    Questions.read(folder, 1).confirm(["b", "a"]).write(folder, 1)
    assert Questions.read(folder, 1) == Questions(7, frozenset({"a", "b"}))
    assert Questions.read(folder, 2) == Questions()
