"""What a server of images may answer: headers, lengths, chunks, packing, redirects."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from functools import cache

from ml_backend.label_studio.image_hosts import ImageHosts
from ml_backend.label_studio.image_source import ImageSource
from tests.hostile.hostile import Hostile, give

OK = b"HTTP/1.1 200 OK\r\n"


def redirect(address: str, status: int = 302) -> bytes:
    """Make an answer that leads elsewhere."""
    head = f"HTTP/1.1 {status} Found\r\nLocation: {address}\r\nContent-Length: 0\r\n\r\n"
    return head.encode("latin-1", "replace")


ANSWERS: dict[str, tuple[bytes, str]] = {
    "nothing at all": (b"", "does not answer"),
    "no http": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not answer"),
    "a line alone": (b"HTTP/1.1 200", "does not answer"),
    "a status of letters": (b"HTTP/1.1 abc OK\r\n\r\n", "does not answer"),
    "a status of 7 digits": (b"HTTP/1.1 2000000 OK\r\n\r\n", "does not answer"),
    "html": (b"<html>hello</html>\r\n\r\n", "does not answer"),
    "a header without a colon": (OK + b"nothing\r\n\r\n", "does not answer"),
    "a header of control characters": (OK + b"A: \x00\x01\r\n\r\n", "does not answer"),
    "a header with a blank in its name": (OK + b"A B: c\r\n\r\n", "does not answer"),
    "a header of 200 kB": (OK + b"A: " + b"x" * 200_000 + b"\r\n\r\n", "does not answer|larger"),
    "10,000 headers": (OK + b"A: b\r\n" * 10_000 + b"\r\n", "does not answer|larger|empty"),
    "a header that has no end": (OK + b"A: b", "does not answer"),
    "a length below zero": (OK + b"Content-Length: -1\r\n\r\nx", "does not answer"),
    "a length of letters": (OK + b"Content-Length: many\r\n\r\nx", "does not answer"),
    "a length of 400 digits": (
        OK + b"Content-Length: " + b"9" * 400 + b"\r\n\r\nx",
        "does not answer|larger",
    ),
    "a length of 1 TB": (OK + b"Content-Length: 1000000000000\r\n\r\nx", "larger than"),
    "a length of 10^18": (OK + b"Content-Length: 1000000000000000000\r\n\r\nx", "larger than"),
    "a length in hex": (OK + b"Content-Length: 0x10\r\n\r\nx", "does not answer"),
    "two lengths": (OK + b"Content-Length: 1\r\nContent-Length: 9\r\n\r\nx", "does not answer"),
    "a length and chunks": (
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "does not answer|empty",
    ),
    "a length that is not kept": (OK + b"Content-Length: 100\r\n\r\nx", "does not answer"),
    "no content": (OK + b"Content-Length: 0\r\n\r\n", "empty"),
    "no content, without a length": (OK + b"\r\n", "empty"),
    "a chunk of letters": (OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "does not answer"),
    "a chunk below zero": (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n", "does not answer"),
    "a chunk of 2^64": (
        OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        "does not answer|larger",
    ),
    "a chunk of 400 digits": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 400 + b"\r\nx",
        "does not answer|larger",
    ),
    "a chunk that is cut off": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n10\r\nx",
        "does not answer",
    ),
    "chunks without an end": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        "does not answer",
    ),
    "a chunk's extension of 200 kB": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 200_000,
        "does not answer|larger",
    ),
    "10,000 trailers": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
        "does not answer|larger|empty",
    ),
    "an unknown transfer": (OK + b"Transfer-Encoding: evil\r\n\r\nx", "does not answer|packed|x"),
    "1,000 continues": (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "does not answer"),
    "an early hint alone": (b"HTTP/1.1 103 Early Hints\r\n\r\n", "does not answer"),
    "another protocol": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP 101|does not answer",
    ),
    **{
        f"packed by {packing}": (
            OK + f"Content-Encoding: {packing}\r\nContent-Length: 1\r\n\r\nx".encode(),
            "came packed",
        )
        for packing in (
            *("gzip", "deflate", "br", "zstd", "compress", "x-gzip", "gzip, gzip", "GZIP", "evil"),
            *("identity, gzip", "gzip;q=1", "*", "gzip " + ", gzip" * 200),
        )
    },
    **{
        f"status {status}": (
            f"HTTP/1.1 {status} X\r\nContent-Length: 1\r\n\r\nx".encode(),
            f"HTTP {status}|does not answer",
        )
        for status in (201, 202, 203, 205, 206, 207, 226, 300, 305, 306, 400, 401, 402, 403, 404)
    },
    **{
        f"status {status} again": (
            f"HTTP/1.1 {status} X\r\nContent-Length: 1\r\n\r\nx".encode(),
            f"HTTP {status}|does not answer",
        )
        for status in (405, 407, 408, 410, 413, 416, 418, 425, 451, 500, 501, 505, 511, 599, 999)
    },
    "moved to nowhere": (b"HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n", "HTTP 302"),
    "moved to itself": (redirect(""), "HTTP 302"),
    "moved on and on": (redirect("?again"), "HTTP 302"),
    **{
        f"moved to {address[:60]}": (redirect(address), refusal)
        for address, refusal in {
            "file:///etc/passwd": "not http",
            "ftp://127.0.0.1/x": "not http",
            "gopher://127.0.0.1:70/_x": "not http",
            "data:image/png;base64,AA==": "not http|cannot be fetched",
            "javascript:alert(1)": "not http|cannot be fetched",
            "unix:///var/run/docker.sock": "not http",
            "http://10.1.2.3/": "may not come from",
            "http://169.254.169.254/latest/meta-data/": "may not come from",
            "http://[::1]/": "may not come from|an address of a private network",
            "http://[::ffff:10.0.0.1]/": "may not come from",
            "http://[fe80::1%25eth0]/": "may not come from|cannot be fetched",
            "http://0.0.0.0/": "may not come from",
            "http://metadata.google.internal/": "may not come from",
            "//10.1.2.3/": "may not come from",
            "http://user:password@10.1.2.3/": "may not come from",  # pragma: allowlist secret
            "http://127.0.0.1@10.1.2.3/": "may not come from",
            "http://10.1.2.3#@127.0.0.1/": "may not come from",
            "http://10.1.2.3\\@127.0.0.1/": "may not|cannot be fetched|does not answer",
            "http://[bad/": "cannot be fetched|may not",
            "http://127.0.0.1:99999/": "cannot be fetched|may not|does not",
            "http://": "HTTP 302",
            "https://127.0.0.1:1/": "does not answer|may not",
            "http://" + "a" * 5000 + "/": "may not|cannot",
            "\x01\x02": "does not answer|HTTP 404|cannot",
        }.items()
    },
}


@cache
def serve_answers() -> str:
    """Start, once a process, a server that gives each of ANSWERS at its number; else 404."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    known = {f"/{n}": answer for n, (answer, _) in enumerate(ANSWERS.values())}

    def answer(connection: socket.socket) -> None:
        with connection:
            asked = b""
            while b"\r\n\r\n" not in asked and (part := connection.recv(65_536)):
                asked += part
            path = asked.split(b" ")[1].decode("latin-1") if b" " in asked else ""
            missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            try:
                connection.sendall(known.get(path.split("?")[0], missing))
            except OSError:
                return  # whoever asked has seen enough

    def serve() -> None:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=answer, args=[connection], daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def fetch_answer(number: int) -> str:
    """Fetch an image from a host that was allowed and answers so."""
    source = ImageSource(
        "http://192.0.2.1:9", "token", max_seconds=60.0, hosts=ImageHosts.parse("127.0.0.1")
    )
    ((_, content),) = source.fetch([f"{serve_answers()}/{number}"])
    return str(content)


def list_answers() -> Iterator[Hostile]:
    """List the answers."""
    for number, (name, (_, refusal)) in enumerate(ANSWERS.items()):
        yield Hostile(name, give(number), fetch_answer, refusal)
