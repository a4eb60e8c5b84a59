"""The ML backends and webhooks of a Label Studio project, of which one pair is ours."""

from __future__ import annotations

import base64
import re
from typing import Any

from ml_backend.label_studio.session import Session, StudioFault

BACKEND_TITLE = "cytoloop"

# What the backend wants to hear of. The server's own list says which names exist:
# deletions and imports come in the plural, one request for all of them.
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
    """Connect the backend at `url` to the project, once, and its webhook with its password.

    The server asks the backend's /health and /setup meanwhile. The webhook that the
    server would make by itself carries no password, and it makes none where there is
    one for that address: so ours comes first.

    Raises StudioFault, with the server's reason, when the backend does not answer it.
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
    earlier = [one.id for one in hooks if one.url in addresses]
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
        # What was connected before goes on as it was.
        session.call(session.sdk.webhooks.delete, new)
        raise StudioFault(
            f"{session.what} could not use the ML backend at {url}: start it (cytoloop serve), "
            "and where Label Studio runs elsewhere, see that it reaches that address and "
            f"may use it ({_reason(str(fault))})"
        ) from fault
    for double in ours[1:]:
        session.call(session.sdk.ml.delete, double.id)
    for one in earlier:
        session.call(session.sdk.webhooks.delete, one)


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
    """What the button Start training does."""
    for backend in session.call(session.sdk.ml.list, project=project):
        if backend.title == BACKEND_TITLE and backend.id is not None:
            session.call(session.sdk.ml.train, backend.id, again=False)


def _reason(text: str) -> str:
    """What the server says of a backend, without its HTML, and from where it says more than that
    the backend cannot be used."""
    plain = re.sub(r"<[^>]*>", "", text)
    return (plain.partition("Additional info: ")[2] or plain)[-160:]
