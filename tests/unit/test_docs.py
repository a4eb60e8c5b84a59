"""The pages for users name what is there: links, dependencies, commands, settings."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer

from ml_backend.cli.app import build_command
from ml_backend.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
GUIDES = [ROOT / "docs" / "tutorial.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    names = {re.split(r"[\[><=; ]", entry)[0] for entry in wanted}
    assert not {name for name in names if name not in text}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    commands = _commands()
    for line in re.findall(r"(?:uv run )?cytoloop [^`\n]*", page.read_text(encoding="utf-8")):
        words = line.removeprefix("uv run ").split()[1:]
        if not words or words[0] not in {name.split()[0] for name in commands}:
            continue
        name = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
        options = {word.strip(".,;:)").split("=")[0] for word in words if word.startswith("--")}
        unknown = options - commands.get(name, set()) - {"--help", "--data-dir", "--json"}
        assert not unknown, f"{line}: {unknown}"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_the_command_line_takes_every_command_of_a_guide(page: Path) -> None:
    """Each is parsed by the real command line: its words, the types and ranges of its values."""
    lines = re.findall(r"^    .*?\bcytoloop (.*)$", page.read_text(encoding="utf-8"), re.M)
    assert lines
    for line in lines:
        words = shlex.split(line.split("  #")[0])
        context, command, name = None, build_command(), "cytoloop"
        while True:
            context = command.make_context(name, words, parent=context)
            if not hasattr(command, "commands") or not (rest := _list_rest(context)):
                break
            name, command, words = command.resolve_command(context, rest)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_step_of_a_guide_ends_in_what_one_has_then(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    steps = [step for step in re.split(r"^## ", text, flags=re.M)[1:] if "\n    " in step]
    assert steps
    for step in steps:
        assert "**You have now:**" in step, step.splitlines()[0]


def test_the_site_leads_to_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r": ([\w/-]+\.md)$", text, re.M))
    written = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert written <= named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_named_exist(page: Path) -> None:
    named = set(re.findall(r"CYTOLOOP_([A-Z_]+)", page.read_text(encoding="utf-8")))
    of_commands = {"label_studio_token"}  # of `connect` alone
    assert {name.lower() for name in named} - of_commands <= set(Settings.model_fields)


@pytest.mark.parametrize("package", ["ml_backend", "tasks"])
def test_the_rooms_and_modules_of_the_architecture_are_there(package: str) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split(f"\n## `{package}/`")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)/?` \| (.*) \|$", table, re.M)
    rooms = {path.stem for path in (ROOT / package).iterdir() if "__" not in path.name}
    assert {room for room, _ in rows} == rooms
    for room, owns in rows:
        there = {path.stem for path in (ROOT / package / room).glob("*")}
        named = set(re.findall(r"`(\w+)/?`", owns))
        assert named <= there, f"{room}: {sorted(named - there)}"


def test_every_trouble_has_a_test_that_is_there() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| `(tests/[^`]*)::(\w+)` \|$", text, re.M)
    assert len(rows) >= 20
    for file, name in rows:
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), name


def _list_rest(context: Any) -> list[str]:
    """List the words that a group of commands left to the command that they name."""
    return [*getattr(context, "_protected_args", ()), *context.args]


def _commands() -> dict[str, set[str]]:
    """Every command, with its options."""
    found: dict[str, set[str]] = {}
    for entry in entry_points(group="cytoloop.commands"):
        group = typer.main.get_group(_with_callback(entry.load()))
        for name, command in group.commands.items():
            parts = getattr(command, "commands", None)
            for sub, entry_command in {"": command, **(parts or {})}.items():
                options = {option for given in entry_command.params for option in given.opts}
                found[f"{name} {sub}".strip()] = options
    return found


def _with_callback(app: typer.Typer) -> typer.Typer:
    """As the console script joins it, so that an app of one command stays a group."""
    root = typer.Typer()
    root.callback()(lambda: None)
    root.add_typer(app)
    return root
