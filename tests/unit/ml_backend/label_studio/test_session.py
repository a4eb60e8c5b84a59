"""Every fault of a server is one of four errors, in words; real sockets, no Label Studio."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest

from ml_backend.label_studio import session as session_module
from ml_backend.label_studio.session import (
    ProjectGone,
    Session,
    StudioFault,
    StudioRefused,
    StudioUnreachable,
    is_passing,
)

Answer = tuple[int, bytes]


def make_token(kind: str, seconds: float = 3600) -> str:
    return jwt.encode({"token_type": kind, "exp": time.time() + seconds}, "secret " * 5)


class Server:
    """Answers what `answer` says of a path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Callable[[str], Answer] = lambda path: (200, b"{}")
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.asked.append(self.path)
                status, body = server.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(session_module, "WAITS", (0.0, 0.0))
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.mark.parametrize(
    ("status", "error", "tries"),
    [
        (401, StudioRefused, 1),
        (403, StudioRefused, 1),
        (404, ProjectGone, 1),
        (400, StudioFault, 1),
        (502, StudioFault, 3),
        (429, StudioFault, 3),
    ],
)
def test_a_status_is_an_error_in_words_and_only_a_busy_server_is_asked_again(
    server: Server, status: int, error: type[Exception], tries: int
) -> None:
    server.answer = lambda path: (status, b'{"detail": "said so"}')
    session = Session(server.url, "legacy", 5)
    with pytest.raises(error, match="said so") as caught:
        session.call(session.sdk.projects.get, 7)
    assert len(server.asked) == tries and is_passing(caught.value) == (tries > 1)
    assert server.url in str(caught.value) and "\n" not in str(caught.value)


def test_what_may_not_be_done_twice_is_not_sent_again(server: Server) -> None:
    server.answer = lambda path: (503, b"{}")
    session = Session(server.url, "legacy", 5)
    with pytest.raises(StudioFault):
        session.call(session.sdk.projects.get, 7, again=False)
    assert len(server.asked) == 1


def test_a_token_is_exchanged_once_for_many_calls(server: Server) -> None:
    access = json.dumps({"access": make_token("access")}).encode()
    server.answer = lambda path: (200, access if "token" in path else b'{"id": 7}')
    session = Session(server.url, make_token("refresh"), 5)
    for _ in range(3):
        assert session.call(session.sdk.projects.get, 7).id == 7
    assert server.asked.count("/api/token/refresh/") == 1


def test_a_page_of_a_proxy_in_place_of_a_token_is_waited_out(server: Server) -> None:
    access = json.dumps({"access": make_token("access")}).encode()
    pages = [(502, b"<html>Bad gateway</html>")] * 2

    def answer(path: str) -> Answer:
        if "token" not in path:
            return 200, b'{"id": 7}'
        return pages.pop() if pages else (200, access)

    server.answer = answer
    session = Session(server.url, make_token("refresh"), 5)
    assert session.call(session.sdk.projects.get, 7).id == 7
    session = Session(server.url, make_token("refresh"), 5)
    pages += [(502, b"<html>Bad gateway</html>")] * 3
    with pytest.raises(StudioUnreachable, match="a page came in place of an access token"):
        session.call(session.sdk.projects.get, 7)


def test_a_token_that_has_expired_is_refused_without_asking(server: Server) -> None:
    with pytest.raises(StudioRefused, match="make a new personal access token"):
        Session(server.url, make_token("refresh", -5), 5)
    assert not server.asked


def test_no_server_is_one_error(server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()
    session = Session(server.url, "legacy", 2)
    with pytest.raises(StudioUnreachable, match=f"{server.url} does not answer"):
        session.call(session.sdk.projects.get, 7)
