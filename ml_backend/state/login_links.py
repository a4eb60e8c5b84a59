"""Links that log a browser in, each once and for a short time.

One small private file a link, named by the hash of its secret: who reads the folder cannot make
the link again, and whoever removes the file first has used it.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ml_backend.label_studio.people import Person
from ml_backend.system.atomic_files import read_json, write_json

# A link is good for so many seconds; a first start may install Label Studio meanwhile.
SECONDS = 3600.0


def make_link_secret(folder: Path, person: Person) -> str:
    """Make the secret of a new link.

    Args:
        folder: Holds the links of the data folder; links that were never used go.
        person: Who is logged in by it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - SECONDS:
                path.unlink()
    secret = secrets.token_urlsafe(32)
    until = time.time() + SECONDS
    write_json(_find_file(folder, secret), {"until": until, **asdict(person)}, private=True)
    return secret


def use_link(folder: Path, secret: str) -> Person | None:
    """Use a link up.

    Args:
        folder: Holds the links.
        secret: What the link carries.

    Returns:
        Who is logged in; None where there is no such link, any more or in time.
    """
    path = _find_file(folder, secret)
    link = read_json(path)
    try:
        path.unlink()  # fails for all but one of those who come at the same moment
    except OSError:
        return None
    if link is None or link["until"] < time.time():
        return None
    return Person(link["id"], link["email"])


def _find_file(folder: Path, secret: str) -> Path:
    return folder / f"{hashlib.sha256(secret.encode()).hexdigest()}.json"
