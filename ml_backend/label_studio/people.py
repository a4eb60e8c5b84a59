"""The people of a Label Studio: who holds a token, and whether a password is right."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from ml_backend.label_studio.http import open_studio_client
from ml_backend.label_studio.session import Session, StudioFault, StudioUnreachable


@dataclass(frozen=True)
class Person:
    """A user of Label Studio.

    Attributes:
        id: The user's number there; annotations carry it as `completed_by`.
        email: What the user logs in with.
    """

    id: int
    email: str


def find_person(session: Session) -> Person:
    """Find the user whose token a session carries.

    Raises:
        StudioUnreachable: See `Session.call`, also for the other errors.
    """
    user = session.call(session.sdk.users.whoami)
    return Person(int(user.id or 0), str(user.email or user.username or ""))


def check_password(url: str, email: str, password: str) -> Person | None:
    """Let Label Studio check a password, as its own login page does; nothing of it is kept.

    Args:
        url: Of the server.
        email: The user.
        password: The user's password.

    Returns:
        The user; None where Label Studio does not know this pair.

    Raises:
        StudioUnreachable: It does not answer.
        StudioFault: It answers in a way that no Label Studio does.
    """
    try:
        with open_studio_client(url) as http:
            http.base_url = url
            http.get("/user/login/")
            form = {
                "email": email,
                "password": password,
                "csrfmiddlewaretoken": http.cookies.get("csrftoken", ""),
            }
            if http.post("/user/login/", data=form).status_code != httpx.codes.FOUND:
                return None
            user = http.get("/api/current-user/whoami").raise_for_status().json()
            http.get("/logout/")
            return Person(int(user["id"]), str(user["email"]))
    except httpx.TransportError as error:
        raise StudioUnreachable(f"Label Studio at {url} does not answer ({error})") from error
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise StudioFault(f"Label Studio at {url} does not say who logged in ({error})") from error
