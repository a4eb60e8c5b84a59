"""The containers: what their descriptions name exists, and ours have no rights they do not need.

No container is built here; docs/guides/many-machines.md says what was run of them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from ml_backend.cli.app import app
from ml_backend.settings import Settings

FOLDER = Path(__file__).parents[2] / "docker"
FILES = ["compose.yaml", "many-machines.yaml"]


class Loader(yaml.SafeLoader):
    """Takes the tags by which one compose file replaces what another says."""


Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def read_services(name: str) -> dict[str, Any]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    return yaml.load(text, Loader)["services"]


def read_ours() -> dict[str, dict[str, Any]]:
    """The services that run our image, with what both files say of them."""
    first, second = map(read_services, FILES)
    joined = {name: {**first.get(name, {}), **second.get(name, {})} for name in {**first, **second}}
    return {name: service for name, service in joined.items() if service["image"] == "cytoloop"}


def test_all_of_ours_run_without_rights() -> None:
    ours = read_ours()
    assert set(ours) == {"backend", "worker", "bucket", "mlflow", "ray"}
    for service in ours.values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"] and "user" not in service
    *_, final = (FOLDER / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")
    user, rest = re.search(r"^USER (\d+)$(.*)", final, re.M | re.S).groups()
    assert int(user) >= 1000 and "RUN" not in rest and "USER" not in rest


@pytest.mark.parametrize("file", FILES)
def test_each_says_whether_it_is_well(file: str) -> None:
    for name, service in read_services(file).items():
        # Label Studio's image has a health check of its own.
        if service.get("restart") == "unless-stopped":
            assert service["healthcheck"]["test"][0] == "CMD", name
        for words in (service.get("entrypoint"), service.get("healthcheck", {}).get("test")):
            if words and "-c" in words:
                compile(words[words.index("-c") + 1], name, "exec")


def test_settings_and_commands_are_there() -> None:
    commands = typer.main.get_group(app).commands
    for service in read_ours().values():
        for variable in service.get("environment", {}):
            if variable.startswith("CYTOLOOP_"):
                assert variable.removeprefix("CYTOLOOP_").lower() in Settings.model_fields
        for command in service.get("command", [])[:1]:
            assert command in commands
    installed = (FOLDER / "install.sh").read_text(encoding="utf-8")
    extras = (FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.search(r"\.\[(.*)\]", installed)[1].split(","):
        assert f"\n{extra} = [" in extras


@pytest.mark.parametrize("file", FILES)
def test_no_password_has_a_default(file: str) -> None:
    text = (FOLDER / file).read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{(\w*PASSWORD\w*)", text))
    required = set(re.findall(r"\$\{(\w*PASSWORD\w*):\?", text))
    assert used == required != set()
