"""What commands print: plain lines as they are, and nothing of what never began."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ml_backend.cli import app, console


def test_lines_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    line = "left out: tiles [old]/r1.png: " + "a long reason " * 20
    console.print_result({}, as_json=False, text=lambda: line)
    assert capsys.readouterr().out == f"{line}\n"


def test_an_error_of_the_system_names_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        console.run(lambda **_: (tmp_path / "nowhere").read_bytes())
    message = capsys.readouterr().err
    assert message == f"cytoloop: {tmp_path / 'nowhere'}: No such file or directory\n"


def test_a_bar_that_never_began_is_not_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), console.show_progress("Detecting"):
        raise ValueError("no images")
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError), console.show_progress("Detecting") as bar:
        bar(3, 5)
        raise ValueError("the disk is full")
    assert "3/5" in capsys.readouterr().err


def test_a_setting_that_cannot_be_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYTOLOOP_RETRAIN_AFTER", "0")
    monkeypatch.setenv("CYTOLOOP_HOLDOUT_SHARE", "much")
    context = typer.Context(typer.main.get_command(app.app))
    with pytest.raises(ValueError) as caught:
        console.load_settings(context)
    message = str(caught.value)
    assert "CYTOLOOP_RETRAIN_AFTER=0: " in message and "CYTOLOOP_HOLDOUT_SHARE=much: " in message
    assert "\n" not in message


def test_the_data_folder_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    context = typer.Context(typer.main.get_command(app.app), obj=Path("~/cells"))
    assert console.load_settings(context).data_dir == tmp_path.resolve() / "cells"


@pytest.mark.parametrize("port", ["0", "-1", "65536", "99999"])
def test_a_port_that_cannot_be_is_a_wrong_option(port: str) -> None:
    done = CliRunner().invoke(app.app, ["serve", "--port", port])
    assert done.exit_code == 2 and "--port" in done.output


HOSTILE = "tile\x1b]52;c;cm0gLXJm\x07\x1b[2J\x9b1A\rdone\u202e.png"


def test_the_terminal_obeys_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_result({}, as_json=False, text=lambda: f"left out: {HOSTILE}\nnext")
    console.print_result({"name": HOSTILE}, as_json=True, text=str)
    console.open_stderr().print(HOSTILE)
    with pytest.raises(SystemExit):
        console.run(lambda **_: int(HOSTILE))
    with console.show_progress(HOSTILE) as bar:
        bar(1, 2)
    captured = capsys.readouterr()
    for written in (captured.out, captured.err):
        assert not set(written) & set("\x1b\x07\x9b\r\u202e"), repr(written)
    first, second, as_json = captured.out.splitlines()
    assert first.startswith("left out: tile\\u001b]52;") and second == "next"
    assert json.loads(as_json)["name"] == HOSTILE


def test_our_own_colours_stay() -> None:
    terminal = console.open_terminal(force_terminal=True, file=io.StringIO(), color_system="256")
    terminal.print("[bold]bold[/bold]\tand \x1b[31mplain")
    written = terminal.file.getvalue()
    assert "\x1b[1m" in written and "\x1b[31m" not in written
