"""HTTP to a Label Studio, past any proxy where the server is on this machine."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def studio_http(url: str, timeout: float = 20.0) -> httpx.Client:
    """A client for the server at `url`; timeout in seconds. Redirects are not followed."""
    here = urlsplit(url).hostname in LOOPBACK
    return httpx.Client(timeout=httpx.Timeout(timeout, connect=5.0), trust_env=not here)
