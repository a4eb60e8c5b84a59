"""What commands print: plain lines as they are, and nothing of what never began."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend import console


def test_lines_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    line = "left out: tiles [old]/r1.png: " + "a long reason " * 20
    console.say({}, as_json=False, text=lambda: line)
    assert capsys.readouterr().out == f"{line}\n"


def test_an_error_of_the_system_names_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        console.run(lambda **_: (tmp_path / "nowhere").read_bytes())
    said = capsys.readouterr().err
    assert said == f"cytoloop: {tmp_path / 'nowhere'}: No such file or directory\n"


def test_a_bar_that_never_began_is_not_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), console.progress("Detecting"):
        raise ValueError("no images")
    assert "Detecting" not in capsys.readouterr().err
    with pytest.raises(ValueError), console.progress("Detecting") as bar:
        bar(3, 5)
        raise ValueError("the disk is full")
    assert "3/5" in capsys.readouterr().err
