"""The backend's password and keys: made once, kept where only their owner can read them."""

from __future__ import annotations

import base64
import hashlib
import hmac
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


def read_event_password(settings: Settings) -> str:
    """Read the password of the webhook's events.

    Label Studio shows it to every user who may open a project's settings, so it opens nothing else;
    and since it is a hash of the backend's password, that one cannot be told from it.
    """
    password = read_backend_password(settings).encode()
    digest = hmac.digest(password, b"cytoloop: events of Label Studio", hashlib.sha256)
    return base64.urlsafe_b64encode(digest[:18]).decode()


def read_session_key(settings: Settings) -> bytes:
    """Read the key that signs the cookies of browsers; it is made at the first time.

    Another password of the backend makes another key, and so ends all sessions.
    """
    path = settings.data_dir / "sessions.json"
    known = read_json(path)
    if known is None:
        write_json(path, {"key": secrets.token_urlsafe(32)}, private=True)
        known = read_json(path)
    password = read_backend_password(settings)
    return hmac.digest(known["key"].encode(), password.encode(), hashlib.sha256)
