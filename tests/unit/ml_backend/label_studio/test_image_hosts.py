"""Which hosts and addresses images may come from."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.label_studio.image_hosts import ImageHosts

NOTHING = ImageHosts()


@pytest.mark.parametrize(
    ("entry", "host", "port", "named"),
    [
        ("images.example.org", "images.example.org", 443, True),
        ("Images.Example.org", "images.example.org.", 80, True),
        ("images.example.org", "example.org", 443, False),
        ("images.example.org", "images.example.org.evil.net", 443, False),
        ("images.example.org:8443", "images.example.org", 8443, True),
        ("images.example.org:8443", "images.example.org", 443, False),
        ("*.example.org", "a.b.example.org", 80, True),
        ("*.example.org", "example.org", 80, False),
        ("*.example.org", "evilexample.org", 80, False),
        ("*", "anything.net", 1, True),
        ("*", "8.8.8.8", 80, True),
        ("10.1.2.0/24", "10.1.2.3", 80, True),
        ("10.1.2.0/24", "10.1.3.3", 80, False),
        ("10.1.2.3:9000", "10.1.2.3", 9000, True),
        ("10.1.2.3:9000", "10.1.2.3", 9001, False),
        ("[fd00::1]:9000", "fd00::1", 9000, True),
        ("", "images.example.org", 443, False),
    ],
)
def test_a_host_is_allowed_by_name_address_and_port(
    entry: str, host: str, port: int, named: bool
) -> None:
    assert ImageHosts.parse(f"other.net, {entry}").is_named(host, port) == named


@pytest.mark.parametrize("entry", ["http://a.org", "a.org/path", "a b:c", "a.org:99999", "10.0/x"])
def test_what_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="no host"):
        ImageHosts.parse(entry)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.1.2", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1",
        "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1",
    ],
)  # fmt: skip
def test_private_addresses_are_connected_to_only_where_they_were_allowed(address: str) -> None:
    every_name = ImageHosts.parse("*")
    assert not every_name.may_connect(ip_address(address), 80)
    assert ImageHosts.parse("0.0.0.0/0, ::/0").may_connect(ip_address(address), 80)


@given(st.ip_addresses(v=4))
def test_an_address_inside_ipv6_is_judged_as_itself(address: IPv4Address) -> None:
    expected = NOTHING.may_connect(address, 80)
    for shape in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert NOTHING.may_connect(ip_address(shape), 80) == expected
    assert not expected or address.is_global


def test_localhost_means_the_addresses_of_this_machine() -> None:
    here = ImageHosts.parse("localhost:9000")
    assert here.may_connect(ip_address("127.0.0.1"), 9000)
    assert here.may_connect(ip_address("::1"), 9000)
    assert not here.may_connect(ip_address("127.0.0.1"), 9001)
