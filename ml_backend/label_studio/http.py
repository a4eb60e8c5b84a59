"""HTTP clients: past any proxy to a Label Studio on this machine, else as the system says."""

from __future__ import annotations

import ssl
from functools import cache
from urllib.parse import urlsplit

import httpx

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def open_studio_client(url: str, timeout: float = 20.0) -> httpx.Client:
    """Open a client for a Label Studio; redirects are not followed.

    Args:
        url: Of the server.
        timeout: Seconds.
    """
    here = urlsplit(url).hostname in LOOPBACK
    return open_client(timeout, trust_env=not here)


def open_client(timeout: float = 20.0, *, trust_env: bool = True) -> httpx.Client:
    """Open a client for any server; redirects are not followed.

    Args:
        timeout: Seconds.
        trust_env: Use the proxy that the environment names.
    """
    return httpx.Client(
        timeout=httpx.Timeout(timeout, connect=5.0), trust_env=trust_env, verify=load_certificates()
    )


@cache
def load_certificates() -> ssl.SSLContext:
    """Read once, because it takes 0.1 s and more."""
    return httpx.create_ssl_context()
