"""The backend's password: made once, kept where only its owner can read it."""

from __future__ import annotations

import secrets

from ml_backend.settings import Settings
from ml_backend.system.atomic_files import read_json, write_json


def read_backend_password(settings: Settings) -> str:
    """Read the password that Label Studio must send; it is made at the first time.

    Every process of the data folder gets the same.
    """
    if settings.backend_password:
        return settings.backend_password
    path = settings.data_dir / "backend.json"
    known = read_json(path)
    if known is None:
        write_json(path, {"password": secrets.token_urlsafe(18)}, private=True)
        known = read_json(path)
    return known["password"]
