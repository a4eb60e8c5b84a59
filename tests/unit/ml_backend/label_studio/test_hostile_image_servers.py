"""Servers that drip, swell, redirect and answer for other names; real sockets on 127.0.0.1."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.label_studio.image_hosts import SETTING, ImageHosts
from ml_backend.label_studio.image_source import ImageSource, ImageUnavailable

HERE = ImageHosts.parse("127.0.0.1")
STUDIO = "http://127.0.0.1:9"  # nobody answers there
OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """Answers every connection with what a generator yields, whatever was asked."""

    def __init__(self, write: Callable[[], Iterator[bytes]]) -> None:
        self.write = write
        self.connections = 0
        self.asked: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.asked.append(connection.recv(65536))
            for part in self.write():
                connection.sendall(part)


@contextmanager
def serving(write: Callable[[], Iterator[bytes]]) -> Iterator[Server]:
    server = Server(write)
    try:
        yield server
    finally:
        server.listener.close()


def drip(head: bytes, part: bytes, pause: float = 0.05) -> Callable[[], Iterator[bytes]]:
    def write() -> Iterator[bytes]:
        yield head
        while True:
            time.sleep(pause)
            yield part

    return write


def fetch(source: ImageSource, address: str) -> Any:
    ((_, got),) = source.fetch([address])
    return got


def reason(source: ImageSource, address: str) -> str:
    got = fetch(source, address)
    assert isinstance(got, UnreadableImage)
    return str(got)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "status line": drip(b"HTTP/1.1 200 ", b"O"),
    "header": drip(OK + b"X-Long: ", b"x"),
    "headers": drip(OK, b"X-More: 1\r\n"),
    "interim answers": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": drip(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "body": drip(OK + b"Content-Length: 1000000\r\n\r\n", b"x"),
    "chunk size": drip(CHUNKED, b"0"),
    "chunk extension": drip(CHUNKED + b"1;x=", b"x"),
    "chunks": drip(CHUNKED, b"1\r\nx\r\n"),
    "trailers": drip(CHUNKED + b"1\r\nx\r\n0\r\n", b"X-More: 1\r\n"),
    "silence": drip(b"", b"", 0.5),
    "gzip header": drip(OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08", b"x"),
}


@pytest.mark.parametrize("kind", DRIPS)
def test_a_server_that_drips_is_left_at_the_deadline(kind: str) -> None:
    with serving(DRIPS[kind]) as server:
        source = ImageSource(STUDIO, "t", max_seconds=1.5, hosts=HERE)
        started = time.monotonic()
        told = reason(source, f"{server.url}/1.png")
        assert time.monotonic() - started < 3
        assert "took longer than" in told or kind == "gzip header"


def test_redirects_and_tries_share_one_deadline() -> None:
    def hop() -> Iterator[bytes]:
        time.sleep(0.7)
        yield b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n"
        yield b"Connection: close\r\n\r\n"

    def busy() -> Iterator[bytes]:
        time.sleep(0.7)
        yield b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    for write in (hop, busy):
        with serving(write) as server:
            source = ImageSource(STUDIO, "t", max_seconds=1.5, hosts=HERE)
            started = time.monotonic()
            assert "took longer than" in reason(source, f"{server.url}/1.png")
            assert time.monotonic() - started < 3


def test_a_server_that_does_not_take_the_connection_is_left_at_the_deadline() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = listener.getsockname()[1]
    waiting = [socket.socket() for _ in range(4)]
    try:
        for one in waiting:  # the queue of the listener is full now
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        source = ImageSource(STUDIO, "t", max_seconds=1.5, hosts=HERE)
        started = time.monotonic()
        assert isinstance(fetch(source, f"http://127.0.0.1:{port}/1.png"), UnreadableImage)
        assert time.monotonic() - started < 3
    finally:
        for one in (*waiting, listener):
            one.close()


def test_after_a_slow_image_its_server_is_not_asked_for_the_others() -> None:
    with serving(DRIPS["body"]) as server:
        source = ImageSource(STUDIO, "t", max_seconds=1.5, hosts=HERE)
        started = time.monotonic()
        got = dict(source.fetch([f"{server.url}/{n}" for n in range(100)]))
        assert len(got) == 100 and all(isinstance(one, UnreadableImage) for one in got.values())
        assert time.monotonic() - started < 6 and server.connections <= 16


def test_label_studio_that_is_silent_is_away_and_one_that_drips_is_the_images_fault() -> None:
    with serving(DRIPS["silence"]) as studio:
        source = ImageSource(studio.url, "t", max_seconds=1.5)
        assert isinstance(fetch(source, "/data/upload/1.png"), ImageUnavailable)
        assert not isinstance(fetch(source, "/tasks/1/resolve/?fileuri=x"), ImageUnavailable)
    with serving(DRIPS["body"]) as studio:
        source = ImageSource(studio.url, "t", max_seconds=1.5)
        assert not isinstance(fetch(source, "/data/upload/1.png"), ImageUnavailable)


@pytest.fixture(scope="module")
def packed() -> bytes:
    return gzip.compress(gzip.compress(bytes(500_000_000), 9), 9)


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "deflate", "br", "zstd", "x"])
def test_packed_content_is_refused_and_not_unpacked(encoding: str, packed: bytes) -> None:
    head = f"Content-Encoding: {encoding}\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    before = psutil.Process().memory_info().rss
    with serving(lambda: iter([OK + head + packed])) as server:
        told = reason(ImageSource(STUDIO, "t", hosts=HERE), f"{server.url}/1.png")
    assert "packed" in told
    assert b"accept-encoding: identity" in server.asked[0].lower()
    assert psutil.Process().memory_info().rss - before < 50_000_000


@pytest.mark.parametrize(
    "head",
    [
        OK + b"Connection: close\r\n\r\n",
        CHUNKED,
        OK + b"Content-Length: 99999999999999\r\n\r\n",
        OK + b"Content-Length: " + b"9" * 300 + b"\r\n\r\n",
    ],
)
def test_more_bytes_than_an_image_may_have_are_not_read(head: bytes) -> None:
    def write() -> Iterator[bytes]:
        yield head
        while True:
            yield b"10000\r\n" + b"x" * 65536 + b"\r\n"

    with serving(write) as server:
        source = ImageSource(STUDIO, "t", max_bytes=1_000_000, max_seconds=20, hosts=HERE)
        started = time.monotonic()
        assert isinstance(fetch(source, f"{server.url}/1.png"), UnreadableImage)
        assert time.monotonic() - started < 10


def test_bytes_around_the_content_are_counted_too() -> None:
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    flood = b"1;" + b"x" * 50_000 + b"\r\ny\r\n"
    sent = 0

    def write() -> Iterator[bytes]:
        nonlocal sent
        yield head
        while True:
            sent += len(flood)
            yield flood

    with serving(write) as server:
        source = ImageSource(STUDIO, "t", max_bytes=100_000, max_seconds=30, hosts=HERE)
        assert "larger than" in reason(source, f"{server.url}/1.png")
    assert sent < 10_000_000  # 50 kB of them carry one byte of content


def redirect_to(url: str) -> Callable[[], Iterator[bytes]]:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n".encode()
    return lambda: iter([answer])


def image() -> Iterator[bytes]:
    yield OK + b"Content-Length: 6\r\nConnection: close\r\n\r\npixels"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "[::ffff:7f00:1]"],
)
@pytest.mark.parametrize("allowed", ["", "images.example.org", "*"])
def test_private_addresses_that_were_not_allowed_are_not_connected_to(
    host: str, allowed: str
) -> None:
    with serving(image) as server:
        source = ImageSource(STUDIO, "t", hosts=ImageHosts.parse(allowed))
        told = reason(source, f"http://{host}:{server.port}/1.png")
        assert server.connections == 0
    assert SETTING in told


def test_an_open_port_looks_like_a_closed_one() -> None:
    with serving(image) as server:
        source = ImageSource(STUDIO, "t", hosts=ImageHosts())
        opened = reason(source, f"http://127.0.0.1:{server.port}/1.png")
        closed = reason(source, "http://127.0.0.1:1/1.png")
    assert opened.replace(str(server.port), "1") == closed


def test_a_redirect_is_checked_like_an_address() -> None:
    with serving(image) as secret, serving(redirect_to(f"{secret.url}/x")) as allowed:
        hosts = ImageHosts.parse(f"127.0.0.1:{allowed.port}")
        told = reason(ImageSource(STUDIO, "t", hosts=hosts), f"{allowed.url}/1.png")
        assert SETTING in told and secret.connections == 0


def test_label_studio_leads_to_its_storages_but_to_no_private_address() -> None:
    with serving(image) as secret, serving(redirect_to(f"{secret.url}/x")) as studio:
        told = reason(ImageSource(studio.url, "t", hosts=ImageHosts()), "/tasks/1/resolve/?x")
        assert "add 127.0.0.1 to" in told and secret.connections == 0
        hosts = ImageHosts.parse(f"127.0.0.1:{secret.port}")
        assert fetch(ImageSource(studio.url, "t", hosts=hosts), "/tasks/1/resolve/?x") == b"pixels"


def test_a_name_is_looked_up_once_and_the_checked_address_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The resolver is the attacker's: it answers another address whenever it is asked again."""
    real, answers = socket.getaddrinfo, ["127.0.0.1", "127.0.0.2"]
    asked: list[str] = []

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "images.example.org":
            asked.append(host)
            host = answers[min(len(asked), 2) - 1]
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with serving(image) as server:
        address = f"http://images.example.org:{server.port}/1.png"
        both = ImageHosts.parse(f"images.example.org, 127.0.0.1:{server.port}")
        assert fetch(ImageSource(STUDIO, "t", hosts=both), address) == b"pixels"
        assert len(asked) == 1
        by_name = ImageHosts.parse("images.example.org")
        asked.clear()
        told = reason(ImageSource(STUDIO, "t", hosts=by_name), address)
        assert "127.0.0.1" in told and server.connections == 1


def test_a_resolver_that_does_not_answer_is_left_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: ended.wait(30) and [])
    source = ImageSource(STUDIO, "t", max_seconds=0.5, hosts=ImageHosts.parse("*"))
    started = time.monotonic()
    assert "took longer" in reason(source, "http://images.example.org/1.png")
    assert time.monotonic() - started < 2
    ended.set()


def test_the_hosts_come_from_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving(image) as server:
        address = f"{server.url}/1.png"
        assert SETTING in reason(ImageSource(STUDIO, "t"), address)
        monkeypatch.setenv(SETTING, "10.0.0.0/8, 127.0.0.1")
        assert fetch(ImageSource(STUDIO, "t"), address) == b"pixels"


def test_images_after_many_that_drip_do_not_wait_for_them() -> None:
    with serving(DRIPS["trailers"]) as server, serving(image) as studio:
        source = ImageSource(studio.url, "t", max_seconds=30, hosts=HERE)
        slow = [f"{server.url}/{n}.png" for n in range(50)]
        started, came = time.monotonic(), []
        with contextlib.closing(source.fetch([*slow, "/good", "/other"])) as arrivals:
            for index, got in arrivals:
                assert got == b"pixels"
                came.append(index)
                if len(came) == 2:
                    break
        assert sorted(came) == [50, 51] and time.monotonic() - started < 25
