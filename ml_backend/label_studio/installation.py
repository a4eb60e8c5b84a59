"""A Label Studio of our own: installed into the data folder, started, logged into, stopped.

It pins some hundred packages and has a Django app called `tasks`, as we have a package
of that name, so it lives in an environment that shares nothing with ours.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from filelock import FileLock
from uv import find_uv_bin

from ml_backend.label_studio.http import LOOPBACK, open_studio_client
from ml_backend.system.atomic_files import read_json, replace_file, write_json
from ml_backend.system.private_files import create_private
from ml_backend.system.processes import Process, check_port
from ml_backend.system.retry import wait_until

VERSION = "1.23.2"
USERNAME = "cytoloop@localhost"

# Variables that would mix another Python, other packages or another Label Studio with ours.
# Those that say where packages come from stay: that is the user's choice.
_FOREIGN = (
    "PYTHON", "VIRTUAL_ENV", "CONDA", "LABEL_STUDIO_", "HEARTEX_", "DJANGO_", "UV_PROJECT",
    "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_REQUIRE_HASHES",
)  # fmt: skip

# SQLite; no debug pages; nothing about the user is sent to anyone.
_QUIET = {
    "LABEL_STUDIO_DJANGO_DB": "sqlite",
    "LABEL_STUDIO_DEBUG": "false",
    "LABEL_STUDIO_LOG_LEVEL": "WARNING",
    "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
    "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
    "LABEL_STUDIO_SENTRY_DSN": "",
    "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
}
_DATABASE = "label_studio.sqlite3"


class StudioError(RuntimeError):
    """Label Studio could not be installed, started or logged into; one line says why."""


@dataclass(frozen=True)
class Account:
    """A user who may log in.

    Attributes:
        username: An e-mail address.
        password: In plain text.
        token: The user's personal access token.
    """

    username: str
    password: str
    token: str


class StudioInstallation:
    """Label Studio under one folder: its packages, its database and its one account.

    Args:
        folder: Where everything is kept.
        ready: An environment that already holds Label Studio; nothing is installed then.

    Attributes:
        folder: The same, absolute.
        url: Of the running server; "" before `start`.
    """

    def __init__(self, folder: Path, ready: Path | None = None) -> None:
        self.folder = folder.absolute()
        self._ready = ready.absolute() if ready else None
        self._account_file = self.folder / "account.json"
        self._process: Process | None = None
        self.url = ""

    @property
    def environment(self) -> Path:
        """The folder of the Python environment."""
        return self._ready or self.folder / f"environment-{VERSION}"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        windows, posix = self.environment / "Scripts/python.exe", self.environment / "bin/python"
        return windows if os.name == "nt" else posix

    # Installing.

    def is_installed(self) -> bool:
        """Tell whether the environment is there."""
        return self.python.exists()

    def ensure_installed(self, progress: Callable[[str], None] = lambda line: None) -> None:
        """Install Label Studio where it is not yet.

        It is built beside its final folder and moved there when complete, so an installation that
        was killed is simply done again.

        Args:
            progress: Called with a line for every step.

        Raises:
            StudioError: It could not be installed.
        """
        if self._ready and not self.is_installed():
            raise StudioError(f"{self._ready} holds no environment with a Python in it")
        if self.is_installed():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "environment.lock"):
            if not self.is_installed():
                self._install(progress)

    def _install(self, progress: Callable[[str], None]) -> None:
        for leftover in self.folder.glob("partial-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial = self.folder / f"partial-{secrets.token_hex(4)}"
        uv = find_uv_bin()
        try:
            command = [uv, "venv", "--no-project", "--python", sys.executable, str(partial)]
            self._uv(command, progress)
            inside = partial / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
            self._uv(
                [uv, "pip", "install", "--python", str(inside), f"label-studio=={VERSION}"],
                progress,
            )  # fmt: skip
            progress("Making the database")
            self._make_database(inside, partial / _DATABASE)
            os.replace(partial, self.environment)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _make_database(self, python: Path, database: Path) -> None:
        """An empty database, kept with the packages: its migrations take half a minute.

        A first start copies it, so one that is killed leaves no half-made database.
        """
        with tempfile.TemporaryDirectory() as folder:
            environment = _clean_environment() | {
                "LABEL_STUDIO_BASE_DATA_DIR": folder,
                "LABEL_STUDIO_DATABASE_NAME": str(database),
                **_QUIET,
            }
            done = subprocess.run(
                [str(python), "-I", "-m", "label_studio.server", "version"],
                env=environment,
                cwd=folder,
                capture_output=True,
                text=True,
            )
        if done.returncode:
            words = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise StudioError(f"Label Studio {VERSION} could not make its database ({words})")

    def _uv(self, command: list[str], progress: Callable[[str], None]) -> None:
        lines: list[str] = []
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_clean_environment(),
            # Where nobody else can lay a uv.toml, and no project's pyproject.toml pins anything.
            cwd=self.folder.resolve().anchor,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process:
            assert process.stdout
            try:
                for line in process.stdout:
                    if line.strip():
                        lines.append(line.strip())
                        progress(line.strip())
            except BaseException:  # Ctrl-C above all: uv must not go on by itself
                process.kill()
                raise
        if process.returncode:
            tail = " ".join(" ".join(lines[-6:]).split())
            lost = any(word in tail.lower() for word in ("fetch", "connect", "dns", "timed out"))
            advice = (
                "the package index did not answer; check the network or the proxy"
                if lost
                else "uv stopped"
            )
            raise StudioError(
                f"Label Studio {VERSION} could not be installed: {advice}, then start again "
                f"({tail[-400:]})"
            )

    # Running.

    def start(
        self, port: int, media: Path, log: Path, variables: Mapping[str, str] | None = None
    ) -> Process:
        """Start the server on 127.0.0.1.

        Args:
            port: To listen on.
            media: The folder whose files it serves as local files.
            log: The file that takes its output.
            variables: Of its environment, that take the place of those set here.

        Raises:
            PortTaken: Another program listens there; Label Studio would move to the next port
                without telling.
        """
        check_port(port, "Label Studio", "--port")
        data = self.folder / "data"
        for private in (media, self.folder, data):
            private.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (fresh := self.environment / _DATABASE).exists() and not (data / _DATABASE).exists():
            with replace_file(data / _DATABASE) as temporary:
                create_private(temporary)
                shutil.copyfile(fresh, temporary)
        ensure_signing_key(data)
        account = self._account()
        environment = _clean_environment() | {
            f"LABEL_STUDIO_{name}": value
            for name, value in {
                "BASE_DATA_DIR": str(data),
                "HOST": "",  # a shell's HOST would become part of every address
                "USERNAME": account["username"],
                "PASSWORD": account["password"],
                "DISABLE_SIGNUP_WITHOUT_LINK": "true",
                "LOCAL_FILES_SERVING_ENABLED": "true",
                "LOCAL_FILES_DOCUMENT_ROOT": str(media.absolute()),
                # The backend is on this machine, which both would refuse to talk to.
                "SSRF_PROTECTION_ENABLED": "false",
                "ML_BLOCK_LOCAL_IP": "false",
                # Its name for SQLite's write-ahead log: an annotator can then save
                # while a long import of pre-annotations writes.
                "AZURE_MOUNT_FIX": "true",
            }.items()
        }
        environment |= _QUIET
        command = [
            str(self.python), "-I", "-m", "label_studio.server", "start",
            "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port),
        ]  # fmt: skip
        environment |= {"PYTHONUNBUFFERED": "1", **(variables or {})}
        # The backend is reached directly, also where a proxy leads to the world.
        for name in ("NO_PROXY", "no_proxy"):
            environment[name] = ",".join([os.environ.get(name, ""), *LOOPBACK]).strip(",")
        self._process = Process.start(command, log, environment, data)
        self.url = f"http://127.0.0.1:{port}"
        return self._process

    def wait_ready(self, timeout: float = 300.0) -> None:
        """Wait until the server answers; the first start makes its database.

        Args:
            timeout: Seconds.

        Raises:
            StudioError: It ended, or did not answer in time; with the last lines of the log.
        """
        process = self._process
        assert process, "start first"

        def not_ready(state: str) -> StudioError:
            words = process.read_last_lines()
            return StudioError(f"Label Studio {state}; see {process.log} ({words})")

        def answers() -> bool:
            if not process.is_alive():
                raise not_ready("ended at its start")
            with contextlib.suppress(httpx.HTTPError), open_studio_client(self.url, 5) as http:
                return http.get(f"{self.url}/health").status_code == 200
            return False

        if not wait_until(answers, every=0.2, timeout=timeout):
            raise not_ready(f"did not answer within {timeout:.0f} s")

    def stop(self) -> None:
        """Stop the server and all its child processes."""
        if self._process:
            self._process.stop()
            self._process = None

    # The account.

    def _account(self) -> dict[str, str]:
        account = read_json(self._account_file)
        if account is None:
            account = {"username": USERNAME, "password": secrets.token_urlsafe(9)}
            write_json(self._account_file, account, private=True)
        return account

    def prepare_account(self) -> Account:
        """Return the account with a token that works; the server must be ready.

        Raises:
            StudioError: The token can be neither used nor made.
        """
        known = self._account()
        try:
            with open_studio_client(self.url) as http:
                http.base_url = self.url
                if not (known.get("token") and _token_works(http, known["token"])):
                    known["token"] = _make_token(http, known)
                    write_json(self._account_file, known, private=True)
        except httpx.TransportError as error:
            raise StudioError(f"Label Studio stopped answering: {error}") from error
        return Account(known["username"], known["password"], known["token"])


def ensure_signing_key(data: Path) -> None:
    """Give Label Studio the key that it signs tokens with, before it makes one by itself.

    Of those that it makes, one in fifty begins with a `$`: its next start takes that for the name
    of a variable, makes another key, and no token works any more.

    Args:
        data: Label Studio's data folder. A key in it that is read again stays; the tokens that a
            lost one signed are removed from its database.
    """
    file = data / ".env"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    keys = [line for line in lines if line.startswith("SECRET_KEY=")]
    if keys and not keys[-1].startswith("SECRET_KEY=$"):
        return
    if keys and (data / _DATABASE).exists():
        # What that key signed is lost already, and would be in the way of a new token: a user
        # can have one.
        with contextlib.closing(sqlite3.connect(data / _DATABASE)) as database, database:
            database.execute("DELETE FROM token_blacklist_blacklistedtoken")
            database.execute("DELETE FROM token_blacklist_outstandingtoken")
    with replace_file(file) as temporary:
        create_private(temporary)
        temporary.write_text(
            "\n".join([*lines, f"SECRET_KEY={secrets.token_urlsafe(48)}", ""]), encoding="utf-8"
        )


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


def _token_works(http: httpx.Client, token: str) -> bool:
    return http.post("/api/token/refresh/", json={"refresh": token}).status_code == 200


def _make_token(http: httpx.Client, account: dict[str, str]) -> str:
    """Log in as a browser would, and ask for a personal access token."""
    http.get("/user/login/")
    reply = http.post(
        "/user/login/",
        data={
            "email": account["username"],
            "password": account["password"],
            "csrfmiddlewaretoken": http.cookies.get("csrftoken", ""),
        },
    )
    if reply.status_code != 302:
        raise StudioError(
            f"Label Studio does not accept the password of {account['username']}; if it was "
            "changed there, write the new one into account.json in Label Studio's folder"
        )
    headers = {"X-CSRFToken": http.cookies.get("csrftoken") or ""}
    reply = http.post("/api/token/", headers=headers)
    if reply.status_code == 409 and "token" not in account:
        # A user may hold one token. We never had one, so it was made by a start that was
        # killed before it wrote it down, and nobody can use it.
        for lost in http.get("/api/token/").json():
            http.post("/api/token/blacklist/", json={"refresh": lost["token"]}, headers=headers)
        reply = http.post("/api/token/", headers=headers)
    if reply.status_code == 409:
        raise StudioError(
            f"{account['username']} has an access token in Label Studio that cytoloop does not "
            "know; revoke it there under Account & Settings, then start again"
        )
    if reply.status_code != 201:
        raise StudioError(f"Label Studio gave no access token (HTTP {reply.status_code})")
    return reply.json()["token"]
