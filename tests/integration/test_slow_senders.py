"""The served backend against clients without a password that are slow, huge or broken."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from ml_backend.serving.request_body import MOST_BODY_BYTES
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.credentials import read_backend_password
from ml_backend.system.processes import Process
from tests.conftest import free_port

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="Bird"/></RectangleLabels></View>"""
# Seconds until a header that is not complete is given up, with the time to notice.
GIVEN_UP = 8.0


@dataclass
class Backend:
    settings: Settings
    port: int
    process: Process
    context: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://localhost:{self.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.context or True, trust_env=False)

    def time_health(self) -> float:
        started = time.monotonic()
        with self.client() as http:
            assert http.get("/health", timeout=20).json()["status"] == "UP"
        return time.monotonic() - started

    @property
    def authorization(self) -> str:
        user = f"{self.settings.backend_user}:{read_backend_password(self.settings)}"
        return "Basic " + base64.b64encode(user.encode()).decode()

    def ask(self, request: bytes) -> bytes:
        """Send bytes as they are and read until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), 20) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(request)
            answer = b""
            with contextlib.suppress(OSError):
                while part := connection.recv(65536):
                    answer += part
            return answer

    def log(self) -> bytes:
        return self.process.log.read_bytes()


@contextlib.contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Backend]:
    settings = Settings(data_dir=folder)
    Projects(settings.projects_database).connect(
        Project(1, "http://127.0.0.1:9", "token", "A project", CONFIG)
    )
    port = free_port()
    command = [
        sys.executable, "-P", "-m", "ml_backend", "--data-dir", str(folder),
        "serve", "--port", str(port),
    ]  # fmt: skip
    process = Process.start(command, folder / "serve.log", os.environ | environment, folder)
    context = None
    if "CYTOLOOP_TLS_CERTIFICATE" in environment:
        context = ssl.create_default_context(cafile=environment["CYTOLOOP_TLS_CERTIFICATE"])
    backend = Backend(settings, port, process, context)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                backend.time_health()
                break
            assert process.is_alive() and time.monotonic() < deadline, process.read_last_lines(20)
            time.sleep(0.1)
        yield backend
    finally:
        process.stop()


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with serving(tmp_path_factory.mktemp("plain")) as running:
        yield running


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = make_certificate(folder)
    with serving(
        folder, CYTOLOOP_TLS_CERTIFICATE=str(certificate), CYTOLOOP_TLS_KEY=str(key)
    ) as running:
        yield running


def make_certificate(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem", folder / "key.pem"


@contextlib.contextmanager
def slow_senders(
    port: int, number: int, first: bytes, drip: bytes
) -> Iterator[list[socket.socket]]:
    """Connections that send `first`, and a `drip` every half second while the block runs."""
    connections = []
    for _ in range(number):
        connections.append(socket.create_connection(("127.0.0.1", port), 20))
        connections[-1].sendall(first)
    ended = threading.Event()

    def keep_on() -> None:
        while not ended.wait(0.5):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(drip)

    thread = threading.Thread(target=keep_on, daemon=True)
    thread.start()
    try:
        yield connections
    finally:
        ended.set()
        thread.join()
        for connection in connections:
            connection.close()


POST = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
SENDERS = {
    "nothing": (b"", b""),
    "half a request line": (b"GET /hea", b""),
    "half a header": (b"GET /health HTTP/1.1\r\nHost: x\r\nX-", b""),
    "dripping request line": (b"GET /", b"x"),
    "dripping headers": (b"GET /health HTTP/1.1\r\n", b"X: 1\r\n"),
    "body without a password": (POST + b"Content-Length: 1000000\r\n\r\n", b"x"),
    "chunks without a password": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "chunk extension": (POST + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
}


# Seconds. Slow senders are given up after five: who is answered before did not wait for them, on
# busy cores too; on idle ones it takes less than one.
NOT_HELD = 4


@pytest.mark.parametrize("kind", SENDERS)
@pytest.mark.parametrize("number", [50, 300])
def test_health_answers_while_others_are_slow(backend: Backend, kind: str, number: int) -> None:
    with slow_senders(backend.port, number, *SENDERS[kind]):
        for _ in range(4):
            assert backend.time_health() < NOT_HELD
            time.sleep(0.3)


@pytest.mark.parametrize("kind", [kind for kind in SENDERS if "header" in kind or "line" in kind])
def test_a_connection_whose_header_does_not_end_is_closed(backend: Backend, kind: str) -> None:
    with slow_senders(backend.port, 1, *SENDERS[kind]) as (connection,):
        connection.settimeout(GIVEN_UP)
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""
        assert time.monotonic() - started < GIVEN_UP


@pytest.mark.parametrize(
    "first", [b"", b"\x16\x03\x01\x02", b"\x16\x03\x01\x02\x00\x01"], ids=["none", "half", "more"]
)
def test_slow_handshakes_hold_nobody(secured: Backend, first: bytes) -> None:
    taken = []  # each with a handshake of its own
    with slow_senders(secured.port, 50, first, b""):
        for _ in range(4):
            taken.append(secured.time_health())
            time.sleep(0.3)
    # Busy cores can delay one of them; a server that slow ones hold delays all.
    assert min(taken) < 1.5 and max(taken) < NOT_HELD


def test_tls_serves_and_plain_requests_get_nothing(secured: Backend) -> None:
    with secured.client() as http:
        headers = {"Authorization": secured.authorization}
        assert http.get("/versions", headers=headers).status_code == 200
    assert b"200" not in secured.ask(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")[:15]


def test_a_connection_is_used_again(backend: Backend) -> None:
    body = b'{"project": 1, "action": "TASKS_CREATED"}'
    headers = {"Authorization": backend.authorization}
    connection = HTTPConnection("127.0.0.1", backend.port, timeout=20)
    with contextlib.closing(connection):
        connection.connect()
        kept = connection.sock
        for sent in (None, body, [body[:9], body[9:]], None):  # the list goes in chunks
            if sent is None:
                connection.request("GET", "/health")
            else:
                connection.request("POST", "/webhook", sent, headers)
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read()
            assert connection.sock is kept


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /health HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b"4"),
        (b"GET /health HTTP/1.1\r\n" + b"X: 1\r\n" * 1000 + b"\r\n", b"4"),
        (b"\x1b[31mFORGED\r\nGET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /health\x1b]0;x\x07 HTTP/9.9\r\n\r\n", b"4"),
    ],
)
def test_long_and_broken_headers_are_refused_in_one_short_line_of_the_log(
    backend: Backend, request_line: bytes, status: bytes
) -> None:
    before = len(backend.log())
    for _ in range(20):
        assert backend.ask(request_line).startswith(b"HTTP/1.1 " + status)
    written = backend.log()[before:]
    assert len(written) < 20 * 2500
    assert b"\x1b" not in written and b"\x07" not in written
    assert all(line.startswith(b"[20") for line in written.splitlines())


def post(backend: Backend, headers: str, body: bytes, route: str = "webhook") -> bytes:
    head = (
        f"POST /{route} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: {backend.authorization}\r\n{headers}\r\n"
    )
    return backend.ask(head.encode() + body)


@pytest.mark.parametrize(
    "body",
    [b"zz\r\n{}\r\n", b"-1\r\n{}\r\n0\r\n\r\n", b"\r\n\r\n", b"2\r\n{}xx0\r\n\r\n", b"2\r\n{"],
)
def test_bad_chunks_are_a_bad_request(backend: Backend, body: bytes) -> None:
    before = len(backend.log())
    with socket.create_connection(("127.0.0.1", backend.port), 20) as connection:
        connection.sendall(
            b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Authorization: " + backend.authorization.encode() + b"\r\n\r\n" + body
        )
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert b"Traceback" not in backend.log()[before:]


def test_a_body_beyond_the_limit_is_refused(backend: Backend) -> None:
    answer = post(backend, f"Content-Length: {MOST_BODY_BYTES + 1}\r\n", b"x" * 10)
    assert answer.startswith(b"HTTP/1.1 413 ")
    chunk = b"%x\r\n" % 1_000_000 + b" " * 1_000_000 + b"\r\n"
    flood = chunk * (MOST_BODY_BYTES // 1_000_000 + 2)
    answer = post(backend, "Transfer-Encoding: chunked\r\n", flood)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert backend.time_health() < 1


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("setup", {"project": 1, "schema": "<View>\ud800</View>"}),
        ("webhook", {"project": 1, "action": "\udfff"}),
        ("webhook", {"project": "\ud800", "action": "TASKS_CREATED"}),
    ],
)
def test_half_a_surrogate_pair_is_a_bad_request(
    backend: Backend, route: str, body: dict[str, object]
) -> None:
    sent = json.dumps(body).encode()
    answer = post(backend, f"Content-Length: {len(sent)}\r\n", sent, route)
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_broken_origin_is_forbidden(backend: Backend) -> None:
    answer = post(backend, "Origin: http://[\r\nContent-Length: 2\r\n", b"{}")
    assert answer.startswith(b"HTTP/1.1 403 ")


def test_many_at_once_are_all_answered(backend: Backend) -> None:
    statuses: list[int] = []

    def ask() -> None:
        with backend.client() as http:
            for _ in range(5):
                statuses.append(http.get("/health", timeout=30).status_code)

    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 300
