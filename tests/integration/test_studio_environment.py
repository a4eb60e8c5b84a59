"""Installing, starting and logging into a real Label Studio."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.installation import (
    StudioError,
    StudioInstallation,
    ensure_signing_key,
)
from ml_backend.system.atomic_files import read_json, write_json
from ml_backend.system.processes import PortTaken
from tests.conftest import RunningStudio, free_port


def test_the_account_is_kept_and_private(label_studio: RunningStudio) -> None:
    assert label_studio.environment.prepare_account() == label_studio.environment.prepare_account()
    file = label_studio.environment.folder / "account.json"
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Studio(label_studio.url, label_studio.account.token).list_projects() is not None


def test_a_token_that_was_made_but_never_written_down_is_made_again(
    label_studio: RunningStudio,
) -> None:
    file = label_studio.environment.folder / "account.json"
    known = read_json(file)
    try:
        write_json(file, {name: known[name] for name in ("username", "password")}, private=True)
        again = label_studio.environment.prepare_account()
        assert again.token != known["token"]
        # The one token of the user is another one now, so a stored one that no longer
        # works is the user's doing, and theirs to undo.
        write_json(file, known | {"token": "a.b.c"}, private=True)
        with pytest.raises(StudioError, match="revoke it"):
            label_studio.environment.prepare_account()
        write_json(file, known | {"token": "a.b.c", "password": "wrong"}, private=True)
        with pytest.raises(StudioError, match="does not accept the password"):
            label_studio.environment.prepare_account()
    finally:
        renewed = known | {"token": again.token}
        write_json(file, renewed, private=True)


def test_the_key_that_signs_tokens_survives_a_start_and_is_private(tmp_path: Path) -> None:
    """Without waiting for the server: it is written before Label Studio is started."""
    data = tmp_path / "data"
    data.mkdir()
    ensure_signing_key(data)
    file = data / ".env"
    first = file.read_text()
    assert re.fullmatch(r"SECRET_KEY=[\w-]{64}\n", first)  # nothing that a `.env` reads as syntax
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ensure_signing_key(data)
    assert file.read_text() == first


def test_a_key_that_label_studio_would_not_read_again_is_replaced(
    label_studio_env: Path, tmp_path: Path
) -> None:
    """As a first start of Label Studio alone leaves it, one time in fifty."""
    environment = StudioInstallation(tmp_path / "label-studio", label_studio_env)
    file = tmp_path / "label-studio" / "data" / ".env"
    try:
        environment.start(free_port(), tmp_path / "media", tmp_path / "studio.log")
        environment.wait_ready()
        lost = environment.prepare_account().token
        environment.stop()
        file.write_text("SECRET_KEY=$rjltg&e32+*uf7upgc@9=#2&*fm2\n")
        for _ in range(2):
            environment.start(free_port(), tmp_path / "media", tmp_path / "studio.log")
            environment.wait_ready()
            token = environment.prepare_account().token
            assert Studio(environment.url, token).list_projects() == []
            assert token != lost
            environment.stop()
    finally:
        environment.stop()


def test_a_taken_port_is_told_before_anything_starts(label_studio: RunningStudio) -> None:
    port = int(label_studio.url.rsplit(":", 1)[1])
    with pytest.raises(PortTaken, match="--port"):
        label_studio.environment.start(port, label_studio.media, Path("never.log"))


def test_a_server_that_cannot_start_is_told_with_its_last_words(
    label_studio_env: Path, tmp_path: Path
) -> None:
    environment = StudioInstallation(tmp_path / "label-studio", label_studio_env)
    database = tmp_path / "label-studio" / "data" / "label_studio.sqlite3"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"this is no database" * 1000)
    environment.start(free_port(), tmp_path / "media", tmp_path / "studio.log")
    with pytest.raises(StudioError, match=r"ended at its start; see .*studio.log \(.*database"):
        environment.wait_ready(60)
    environment.stop()


def test_without_the_package_index_the_install_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple/")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    killed = tmp_path / "partial-0000"  # what an install that was killed leaves
    (killed / "bin").mkdir(parents=True)
    environment = StudioInstallation(tmp_path)
    heard: list[str] = []
    with pytest.raises(StudioError, match="package index did not answer") as caught:
        environment.ensure_installed(heard.append)
    assert "\n" not in str(caught.value)
    assert heard
    assert not environment.is_installed()
    assert not list(tmp_path.glob("partial-*"))


def test_a_ready_environment_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="holds no environment"):
        StudioInstallation(tmp_path, tmp_path / "nowhere").ensure_installed()
