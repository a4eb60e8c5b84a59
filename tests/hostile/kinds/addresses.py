"""Addresses of images: private networks in every spelling, other schemes, and bad allow-lists."""

from __future__ import annotations

from collections.abc import Iterator

from ml_backend.label_studio.image_hosts import ImageHosts
from ml_backend.label_studio.image_source import ImageSource
from tests.hostile.hostile import Hostile, give, tabulate

# An address of every network that is no public one (IANA's registries of special-purpose
# addresses), and of those that lead into an IPv4 network.
PRIVATE = (
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.254", "100.64.0.1", "100.127.255.254"),
    *("127.0.0.2", "127.1.2.3", "127.255.255.254", "169.254.169.254", "169.254.1.1"),
    *("172.16.0.1", "172.31.255.254", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.168.0.1"),
    *("192.168.255.254", "198.18.0.1", "198.19.255.254", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:169.254.169.254]"),
    *("[::127.0.0.1]", "[64:ff9b::10.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::1]", "[100::1]"),
    *("[2001:db8::1]", "[2002:7f00:1::]", "[2002:a00:1::]", "[2002:a9fe:a9fe::]", "[fc00::1]"),
    *("[fd12:3456::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[ff05::2]", "[2001::1]"),
)
# This machine, as other programs write it.
SPELLINGS = (
    *("localhost", "LOCALHOST", "localhost.", "127.1", "127.0.1", "2130706433", "0x7f000001"),
    *("0x7f.0.0.1", "0177.0.0.1", "017700000001", "127.0.0.01", "0", "00000", "127.0.0.1."),
    *("ip6-localhost", "localhost.localdomain", "①②⑦.⓪.⓪.①", "127。0。0。1", "user@127.0.0.2"),
    *("user:pass@10.0.0.1", "example.org@10.0.0.1", "10.0.0.1:22", "10.0.0.1:0", "10.0.0.1:99999"),
    *("10.0.0.1:-1", "10.0.0.1:x", "[::1", "::1", "[::1%25lo]", "[fe80::1%25eth0]", "[v1.x]"),
    *("", " ", "%31%30.0.0.1", "10.0.0.1%00.org", "10.0.0.1\t", "10.0.0.1\\@example.org"),
    *("a" * 300, "a." * 200, ".", "..", "-", "*", "xn--", "xn--a", "\ud800", "💥.invalid"),
)
SCHEMES = (
    *("file:///etc/passwd", "file:etc", "FILE:///etc/passwd", "ftp://10.0.0.1/x", "sftp://a/b"),
    *("gopher://10.0.0.1:6379/_x", "dict://10.0.0.1:11211/", "ldap://10.0.0.1/", "tftp://a/b"),
    *("jar:http://a!/b", "netdoc:///etc/passwd", "php://filter", "javascript:alert(1)", "blob:x"),
    *("vbscript:x", "mailto:a@b", "ssh://a", "git://a/b", "ws://10.0.0.1/", "unix:/var/run/x"),
    *("expect://id", "phar://x", "about:blank", "chrome://x", "view-source:http://a", "x:y", "://"),
)
DATA = ("data:", "data:,", "data:image/png;base64,", "data:image/png;base64,!", "data:;base64,=")
HOSTS = (
    *("a b$", "http://a", "a/b", "10.0.0.0/33", "10.0.0.1/-1", "a:b:c", "a:99999"),
    *("a:x", "*a", "a*", "**", "*.*.a", "a..*", "-a-", "é", "10.0.0.0/8:99999:1", "fd00::/129"),
    *("a;b", "a@b", "a%b", "[", "]", "/", "?", "#", "user@a", "\0", "a\0b", "_._-"),
)


def fetch(address: str) -> str:
    """Fetch an image where every name is allowed, and no private address."""
    hosts = ImageHosts.parse("*")
    source = ImageSource("http://studio.invalid:8080", "token", max_seconds=5.0, hosts=hosts)
    ((_, content),) = source.fetch([address])
    return str(content)


def list_addresses() -> Iterator[Hostile]:
    """List addresses that must not be asked."""
    refused = "private network or of this machine"
    for host in PRIVATE:
        yield Hostile(f"http to {host}", give(f"http://{host}/a.png"), fetch, refused)
    for host in PRIVATE[::4]:
        address = f"https://{host}:8443/a.png"
        yield Hostile(f"https to {host}", give(address), fetch, refused)
    unknown = f"{refused}|cannot be fetched|does not answer|may not come|cannot fetch|Port"
    for host in SPELLINGS:
        name = host if len(host) < 60 else f"{host[:10]}... of {len(host)}"
        yield Hostile(f"spelled {name!r}", give(f"http://{host}/a.png"), fetch, unknown)
    yield from tabulate(
        SCHEMES, fetch, r"not an http\(s\) address|cannot|does not answer", "scheme"
    )
    yield from tabulate(DATA, fetch, "empty|cannot be fetched", "content")
    yield from tabulate(HOSTS, ImageHosts.parse, "is no host, address or network", "allowed")
