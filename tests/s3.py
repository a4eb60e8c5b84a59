"""An S3 of our own on a free port: moto's server, which keeps what it is given in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from ml_backend.system.retry import wait_until

# What the libraries that speak with it ask for.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "someone",
    "AWS_SECRET_ACCESS_KEY": "something",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def run_s3(port: int) -> Iterator[str]:
    """The address of a server that runs while the block does."""
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        try:
            return httpx.get(url, trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        assert wait_until(answers, every=0.1, timeout=120)
        yield url
    finally:
        server.kill()
        server.wait()


def make_bucket(url: str, name: str) -> None:
    httpx.put(f"{url}/{name}", trust_env=False).raise_for_status()
