"""Connections that keep a deadline and a limit of bytes, whatever the other side sends.

The timeouts of HTTP clients start anew with every byte that arrives, so a server that drips
headers, interim answers, chunk extensions or trailers holds a client for ever. Here every wait for
the network is cut to what is left of one deadline, and every byte is counted as it comes in, before
anything parses it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from ml_backend.label_studio.http import load_certificates
from ml_backend.label_studio.image_hosts import SETTING, Address, ImageHosts


class DeadlinePassed(Exception):
    """The exchange took longer than it may."""


class TooManyBytes(Exception):
    """More came in than the exchange may receive."""


class AddressRefused(Exception):
    """The host leads to an address that may not be connected to; the message says how to."""


@dataclass
class Exchange:
    """What is left of the bounds of one exchange: requests, redirects and tries together.

    Attributes:
        deadline: On `time.monotonic()`.
        bytes_left: How many bytes may still come in.
        heard_at: When the last bytes came in, on `time.monotonic()`; at first, when it began.
    """

    deadline: float
    bytes_left: int
    heard_at: float = field(default_factory=time.monotonic)

    def get_seconds_left(self) -> float:
        """Return the seconds that are left.

        Raises:
            DeadlinePassed: There are none.
        """
        if (left := self.deadline - time.monotonic()) <= 0:
            raise DeadlinePassed
        return left

    def count(self, received: int) -> None:
        """Count bytes that came in.

        Raises:
            TooManyBytes: They are too many.
        """
        self.heard_at = time.monotonic()
        self.bytes_left -= received
        if self.bytes_left < 0:
            raise TooManyBytes


_exchange: ContextVar[Exchange] = ContextVar("exchange")


@contextlib.contextmanager
def bounding(exchange: Exchange) -> Iterator[None]:
    """Bound what this thread does with a client of `open_bounded_client` inside the block."""
    token = _exchange.set(exchange)
    try:
        yield
    finally:
        _exchange.reset(token)


@contextlib.contextmanager
def holding(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock; inside `bounding`, wait no longer for it than the deadline.

    Raises:
        DeadlinePassed: Another thread holds it for too long.
    """
    exchange = _exchange.get(None)
    if not lock.acquire(timeout=exchange.get_seconds_left() if exchange else -1):
        raise DeadlinePassed
    try:
        yield
    finally:
        lock.release()


def open_bounded_client(
    hosts: ImageHosts | None, *, trust_env: bool = True, timeout: float = 20.0
) -> httpx.Client:
    """Open a client that works only inside `bounding`; redirects are not followed.

    Args:
        hosts: Which addresses may be connected to; None for all.
        trust_env: Use the proxy that the environment names. A proxy resolves names by itself:
            names that this machine cannot resolve are then left to it.
        timeout: The longest silence, in seconds.
    """
    transport = _BoundedTransport(hosts, trust_env)
    return httpx.Client(
        timeout=httpx.Timeout(timeout, connect=5.0), transport=transport, trust_env=False
    )


class _BoundedStream(httpcore.NetworkStream):
    """A connection; it may serve several exchanges, one after another."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        exchange = _exchange.get()
        left = exchange.get_seconds_left()
        try:
            data = self._stream.read(max_bytes, _shorter(timeout, left))
        except httpcore.TimeoutException:
            exchange.get_seconds_left()
            raise
        exchange.count(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = _exchange.get().get_seconds_left()
        self._stream.write(buffer, _shorter(timeout, left))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        # Python keeps this timeout for the whole handshake, however many reads it takes.
        left = _exchange.get().get_seconds_left()
        secured = self._stream.start_tls(ssl_context, server_hostname, _shorter(timeout, left))
        return _BoundedStream(secured)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _BoundedBackend(httpcore.NetworkBackend):
    """Connects to the very address that was checked, so that no second lookup can differ."""

    def __init__(self, hosts: ImageHosts | None) -> None:
        self._hosts = hosts
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in resolve_allowed(host, port, self._hosts):
            left = _exchange.get().get_seconds_left()
            try:
                stream = self._backend.connect_tcp(
                    address, port, _shorter(timeout, left), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _BoundedStream(stream)
        raise failure


class _BoundedTransport(httpx.BaseTransport):
    """Carries httpx's requests over bounded connections."""

    def __init__(self, hosts: ImageHosts | None, trust_env: bool) -> None:
        self._hosts = hosts
        self._trust_env = trust_env
        self._direct = httpcore.ConnectionPool(
            ssl_context=load_certificates(),
            max_connections=None,
            keepalive_expiry=5.0,
            network_backend=_BoundedBackend(hosts),
        )
        self._proxies: dict[str, httpcore.HTTPProxy] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        core = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _translating():
            reply = self._find_pool(request.url).handle_request(core)
        return httpx.Response(
            reply.status, headers=reply.headers, stream=_Body(reply), extensions=reply.extensions
        )

    def _find_pool(self, url: httpx.URL) -> httpcore.ConnectionPool:
        proxy = getproxies().get(url.scheme) if self._trust_env else None
        if not proxy or proxy_bypass(url.host):
            return self._direct
        with contextlib.suppress(httpcore.ConnectError):
            resolve_allowed(url.host, url.port or _PORTS[url.scheme], self._hosts)
        with self._lock:
            if proxy not in self._proxies:
                self._proxies[proxy] = _open_proxy(proxy)
            return self._proxies[proxy]

    def close(self) -> None:
        for pool in (self._direct, *self._proxies.values()):
            pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, reply: httpcore.Response) -> None:
        self._reply = reply

    def __iter__(self) -> Iterator[bytes]:
        with _translating():
            yield from self._reply.iter_stream()

    def close(self) -> None:
        self._reply.close()


_PORTS = {"http": 80, "https": 443}


@contextlib.contextmanager
def _translating() -> Iterator[None]:
    """Raise the errors of httpcore as those of httpx."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise httpx.TimeoutException(str(error) or type(error).__name__) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise httpx.NetworkError(str(error) or type(error).__name__) from error


def _open_proxy(url: str) -> httpcore.HTTPProxy:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in _PORTS:
        raise httpx.UnsupportedProtocol(f"a {parts.scheme} proxy cannot be used for images")
    authority = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    known = (parts.username or "", parts.password or "") if parts.username else None
    return httpcore.HTTPProxy(
        authority,
        proxy_auth=known,
        ssl_context=load_certificates(),
        max_connections=None,
        keepalive_expiry=5.0,
        network_backend=_BoundedBackend(None),
    )


def resolve_allowed(host: str, port: int, hosts: ImageHosts | None) -> Sequence[str]:
    """Look up a host's addresses, and check them.

    Args:
        host: A name or an address.
        port: The port that will be connected to.
        hosts: Which addresses may be connected to; None for all.

    Returns:
        Those that may be connected to, at least one.

    Raises:
        AddressRefused: None may.
        DeadlinePassed: The lookup took too long.
        httpcore.ConnectError: There is no such host.
    """
    found = _look_up(host, port, _exchange.get())
    allowed = [
        address
        for address in found
        if hosts is None or hosts.may_connect(_parse_address(address), port)
    ]
    if not allowed:
        raise AddressRefused(
            f"{host} leads to {found[0]}, an address of a private network or of this machine; "
            f"add {found[0]} to {SETTING} if images may come from there"
        )
    return allowed


def _look_up(host: str, port: int, exchange: Exchange) -> list[str]:
    """Ask the system's resolver, in a thread of its own because it cannot be told to hurry."""
    answer: SimpleQueue[list[str] | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            got = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.put(list(dict.fromkeys(str(entry[4][0]) for entry in got)))
        except (OSError, UnicodeError) as error:
            answer.put(error)

    threading.Thread(target=ask, name="lookup", daemon=True).start()
    try:
        found = answer.get(timeout=exchange.get_seconds_left())
    except Empty:
        raise DeadlinePassed from None
    if isinstance(found, Exception) or not found:
        raise httpcore.ConnectError(f"there is no host {host}")
    return found


def _parse_address(text: str) -> Address:
    return ip_address(text.partition("%")[0])  # without the interface of a link-local one


def _shorter(timeout: float | None, left: float) -> float:
    return left if timeout is None else min(timeout, left)
