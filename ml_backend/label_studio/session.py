"""A session with a Label Studio: the SDK's client, with retries and errors of ours.

Each error is one line that says what to do: the server cannot be reached, it refuses the
token, it may not talk to our backend, what was asked for is gone, or the server failed in
another way.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

# Not `from label_studio_sdk import LabelStudio`: the same client with an export to pandas
# on top, which takes 3 s to import where this takes half a second.
from label_studio_sdk.base_client import LabelStudioBase
from label_studio_sdk.core.api_error import ApiError

from ml_backend.label_studio.http import open_studio_client
from ml_backend.system.retry import retrying

T = TypeVar("T")

# Waits before another try, in seconds; a server that restarts is back within them.
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
# HTTP statuses of a server that is busy, or behind a proxy that is.
_BUSY = (408, 429, 500, 502, 503, 504)

log = logging.getLogger(__name__)


class StudioUnreachable(ConnectionError):
    """Label Studio does not answer."""


class StudioRefused(PermissionError):
    """Label Studio does not accept the token, or this user may not do that."""


class ProjectGone(LookupError):
    """The project, or what was asked about in it, is not in Label Studio (any more)."""


class StudioFault(RuntimeError):
    """Label Studio answered with an error of another kind."""


class AddressBlocked(StudioFault):
    """Label Studio may not talk to an address that it was given: its protection forbids it."""


# All that can go wrong between us and the server; what is worth another try, later.
STUDIO_ERRORS = (StudioUnreachable, StudioRefused, ProjectGone, StudioFault)

# How Label Studio says that its protection against requests to inner networks forbids an address.
_BLOCKED = "reserved network address"


class Session:
    """Requests to one Label Studio server; safe to share among threads.

    Args:
        url: Of the server.
        token: See `Studio`.
        timeout: Of a request, seconds.
        patient: Try again after passing faults.

    Attributes:
        sdk: The SDK's client.
        what: The server in words, for messages.

    Raises:
        StudioRefused: The token has expired, which is known without asking.
    """

    def __init__(self, url: str, token: str, timeout: float, *, patient: bool = True) -> None:
        self._patient = patient
        self.what = f"Label Studio at {url}"
        try:
            self.sdk = LabelStudioBase(
                base_url=url,
                api_key=token,
                timeout=timeout,
                max_retries=0,
                httpx_client=open_studio_client(url, timeout),
            )
        except ApiError as error:
            raise self._translated(error) from error

    def call(self, act: Callable[..., T], *args: Any, again: bool = True, **options: Any) -> T:
        """Call a method of the SDK, again after passing faults, and raise errors of ours.

        Args:
            act: The method.
            *args: Its arguments.
            again: Acting twice does no harm, so every passing fault is tried again; else only a
                connection that was never made.
            **options: Its keyword arguments.

        Raises:
            StudioUnreachable: The server does not answer.
            StudioRefused: It does not accept the token, or this user may not do that.
            AddressBlocked: Its protection forbids an address that it was given.
            ProjectGone: What was asked for does not exist (any more).
            StudioFault: It answered with another error.
        """

        def act_once() -> T:
            try:
                return act(*args, **options)
            except ApiError as error:
                raise self._translated(error) from error
            except httpx.TransportError as error:
                words = str(error) or type(error).__name__
                raise StudioUnreachable(f"{self.what} does not answer ({words})") from error
            except json.JSONDecodeError as error:  # the SDK's, of the answer to a refresh
                raise StudioUnreachable(
                    f"{self.what} does not answer (a page came in place of an access token, of a "
                    "proxy or another server)"
                ) from error

        return retrying(
            WAITS if self._patient else (), is_passing if again else _was_not_sent, _tell
        )(act_once)

    def _translated(self, error: ApiError) -> Exception:
        detail = _detail(error.body)
        if _BLOCKED in detail:
            return AddressBlocked(
                f"{self.what} may not talk to this address ({detail}); start it with "
                "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false, or let it talk to "
                "nobody: cytoloop connect --poll"
            )
        if error.status_code in (401, 403):
            return StudioRefused(
                f"{self.what} refuses the token ({detail}); make a new personal access token "
                "there under Account & Settings"
            )
        if error.status_code == 404:
            return ProjectGone(f"{self.what} has no such project or task ({detail})")
        return StudioFault(f"{self.what} answered HTTP {error.status_code} ({detail})")


def is_passing(error: BaseException) -> bool:
    """Tell whether an error of `Session.call` may pass by itself: no answer, or a busy server."""
    status = getattr(error.__cause__, "status_code", None)
    return isinstance(error, StudioUnreachable) or (status or 0) in _BUSY


def _was_not_sent(error: BaseException) -> bool:
    """Tell whether there was no connection, so that the server cannot have done what was asked."""
    return isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)


def _tell(error: BaseException, wait: float) -> None:
    log.info("%s; trying again in %s s", error, wait)


def _detail(body: Any) -> str:
    """The server's reason, in one line."""
    if isinstance(body, dict):
        errors = body.get("validation_errors")
        body = f"{body.get('detail', '')} {json.dumps(errors) if errors else ''}"
    return " ".join(str(body).split())[:400]
