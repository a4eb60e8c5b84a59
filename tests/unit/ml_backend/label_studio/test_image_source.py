"""Fetching from servers of every kind of bad manners; real sockets, no Label Studio."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ml_backend.dataset.snapshot import Submission
from ml_backend.imaging.decode import UnreadableImage
from ml_backend.label_studio import image_source
from ml_backend.label_studio.image_hosts import ImageHosts
from ml_backend.label_studio.image_source import ImageSource, ImageUnavailable
from ml_backend.label_studio.session import StudioUnreachable
from ml_backend.retraining.image_cache import fetch_images

HERE = ImageHosts.parse("localhost")
PERSONAL = "aaa.bbb.ccc"  # looks like a JWT, so it is exchanged for an access token

Answer = tuple[int, dict[str, str], bytes]


class Site:
    """A server that answers what `answer` says, and remembers (path, Authorization)."""

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        self.asked: list[tuple[str, str | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                authorization = self.headers.get("Authorization")
                site.asked.append((self.path, authorization))
                if self.path == "/api/token/refresh/":
                    status, headers, body = 200, {}, b'{"access": "short-lived"}'
                else:
                    status, headers, body = answer(self.path)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def site(answer: Callable[[str], Answer]) -> Iterator[Site]:
    site = Site(answer)
    thread = threading.Thread(target=site.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()


def bytes_of(path: str) -> Answer:
    return 200, {}, path.encode()


def fetch_single(source: ImageSource, address: str) -> bytes | Exception:
    ((index, got),) = source.fetch([address])
    assert index == 0
    return got


def reason(source: ImageSource, address: str) -> str:
    got = fetch_single(source, address)
    assert isinstance(got, UnreadableImage)
    return got.reason


def test_every_address_is_answered_once_whatever_the_others_do() -> None:
    def answer(path: str) -> Answer:
        return (404, {}, b"") if path.endswith("7") else bytes_of(path)

    with site(answer) as studio:
        source = ImageSource(studio.url, PERSONAL)
        got = dict(source.fetch([f"/data/upload/{i}" for i in range(100)]))
    assert sorted(got) == list(range(100))
    for index, content in got.items():
        if index % 10 == 7:
            assert isinstance(content, UnreadableImage) and "HTTP 404" in content.reason
        else:
            assert content == f"/data/upload/{index}".encode()
    renewals = [path for path, _ in studio.asked if path == "/api/token/refresh/"]
    assert len(renewals) == 1


def test_a_legacy_token_is_sent_as_it_is() -> None:
    with site(bytes_of) as studio:
        assert (
            fetch_single(ImageSource(studio.url, "abc123"), "/data/upload/1") == b"/data/upload/1"
        )
    assert studio.asked == [("/data/upload/1", "Token abc123")]


def test_the_token_goes_to_the_own_origin_only() -> None:
    with site(bytes_of) as studio, site(bytes_of) as other:
        got = fetch_single(ImageSource(studio.url, PERSONAL, hosts=HERE), f"{other.url}/1.png")
    assert got == b"/1.png"
    assert other.asked == [("/1.png", None)]


def test_the_token_does_not_follow_a_redirect_to_another_origin() -> None:
    with site(bytes_of) as storage:

        def answer(path: str) -> Answer:
            return 303, {"Location": f"{storage.url}/signed?key=1"}, b""

        with site(answer) as studio:
            source = ImageSource(studio.url, PERSONAL, project=3, hosts=HERE)
            got = fetch_single(source, "s3://bucket/a b.png")
    assert got == b"/signed?key=1"
    assert storage.asked == [("/signed?key=1", None)]
    path, authorization = studio.asked[-1]
    assert path.startswith("/projects/3/resolve/?fileuri=")
    assert authorization == "Bearer short-lived"


def test_a_redirect_back_to_the_own_origin_carries_the_token_again() -> None:
    def answer(path: str) -> Answer:
        return bytes_of(path) if path == "/there" else (302, {"Location": "/there"}, b"")

    with site(answer) as studio:
        assert fetch_single(ImageSource(studio.url, PERSONAL), "/here") == b"/there"
    assert studio.asked[-1] == ("/there", "Bearer short-lived")


def test_a_refused_token_is_renewed_once() -> None:
    calls = 0

    def answer(path: str) -> Answer:
        nonlocal calls
        calls += 1
        return (401, {}, b"") if calls == 1 else bytes_of(path)

    with site(answer) as studio:
        assert fetch_single(ImageSource(studio.url, PERSONAL), "/1") == b"/1"


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "no image at"), (403, "may not be read"), (401, "may not be read"), (500, "HTTP 500")],
)
def test_a_refusal_is_told_with_its_address(status: int, words: str) -> None:
    with site(lambda path: (status, {}, b"no")) as studio:
        told = reason(ImageSource(studio.url, PERSONAL), "/data/upload/1.png")
    assert words in told and "/data/upload/1.png" in told


def test_what_is_no_image_address_is_told() -> None:
    source = ImageSource("http://127.0.0.1:9", PERSONAL)
    assert reason(source, "") == "the task has no image"
    assert "not an http(s) address" in reason(source, "ftp://host/1.png")
    assert "not an http(s) address" in reason(source, "file:///etc/passwd")
    assert "not an http(s) address" in reason(source, "s3://bucket/1.png")


def test_a_redirect_to_a_file_of_this_machine_is_refused() -> None:
    with site(lambda path: (302, {"Location": "file:///etc/passwd"}, b"")) as studio:
        assert "not http(s)" in reason(ImageSource(studio.url, PERSONAL), "/1")


def test_a_circle_of_redirects_ends() -> None:
    with site(lambda path: (302, {"Location": "/1"}, b"")) as studio:
        assert "HTTP 302" in reason(ImageSource(studio.url, PERSONAL), "/1")


def test_an_empty_file_and_one_that_is_too_large_are_told() -> None:
    with site(lambda path: (200, {}, b"" if path == "/0" else b"x" * 2000)) as studio:
        source = ImageSource(studio.url, PERSONAL, max_bytes=1000)
        assert reason(source, "/0") == "the file is empty"
        assert "larger than" in reason(source, "/2000")


def test_too_large_is_noticed_also_where_the_server_does_not_say_so() -> None:
    def answer(path: str) -> Answer:
        # Without a length the body ends with the connection.
        return 200, {"Content-Length": "", "Connection": "close"}, b"x" * 100_000

    with site(answer) as studio:
        told = reason(ImageSource(studio.url, PERSONAL, max_bytes=1000), "/1")
    assert "larger than" in told


def test_a_server_that_is_busy_is_asked_again() -> None:
    calls = 0

    def answer(path: str) -> Answer:
        nonlocal calls
        calls += 1
        return (503, {}, b"") if calls == 1 else bytes_of(path)

    with site(answer) as studio:
        assert fetch_single(ImageSource(studio.url, PERSONAL), "/1") == b"/1"


def test_a_server_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_source.time, "sleep", lambda seconds: None)
    assert "does not answer" in reason(ImageSource("http://127.0.0.1:9", PERSONAL), "/1.png")


def test_an_image_inside_the_address_is_read() -> None:
    source = ImageSource("http://127.0.0.1:9", PERSONAL)
    assert fetch_single(source, "data:image/png;base64,aGVsbG8=") == b"hello"


@pytest.fixture
def media(tmp_path: Path) -> Path:
    (tmp_path / "media" / "3").mkdir(parents=True)
    (tmp_path / "media" / "3" / "a b.png").write_bytes(b"pixels")
    (tmp_path / "media" / "3" / "empty.png").write_bytes(b"")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    return tmp_path / "media"


def test_files_of_our_media_folder_are_read_without_asking_anyone(media: Path) -> None:
    source = ImageSource("http://127.0.0.1:9", PERSONAL, media=media)
    assert fetch_single(source, "/data/local-files/?d=3/a%20b.png") == b"pixels"
    assert fetch_single(source, "http://localhost:9/data/local-files/?d=3/a%20b.png") == b"pixels"
    assert reason(source, "/data/local-files/?d=3/empty.png") == "the file is empty"


@pytest.mark.parametrize(
    "path", ["../secret.txt", "3/../../secret.txt", "3/link.txt", "%2E%2E/secret.txt"]
)
def test_what_lies_outside_the_media_folder_is_left_to_the_server(media: Path, path: str) -> None:
    try:
        (media / "3" / "link.txt").symlink_to(media.parent / "secret.txt")
    except OSError:
        pytest.skip("this system lets nobody make links")
    with site(lambda path: (404, {}, b"")) as studio:
        source = ImageSource(studio.url, PERSONAL, media=media)
        assert "HTTP 404" in reason(source, f"/data/local-files/?d={path}")


def test_the_local_files_of_another_server_are_not_ours(media: Path) -> None:
    with site(bytes_of) as other:
        source = ImageSource("http://127.0.0.1:9", PERSONAL, media=media)
        address = f"{other.url}/data/local-files/?d=3/a%20b.png"
        assert fetch_single(source, address) != b"pixels"


def test_leaving_early_fetches_no_more_than_what_was_ahead() -> None:
    with site(bytes_of) as studio:
        source = ImageSource(studio.url, PERSONAL)
        for _ in source.fetch([f"/{i}" for i in range(1000)]):
            break
    assert len(studio.asked) <= image_source.AHEAD + image_source.WORKERS + 2


def test_only_label_studio_itself_can_be_away() -> None:
    """Its own images will be there again; what another address answers is the image's fault."""

    def answer(path: str) -> Answer:
        return (503 if path.endswith("busy") else 404), {}, b""

    with site(answer) as studio, site(answer) as other:
        source = ImageSource(studio.url, PERSONAL, hosts=HERE)
        assert isinstance(fetch_single(source, "/data/upload/busy"), ImageUnavailable)
        assert not isinstance(fetch_single(source, "/data/upload/none"), ImageUnavailable)
        assert not isinstance(fetch_single(source, f"{other.url}/busy"), ImageUnavailable)
    assert isinstance(
        fetch_single(ImageSource("http://127.0.0.1:9", "abc"), "/data/upload/1"), ImageUnavailable
    )
    assert not isinstance(
        fetch_single(ImageSource(studio.url, "abc", hosts=HERE), "http://127.0.0.1:9/1"),
        ImageUnavailable,
    )


def test_images_that_are_away_stop_a_snapshot_and_missing_ones_are_told(tmp_path: Path) -> None:
    """A snapshot without them would stand for all corrections, and they would not be new later."""
    chosen = [Submission(task, {"image": f"/data/upload/{task}"}, task, "", []) for task in (1, 2)]
    with site(lambda path: (404, {}, b"")) as studio:
        source = ImageSource(studio.url, PERSONAL)
        got = list(fetch_images(chosen, "image", source, tmp_path))
        assert all("HTTP 404" in str(error) for error in got)
    with pytest.raises(StudioUnreachable, match="task 1"):
        list(fetch_images(chosen[:1], "image", source, tmp_path))
