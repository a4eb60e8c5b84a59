"""The ML backends and webhooks of a Label Studio project, of which one pair is ours."""

from __future__ import annotations

import base64
import re
from typing import Any

from label_studio_sdk.types.ml_backend import MlBackend

from ml_backend.label_studio.session import AddressBlocked, Session, StudioFault

BACKEND_TITLE = "cytoloop"

# The events that the backend asks for, by the server's own names: deletions and imports are in
# the plural, one request for all of them.
EVENTS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "TASKS_CREATED",
    "TASKS_DELETED",
    "PROJECT_UPDATED",
)


def connect_backend(
    session: Session,
    project: int,
    url: str,
    user: str,
    password: str,
    event_password: str,
    *,
    interactive: bool = False,
) -> None:
    """Connect the ML backend at `url` to a project, and a webhook with a password of its own.

    Doing it again replaces the earlier pair. Meanwhile the server asks the backend's /health and
    /setup. The server would make a webhook by itself, without a password, but only where there is
    none for that address: so ours is made first.

    Args:
        session: With the Label Studio.
        project: The project's id.
        url: Of the ML backend, as Label Studio reaches it.
        user: The name that Label Studio must send to the backend.
        password: The password that it must send.
        event_password: The password in the webhook's headers, which its users can read.
        interactive: Whether smart tools ask it at every click.

    Raises:
        AddressBlocked: Label Studio's protection forbids that address. What was connected before
            stays.
        StudioFault: The backend does not answer Label Studio; with the server's reason. What was
            connected before stays.
    """
    url = url.rstrip("/")
    ours, earlier = _list_connected(session, project, url)
    hook = f"{url}/webhook"
    new = _add_webhook(session, project, hook, user, event_password)
    settings: dict[str, Any] = {
        "project": project,
        "url": url,
        "title": BACKEND_TITLE,
        "description": "Pre-annotates images and learns from corrections.",
        "is_interactive": interactive,
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": user,
        "basic_auth_pass": password,
    }
    try:
        if ours:
            session.call(session.sdk.ml.update, ours[0].id, **settings)
        else:
            session.call(session.sdk.ml.create, **settings, again=False)
    except StudioFault as fault:
        session.call(session.sdk.webhooks.delete, new)
        if isinstance(fault, AddressBlocked):
            raise
        raise StudioFault(
            f"{session.what} could not use the ML backend at {url}: start it (cytoloop serve), "
            "and where Label Studio runs elsewhere, see that it reaches that address and "
            f"may use it ({read_reason(fault)})"
        ) from fault
    for double in ours[1:]:
        session.call(session.sdk.ml.delete, double.id)
    for webhook in earlier:
        session.call(session.sdk.webhooks.delete, webhook)


def disconnect_backend(session: Session, project: int) -> None:
    """Remove our ML backend and its webhook from a project; others stay."""
    ours, hooks = _list_connected(session, project)
    for backend in ours:
        session.call(session.sdk.ml.delete, backend.id)
    for webhook in hooks:
        session.call(session.sdk.webhooks.delete, webhook)


def _list_connected(
    session: Session, project: int, url: str | None = None
) -> tuple[list[MlBackend], list[int]]:
    """List our ML backends of a project and the ids of their webhooks.

    Args:
        session: With the Label Studio.
        project: The project's id.
        url: A backend at this address is ours too, whatever its title.
    """
    ours = [
        backend
        for backend in session.call(session.sdk.ml.list, project=project)
        if backend.title == BACKEND_TITLE or (url and backend.url.rstrip("/") == url)
    ]
    addresses = {f"{backend.url.rstrip('/')}/webhook" for backend in ours}
    addresses |= {f"{url}/webhook"} if url else set()
    hooks = session.call(session.sdk.webhooks.list, project=str(project))
    return ours, [hook.id for hook in hooks if hook.url in addresses and hook.id is not None]


def _add_webhook(session: Session, project: int, url: str, user: str, password: str) -> int:
    settings: dict[str, Any] = {
        "url": url,
        "headers": {"Authorization": write_basic_authorization(user, password)},
        "actions": list(EVENTS),
        "send_for_all_actions": False,
        "send_payload": True,
        "is_active": True,
    }
    made = session.call(session.sdk.webhooks.create, project=project, **settings, again=False)
    assert made.id is not None
    return made.id


def write_basic_authorization(user: str, password: str) -> str:
    """Write the header `Authorization` that names a user and a password (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def start_training(session: Session, project: int) -> None:
    """Ask for a training, as the button Start training does."""
    for backend in session.call(session.sdk.ml.list, project=project):
        if backend.title == BACKEND_TITLE and backend.id is not None:
            session.call(session.sdk.ml.train, backend.id, again=False)


def read_reason(fault: StudioFault) -> str:
    """Read from an error why Label Studio could not use a backend, without the HTML around it."""
    plain = re.sub(r"<[^>]*>", "", str(fault))
    return (plain.partition("Additional info: ")[2] or plain)[-160:]
