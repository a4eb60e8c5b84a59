"""The ML backends and webhooks of a Label Studio project, of which one pair is ours."""

from __future__ import annotations

import base64
import re
from typing import Any

from ml_backend.label_studio.session import Session, StudioFault

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


def connect_backend(session: Session, project: int, url: str, user: str, password: str) -> None:
    """Connect the ML backend at `url` to a project, and a webhook that carries its password.

    Doing it again replaces the earlier pair. Meanwhile the server asks the backend's /health and
    /setup. The server would make a webhook by itself, without a password, but only where there is
    none for that address: so ours is made first.

    Args:
        session: With the Label Studio.
        project: The project's id.
        url: Of the ML backend, as Label Studio reaches it.
        user: The name that Label Studio must send to the backend.
        password: The password that it must send.

    Raises:
        StudioFault: The backend does not answer Label Studio; with the server's reason. What was
            connected before stays.
    """
    url = url.rstrip("/")
    ours = [
        backend
        for backend in session.call(session.sdk.ml.list, project=project)
        if backend.title == BACKEND_TITLE or (backend.url or "").rstrip("/") == url
    ]
    hook = f"{url}/webhook"
    addresses = {hook, *(f"{(backend.url or '').rstrip('/')}/webhook" for backend in ours)}
    hooks = session.call(session.sdk.webhooks.list, project=str(project))
    earlier = [webhook.id for webhook in hooks if webhook.url in addresses]
    new = _add_webhook(session, project, hook, user, password)
    settings: dict[str, Any] = {
        "project": project,
        "url": url,
        "title": BACKEND_TITLE,
        "description": "Pre-annotates images and learns from corrections.",
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
        raise StudioFault(
            f"{session.what} could not use the ML backend at {url}: start it (cytoloop serve), "
            "and where Label Studio runs elsewhere, see that it reaches that address and "
            f"may use it ({_reason(str(fault))})"
        ) from fault
    for double in ours[1:]:
        session.call(session.sdk.ml.delete, double.id)
    for webhook in earlier:
        session.call(session.sdk.webhooks.delete, webhook)


def _add_webhook(session: Session, project: int, url: str, user: str, password: str) -> int:
    secret = base64.b64encode(f"{user}:{password}".encode()).decode()
    settings: dict[str, Any] = {
        "url": url,
        "headers": {"Authorization": f"Basic {secret}"},
        "actions": list(EVENTS),
        "send_for_all_actions": False,
        "send_payload": True,
        "is_active": True,
    }
    made = session.call(session.sdk.webhooks.create, project=project, **settings, again=False)
    assert made.id is not None
    return made.id


def start_training(session: Session, project: int) -> None:
    """Ask for a training, as the button Start training does."""
    for backend in session.call(session.sdk.ml.list, project=project):
        if backend.title == BACKEND_TITLE and backend.id is not None:
            session.call(session.sdk.ml.train, backend.id, again=False)


def _reason(text: str) -> str:
    """Strip the server's answer of HTML and of all but its 'Additional info'."""
    plain = re.sub(r"<[^>]*>", "", text)
    return (plain.partition("Additional info: ")[2] or plain)[-160:]
