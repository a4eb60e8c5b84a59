"""What a Label Studio tells of itself, and of what is connected to a project of it.

Nothing is changed by asking: what is written was there already.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import httpx
import jwt
from label_studio_sdk.types.ml_backend import MlBackend
from label_studio_sdk.types.webhook import Webhook

from ml_backend.label_studio.http import open_studio_client
from ml_backend.label_studio.session import AddressBlocked, Session, StudioFault
from ml_backend.label_studio.webhooks import BACKEND_TITLE, write_basic_authorization

# A server takes the first of these folders as the root of its local files, from 1.22 on, where it
# lies in the folder that the server was started in and no other root was named.
ROOTS_FOUND_BY_CHANCE = ("mydata", "label-studio-data")

_ROOT = re.compile(r'LOCAL_FILES_DOCUMENT_ROOT=\\?"(.*?)\\?"')


@dataclass(frozen=True)
class Token:
    """What a token tells of itself.

    Attributes:
        personal: It is a personal access token, not a legacy one.
        expires: When it ends (seconds since 1970); None where it does not say.
    """

    personal: bool
    expires: float | None = None


def read_token(token: str) -> Token:
    """Read what a token tells of itself, without asking the server."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})
    except jwt.InvalidTokenError:
        return Token(personal=False)
    expires = claims.get("exp")
    return Token(True, float(expires) if isinstance(expires, int | float) else None)


def ask_release(session: Session) -> str:
    """Ask which release of Label Studio answers; "" where it does not say."""
    answer = session.call(session.sdk.versions.get).model_dump()
    return str(answer.get("release") or "")


def ask_clock(url: str) -> float | None:
    """Ask how many seconds a server's clock is ahead of ours, by the header `Date`.

    Returns:
        To a second or two; None where the server does not tell.

    Raises:
        ConnectionError: It does not answer.
    """
    try:
        with open_studio_client(url) as http:
            told = http.get(f"{url.rstrip('/')}/health").headers.get("Date")
    except httpx.HTTPError as error:
        raise ConnectionError(f"{url} does not answer ({error})") from error
    try:
        return parsedate_to_datetime(told).timestamp() - time.time() if told else None
    except ValueError:
        return None


def list_backends(session: Session, project: int) -> list[MlBackend]:
    """List the ML backends of a project; the server asks each how it is before it answers."""
    return list(session.call(session.sdk.ml.list, project=project))


def list_webhooks(session: Session, project: int) -> list[Webhook]:
    """List the webhooks of a project."""
    return list(session.call(session.sdk.webhooks.list, project=str(project)))


def is_ours(backend: MlBackend) -> bool:
    """Tell whether an ML backend is one that `cytoloop connect` made."""
    return backend.title == BACKEND_TITLE


def find_backend(session: Session, project: int) -> str | None:
    """Find the address at which Label Studio reaches our ML backend; None without one."""
    ours = filter(is_ours, list_backends(session, project))
    return next((backend.url.rstrip("/") for backend in ours), None)


def find_block(session: Session, project: int, url: str) -> str | None:
    """Ask whether the server's protections forbid it to talk to an ML backend and its webhook.

    Both are asked for with a value that does not exist, so that the server refuses them in any
    case; a forbidden address is what it refuses first.

    Args:
        session: With the Label Studio.
        project: The project's id.
        url: Of the ML backend.

    Returns:
        The server's reason; None where the address is allowed.
    """
    nothing: Any = "NO SUCH VALUE"
    makers = (
        partial(session.sdk.webhooks.create, url=f"{url}/webhook", actions=[nothing]),
        partial(session.sdk.ml.create, url=url, auth_method=nothing),
    )
    for make in makers:
        try:
            session.call(make, project=project, again=False)
        except AddressBlocked as blocked:
            return str(blocked)
        except StudioFault:
            continue
    return None


def find_local_files_root(session: Session, project: int) -> str | None:
    """Ask for the folder whose files the server shows; None where it does not tell.

    A server that would not take its whole disk for a storage names its root in the refusal.
    """
    try:
        session.call(session.sdk.import_storage.local.validate, project=project, path="/")
    except StudioFault as fault:
        found = _ROOT.search(str(fault))
        return found[1] if found else None
    return None


def ask_backend(url: str, user: str, password: str) -> dict[str, Any]:
    """Ask an ML backend how it is, as `/health` tells whoever names the password.

    Raises:
        ConnectionError: It does not answer, or something else answers there.
    """
    headers = {"Authorization": write_basic_authorization(user, password)}
    try:
        with open_studio_client(url, 5.0) as http:
            reply = http.get(f"{url.rstrip('/')}/health", headers=headers)
            answer = reply.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConnectionError(f"{url} does not answer ({error})") from error
    except ValueError as error:
        raise ConnectionError(f"something else than an ML backend answers at {url}") from error
    if not isinstance(answer, dict):
        raise ConnectionError(f"something else than an ML backend answers at {url}")
    return answer
