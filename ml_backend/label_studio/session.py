"""A session with a Label Studio: the SDK's client, with retries and four errors of ours.

Each error is one line that says what to do: the server cannot be reached, it refuses the
token, what was asked for is gone, or the server failed in another way.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

# Not `from label_studio_sdk import LabelStudio`: the same client with an export to pandas
# on top, which takes 3 s to import where this takes half a second.
from label_studio_sdk.base_client import LabelStudioBase
from label_studio_sdk.core.api_error import ApiError

from ml_backend.label_studio.http import open_studio_client

T = TypeVar("T")

# Waits before another try, in seconds; a server that restarts is back within them.
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)

log = logging.getLogger(__name__)


class StudioUnreachable(ConnectionError):
    """Label Studio does not answer."""


class StudioRefused(PermissionError):
    """Label Studio does not accept the token, or this user may not do that."""


class ProjectGone(LookupError):
    """The project, or what was asked about in it, is not in Label Studio (any more)."""


class StudioFault(RuntimeError):
    """Label Studio answered with an error of another kind."""


# All that can go wrong between us and the server; what is worth another try, later.
STUDIO_ERRORS = (StudioUnreachable, StudioRefused, ProjectGone, StudioFault)


class Session:
    """Requests to one Label Studio server; safe to share among threads.

    Attributes:
        sdk: The SDK's client.
        what: The server in words, for messages.

    Raises:
        StudioRefused: The token has expired, which is known without asking.
    """

    def __init__(self, url: str, token: str, timeout: float) -> None:
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
            ProjectGone: What was asked for does not exist (any more).
            StudioFault: It answered with another error.
        """
        for wait in (*_WAITS, None):
            try:
                return act(*args, **options)
            except ApiError as error:
                fault: Exception = self._translated(error)
                retry = again and (error.status_code or 0) in (408, 429, 500, 502, 503, 504)
                cause: Exception = error
            except httpx.TransportError as error:
                fault = StudioUnreachable(f"{self.what} does not answer ({_words(error)})")
                retry = again or isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                cause = error
            if wait is None or not retry:
                raise fault from cause
            log.info("%s; trying again in %s s", fault, wait)
            time.sleep(wait)
        raise AssertionError("unreachable")

    def _translated(self, error: ApiError) -> Exception:
        detail = _detail(error.body)
        if error.status_code in (401, 403):
            return StudioRefused(
                f"{self.what} refuses the token ({detail}); make a new personal access token "
                "there under Account & Settings"
            )
        if error.status_code == 404:
            return ProjectGone(f"{self.what} has no such project or task ({detail})")
        return StudioFault(f"{self.what} answered HTTP {error.status_code} ({detail})")


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _detail(body: Any) -> str:
    """The server's reason, in one line."""
    if isinstance(body, dict):
        errors = body.get("validation_errors")
        body = f"{body.get('detail', '')} {json.dumps(errors) if errors else ''}"
    return " ".join(str(body).split())[:400]
