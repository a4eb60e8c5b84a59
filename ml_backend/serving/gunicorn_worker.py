"""gunicorn's threaded worker, made to bear slow senders and those who never end.

A thread reads a connection's header and body, and gunicorn waits for both without end. Here what is
awaited has a deadline, and there are many more threads than slow connections may hold: where too
many are slow, the one that waits longest is closed. An honest request is read within milliseconds,
so it is hardly ever the one.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import ThreadWorker
from werkzeug.exceptions import BadRequest

from ml_backend.system.printable import OneLineFormatter

# Seconds until a connection's next header is complete, the TLS handshake included, and then the
# body of a request.
HEADER_SECONDS, BODY_SECONDS = 5.0, 60.0
# Seconds in which a client may take note that its connection is being closed.
_LINGER_SECONDS = 1.0
# Connections that may be awaited at a time.
MOST_WAITING = 128
# More threads than that, for requests that are being answered.
THREADS = MOST_WAITING + 64


class BoundedWorker(ThreadWorker):
    """Answers requests in threads, and closes what takes too long to arrive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Connections that are awaited, the longest first, and until when (`time.monotonic()`).
        self._waiting: dict[Any, float] = {}
        self._lock = threading.Lock()

    def enqueue_req(self, conn: Any) -> None:
        """Let a thread handle a connection whose header is due now."""
        self._watch(conn, time.monotonic() + HEADER_SECONDS)
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Read and answer one request of a connection; in a thread."""
        try:
            if super().handle(conn) is True:
                return True
            # Here, because gunicorn's one loop would wait for the client to close its side.
            self._watch(conn, time.monotonic() + _LINGER_SECONDS)
            util.close_graceful(conn.sock, timeout=_LINGER_SECONDS)
            conn.is_closed = True
            return False
        finally:
            self._unwatch(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request whose header is read."""
        self._unwatch(conn)
        req.body = _WatchedBody(self, conn, req.body)
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        """Use a connection again only where nothing of its last request is left to read."""
        return bool(keepalive) and _is_read(conn.parser.mesg.body)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Go on with a connection that a thread is done with; in gunicorn's loop."""
        if getattr(conn, "is_closed", False):
            self.nr_conns -= 1
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Close what is late; gunicorn's loop calls it every second or more often."""
        super().murder_pending()
        now = time.monotonic()
        with self._lock:
            late = [conn for conn, deadline in self._waiting.items() if deadline <= now]
            for conn in late:
                del self._waiting[conn]
        for conn in late:
            _cut(conn)

    @contextlib.contextmanager
    def watching(self, conn: Any, deadline: float) -> Iterator[None]:
        """Close the connection where the block does not end before the deadline."""
        self._watch(conn, deadline)
        try:
            yield
        finally:
            self._unwatch(conn)

    def _watch(self, conn: Any, deadline: float) -> None:
        longest = None
        with self._lock:
            self._waiting[conn] = deadline
            if len(self._waiting) > MOST_WAITING:
                longest = next(iter(self._waiting))
                del self._waiting[longest]
        if longest is not None:
            _cut(longest)

    def _unwatch(self, conn: Any) -> None:
        with self._lock:
            self._waiting.pop(conn, None)


class _WatchedBody:
    """The body of a request; all of it must come before one deadline."""

    def __init__(self, worker: BoundedWorker, conn: Any, body: Any) -> None:
        self._worker = worker
        self._conn = conn
        self._body = body
        self._deadline = time.monotonic() + BODY_SECONDS

    @property
    def reader(self) -> Any:
        return self._body.reader

    def read(self, size: int | None = None) -> bytes:
        with self._reading():
            return self._body.read(size)

    def readline(self, size: int | None = None) -> bytes:
        with self._reading():
            return self._body.readline(size)

    def readlines(self, size: int | None = None) -> list[bytes]:
        with self._reading():
            return self._body.readlines(size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with self._worker.watching(self._conn, self._deadline):
                yield
        except (OSError, ParseException) as error:
            raise BadRequest("the request's body is broken, or did not come in time") from error


def _is_read(body: Any) -> bool:
    """Tell whether a body, of a known length or in chunks, was read to its end."""
    reader = body.reader
    return getattr(reader, "length", None) == 0 or getattr(reader, "parser", True) is None


def _cut(conn: Any) -> None:
    # Of the socket itself: the thread that reads it may be inside its TLS layer.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(conn.sock, socket.SHUT_RDWR)


class OneLineLogger(Logger):
    """gunicorn's log, in which a client's words stay in their line."""

    def setup(self, cfg: Any) -> None:
        """Set the log up."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(OneLineFormatter(self.error_fmt, self.datefmt))
