"""A PostgreSQL of our own, on a free port, as a user without rights, for tests and benchmarks."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ml_backend.system.retry import wait_until

PASSWORD = "of the tests"


def find_programs() -> Path | None:
    """The folder of initdb and postgres; None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@dataclass
class Postgres:
    """A server that runs."""

    port: int
    process: subprocess.Popen

    def address(self, database: str) -> str:
        password = PASSWORD.replace(" ", "%20")
        return f"postgresql://cytoloop:{password}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """The address of a new database."""
        name = f"db_{secrets.token_hex(4)}"
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"create database {name}")
        return self.address(name)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, "PostgreSQL did not start"
        try:
            psycopg.connect(self.address("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def run_postgres(programs: Path, port: int, *options: str) -> Iterator[Postgres]:
    """Start a server on a free port, and end it. `options` as in fsync=off."""
    # PostgreSQL refuses to run as root, and a user without rights cannot enter root's folders.
    user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="cytoloop-postgres-") as folder:
        secret = Path(folder) / "password"
        secret.write_text(PASSWORD)
        if user:
            shutil.chown(secret, **user)
            shutil.chown(folder, **user)
        data = Path(folder) / "data"
        made = subprocess.run(
            [
                programs / "initdb", "--pgdata", data, "--username", "cytoloop", "--no-sync",
                "--auth", "scram-sha-256", "--pwfile", secret, "--encoding", "UTF8",
                "--locale", "C",
            ],
            capture_output=True, text=True, cwd=folder, **user,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        settings = [f"-c{option}" for option in ("shared_buffers=32MB", *options)]
        with open(Path(folder) / "log", "wb") as log:
            process = subprocess.Popen(
                [
                    programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port),
                    "-k", folder, *settings,
                ],
                stdout=log, stderr=log, cwd=folder, **user,
            )  # fmt: skip
        server = Postgres(port, process)
        try:
            assert wait_until(server.is_ready, every=0.1, timeout=60)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)  # its data goes with it, so it need not tidy up
            process.wait()
