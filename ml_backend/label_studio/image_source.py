"""The images of tasks: fetched side by side, each as bytes or as the reason why not.

A task's image may lie in Label Studio's uploads or local files, behind one of its cloud storages,
or on a web server that was allowed (see `image_hosts`). Label Studio's token goes to Label Studio's
own origin and nowhere else, whatever redirects say. Files of our own media folder are
read from the disk: 0.3 ms an image where asking the server takes 12 (two CPU cores).
"""

from __future__ import annotations

import base64
import contextlib
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.label_studio.bounded_network import (
    AddressRefused,
    DeadlinePassed,
    Exchange,
    TooManyBytes,
    bounding,
    holding,
    open_bounded_client,
)
from ml_backend.label_studio.http import LOOPBACK
from ml_backend.label_studio.image_hosts import SETTING, ImageHosts
from ml_backend.settings import Settings
from ml_backend.system.retry import Backoff, retrying

# One image file; more is no tile, and several are in memory at a time.
MAX_BYTES = 256_000_000
# Seconds that one image may take: connecting, headers, body, redirects and tries together.
MAX_SECONDS = 60.0
# Bytes that may come in for one image beside those of its content, and a share of these: headers,
# redirects, the lengths of chunks.
_OVERHEAD, _OVERHEAD_SHARE = 2_000_000, 0.1
# Label Studio counts as away where nothing came for this part of the time; where bytes drip, the
# image is at fault, and so it is where Label Studio itself waits for a storage.
_SILENT_SHARE = 4
# After an image took too long, its server is not asked for others at first, then for longer.
_SLOW_SECONDS, _SLOWEST_SECONDS = 30.0, 600.0
# `stream` yields None when nothing came for so many seconds.
PAUSE = 0.2
# Fetched side by side. Label Studio answers with Python threads: more do not help it.
WORKERS = 8
# Fetched ahead of what was taken from the generator; bounds the memory.
AHEAD = 4 * WORKERS
# An image that takes longer, in seconds, gives its place to the next one and goes on beside it;
# so many may, before the others wait for them.
LATE_SECONDS, MOST_LATE = 2.0, 64

# Seconds before another try of an image whose server is busy or does not answer.
_WAITS = (0.3, 1.0)
# An access token lives for five minutes.
_TOKEN_SECONDS = 240.0
_CLOUD = ("s3", "gs", "azure-blob", "redis")


class ImageUnavailable(UnreadableImage):
    """Label Studio does not hand the image out at present; the image itself may be sound."""


class ImageSource:
    """Images for the tasks of one Label Studio; safe to share among threads.

    Args:
        url: Of the server.
        token: A personal access token, or a legacy one.
        media: The folder whose files our own server serves as local files.
        project: The project whose cloud storages resolve addresses such as s3://…
        max_bytes: Of one image file; larger ones are refused.
        max_seconds: For one image, whatever its server does.
        hosts: Which other hosts may hand out images; those of the setting where None.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        media: Path | None = None,
        project: int | None = None,
        max_bytes: int = MAX_BYTES,
        max_seconds: float = MAX_SECONDS,
        hosts: ImageHosts | None = None,
    ) -> None:
        self._base = url.rstrip("/") + "/"
        self._media = media.resolve() if media else None
        self._project = project
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._hosts = ImageHosts.parse(Settings().allowed_image_hosts) if hosts is None else hosts
        here = urlsplit(url).hostname in LOOPBACK
        self._studio = open_bounded_client(None, trust_env=not here)
        self._world = open_bounded_client(self._hosts)
        # By origin: what was too slow a moment ago.
        self._slow = Backoff[tuple[str, str, int | None]](_SLOW_SECONDS, 2.0)
        self._token = AccessToken(self._base, token, self._studio)

    def fetch(
        self, addresses: Sequence[str], deadline: float | None = None
    ) -> Iterator[tuple[int, bytes | Exception]]:
        """Fetch images side by side.

        Args:
            addresses: As tasks hold them.
            deadline: On `time.monotonic()`; what is not fetched by then is not yielded.

        Yields:
            The index of each address, at most once and in no fixed order, with the content or an
            UnreadableImage; an ImageUnavailable where Label Studio itself does not answer or
            refuses the token. The generator may be closed at any time.
        """
        for got in self.stream(addresses, deadline):
            if got is not None:
                yield got

    def stream(
        self, addresses: Sequence[str], deadline: float | None = None
    ) -> Iterator[tuple[int, bytes | Exception] | None]:
        """Fetch as `fetch` does, and yield None when nothing came for a while.

        Whoever collects images to work on many at once need not wait for a slow one then.
        """
        pool = ThreadPoolExecutor(AHEAD + MOST_LATE, thread_name_prefix="fetch")
        places = threading.Semaphore(WORKERS)
        running: dict[Future[bytes], _Turn] = {}

        def is_full() -> bool:
            late = sum(turn.is_late for turn in running.values())
            return len(running) - min(late, MOST_LATE) >= AHEAD

        try:
            for index, address in enumerate(addresses):
                turn = _Turn(index, places)
                running[pool.submit(self._get_in_turn, address, turn)] = turn
                while is_full() and not _is_past(deadline):
                    yield from _finished(running, deadline)
                if _is_past(deadline):
                    return
            while running and not _is_past(deadline):
                yield from _finished(running, deadline)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for turn in running.values():
                turn.abandon()

    def _get_in_turn(self, address: str, turn: _Turn) -> bytes:
        turn.begin()
        try:
            return self._get(address)
        finally:
            turn.leave()

    # From the disk.

    def _on_disk(self, address: str) -> Path | None:
        """The file of our media folder that the address names, if it is provably inside."""
        if self._media is None or "/data/local-files/" not in address:
            return None
        parts = urlsplit(urljoin(self._base, address))
        relative = parse_qs(parts.query).get("d", [""])[0]
        if not self._is_studio(parts.geturl()) or not relative:
            return None
        try:
            path = (self._media / relative.lstrip("/")).resolve()
            return path if path.is_relative_to(self._media) and path.is_file() else None
        except (OSError, ValueError):
            return None

    def _read(self, path: Path) -> bytes:
        if path.stat().st_size > self._max_bytes:
            raise UnreadableImage(f"the file is larger than {self._max_bytes / 1e6:.0f} MB")
        return _not_empty(path.read_bytes())

    # From the network.

    def _is_studio(self, url: str) -> bool:
        return _origin(url) == _origin(self._base)

    def _get(self, address: str) -> bytes:
        if (path := self._on_disk(address)) is not None:
            return self._read(path)
        if not address:
            raise UnreadableImage("the task has no image")
        shown, scheme = _short(address), urlsplit(address).scheme.lower()
        if scheme == "data":
            with urllib.request.urlopen(address) as content:  # noqa: S310 (it is data:)
                return _not_empty(content.read())
        if scheme in _CLOUD and self._project is not None:
            uri = base64.urlsafe_b64encode(address.encode()).decode()
            address = f"projects/{self._project}/resolve/?fileuri={uri}"
        elif scheme not in ("", "http", "https"):
            raise UnreadableImage(f"cannot fetch {shown}: not an http(s) address")
        absolute = self._absolute(address)
        own, origin = self._is_studio(absolute), _origin(absolute)
        if not own and self._slow.is_waiting(origin):
            raise UnreadableImage(f"{shown}: its server was too slow a moment ago")
        away = ImageUnavailable if own else UnreadableImage
        wire = int(self._max_bytes * (1 + _OVERHEAD_SHARE)) + _OVERHEAD
        exchange = Exchange(time.monotonic() + self._max_seconds, wire)
        try:
            with bounding(exchange):
                content = retrying(_WAITS, _is_passing)(self._follow, absolute, shown)
        except httpx.TransportError as error:
            words = str(error) or type(error).__name__
            raise away(f"{shown} does not answer ({words})") from error
        except _Busy as busy:
            raise away(str(busy)) from busy
        except DeadlinePassed:
            silent = time.monotonic() - exchange.heard_at > self._max_seconds / _SILENT_SHARE
            if own and silent and "/resolve/" not in absolute:
                raise ImageUnavailable(f"{shown} does not answer") from None
            self._slow.fail(origin, _SLOWEST_SECONDS)
            raise UnreadableImage(f"{shown} took longer than {self._max_seconds:.0f} s") from None
        except TooManyBytes:
            raise self._too_large(shown) from None
        except AddressRefused as refused:
            raise UnreadableImage(f"{shown}: {refused}") from None
        self._slow.succeed(origin)
        return _not_empty(content)

    def _absolute(self, address: str) -> str:
        """The address with the server that answers it."""
        url = urljoin(self._base, address)
        # Tasks may hold localhost where we know 127.0.0.1: one machine, one server.
        if self._is_studio(url) and urlsplit(url).netloc != urlsplit(self._base).netloc:
            url = urlsplit(url)._replace(netloc=urlsplit(self._base).netloc).geturl()
        return url

    def _follow(self, url: str, shown: str) -> bytes:
        renewed = False
        hops = 0
        # Where Label Studio itself leads, there is one of its storages.
        storage = False
        while True:
            own = self._is_studio(url)
            storage = storage or own
            if not storage:
                self._check_host(url, shown)
            http = self._studio if own else self._world
            # Content is taken as it is: a packed one can become a thousand times larger.
            headers = {"Accept-Encoding": "identity"}
            # Only the hop to the server itself carries the token, also after a redirect.
            if own:
                headers["Authorization"] = self._token.header(renew=renewed)
            with http.stream("GET", url, headers=headers, follow_redirects=False) as reply:
                if reply.status_code == 401 and own and not renewed:
                    renewed = True
                    continue
                if reply.has_redirect_location and hops < 5:
                    hops += 1
                    url = self._absolute(urljoin(url, reply.headers["Location"]))
                    if urlsplit(url).scheme not in ("http", "https"):
                        raise UnreadableImage(f"{shown} leads to an address that is not http(s)")
                    continue
                if reply.status_code in (429, 502, 503, 504):
                    raise _Busy(f"{shown} answered HTTP {reply.status_code}")
                if reply.status_code != 200:
                    raise UnreadableImage(_refusal(shown, reply.status_code))
                return self._body(reply, shown)

    def _check_host(self, url: str, shown: str) -> None:
        _, host, port = _origin(url)
        if not self._hosts.is_named(host, port or 0):
            raise UnreadableImage(
                f"{shown}: images may not come from {host}; add it to {SETTING} to allow it"
            )

    def _body(self, reply: httpx.Response, shown: str) -> bytes:
        encoding = reply.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise UnreadableImage(f"{shown} came packed ({_short(encoding)}), which was not asked")
        length = reply.headers.get("Content-Length", "")
        if length.isdecimal() and (len(length) > 18 or int(length) > self._max_bytes):
            raise self._too_large(shown)
        content = bytearray()
        for part in reply.iter_raw():
            content += part
            if len(content) > self._max_bytes:
                raise self._too_large(shown)
        return bytes(content)

    def _too_large(self, shown: str) -> UnreadableImage:
        return UnreadableImage(f"{shown} is larger than {self._max_bytes / 1e6:.0f} MB")


class AccessToken:
    """The Authorization header for plain requests to Label Studio, renewed in time.

    Args:
        base: The address of the server, with a slash at its end.
        token: A personal access token, or a legacy one.
        http: The client that asks for renewals.
    """

    def __init__(self, base: str, token: str, http: httpx.Client) -> None:
        self._url = urljoin(base, "api/token/refresh/")
        self._token = token
        self._http = http
        self._lock = threading.Lock()
        self._header = ""
        self._made = float("-inf")
        # A personal access token is a JWT; the legacy one is a plain word.
        self._legacy = token.count(".") != 2

    def header(self, *, renew: bool = False) -> str:
        """Return the header's value.

        Args:
            renew: The last value was refused, so ask for a new one.

        Raises:
            ImageUnavailable: The server does not accept the token.
        """
        if self._legacy:
            return f"Token {self._token}"
        with holding(self._lock):
            age = time.monotonic() - self._made
            # Renewed a moment ago, on behalf of another image: that one will do.
            if age > _TOKEN_SECONDS or (renew and age > 5):
                reply = self._http.post(self._url, json={"refresh": self._token})
                if reply.status_code >= 500:
                    raise _Busy(f"Label Studio gave no access token (HTTP {reply.status_code})")
                if reply.status_code != 200:
                    raise ImageUnavailable(
                        "Label Studio refuses the access token; run cytoloop connect with a new one"
                    )
                self._header = f"Bearer {reply.json()['access']}"
                self._made = time.monotonic()
            return self._header


class _Turn:
    """The turn of one image: it waits for one of the places, and leaves it when it is late."""

    def __init__(self, index: int, places: threading.Semaphore) -> None:
        self.index = index
        self._places = places
        self._lock = threading.Lock()
        self._began: float | None = None
        self._left = False
        self._abandoned = False

    def begin(self) -> None:
        self._places.acquire()
        if self._abandoned:
            raise CancelledError
        self._began = time.monotonic()

    def leave(self) -> None:
        with self._lock:
            if not self._left:
                self._left = True
                self._places.release()

    def abandon(self) -> None:
        """Nobody waits for the image any more: it is not begun, where it was not yet."""
        self._abandoned = True
        self.leave()

    @property
    def is_late(self) -> bool:
        return self._began is not None and time.monotonic() - self._began > LATE_SECONDS


class _Busy(Exception):
    """The server may answer when asked again."""


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, httpx.TransportError | _Busy)


def _is_past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _finished(
    running: dict[Future[bytes], _Turn], deadline: float | None
) -> Iterator[tuple[int, bytes | Exception] | None]:
    left = PAUSE if deadline is None else min(PAUSE, max(0.0, deadline - time.monotonic()))
    done, _ = wait(running, timeout=left, return_when=FIRST_COMPLETED)
    for turn in running.values():
        if turn.is_late:
            turn.leave()
    if not done:
        yield None
    for future in done:
        index = running.pop(future).index
        error = future.exception()
        if error is None:
            yield index, future.result()
        elif isinstance(error, UnreadableImage):
            yield index, error
        else:  # one image must not end the others
            yield index, UnreadableImage(f"cannot be fetched: {str(error) or type(error).__name__}")


def _not_empty(content: bytes) -> bytes:
    if not content:
        raise UnreadableImage("the file is empty")
    return content


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; the names of this machine count as one."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", None
    with contextlib.suppress(ValueError):
        port = parts.port
    if port is None:
        port = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, "127.0.0.1" if host in LOOPBACK else host, port


def _refusal(shown: str, status: int) -> str:
    if status in (401, 403):
        return f"{shown} may not be read (HTTP {status})"
    if status == 404:
        return f"there is no image at {shown} (HTTP 404)"
    return f"{shown} answered HTTP {status}"


def _short(address: str) -> str:
    return address if len(address) <= 120 else f"{address[:117]}..."
