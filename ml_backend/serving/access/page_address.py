"""Addresses within this server, for whoever is sent on after logging in."""

from __future__ import annotations

from urllib.parse import urlsplit


def choose_next(wanted: str) -> str:
    """Return where a browser goes on: to a path of this server, else to the first page.

    Args:
        wanted: What the request names; an address of another site is never followed.
    """
    # A browser reads '\\' as '/', leaves control characters out, and takes '//host' for a site.
    plain = wanted.startswith("/") and not any(c == "\\" or c <= " " for c in wanted)
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return "/"
    return wanted if plain and not parts.netloc and not wanted.startswith("//") else "/"
