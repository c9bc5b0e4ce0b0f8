"""Which addresses sources may reach, however they are written or arrived at."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import pytest

from ragcore.errors import UnreadableFile, UsageError
from ragcore.net import (
    AddressPolicy,
    ForbiddenAddress,
    WebClient,
    guarded_socket,
    parse_url,
    system_resolver,
)
from tests.web_site import Page, Site, web_site

FORBIDDEN = {
    "127.0.0.1": "loopback",
    "127.8.9.1": "loopback",
    "0.0.0.0": "unspecified",
    "0.1.2.3": "private",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.254": "private",
    "192.168.1.1": "private",
    "100.64.0.1": "no public",
    "100.100.100.200": "metadata",
    "169.254.169.254": "metadata",
    "169.254.170.2": "link-local",
    "168.63.129.16": "metadata",
    "192.0.0.192": "metadata",
    "192.0.2.1": "private",
    "198.18.0.1": "private",
    "192.88.99.1": "6to4",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "private",
    "255.255.255.255": "private",
    "::1": "loopback",
    "::": "unspecified",
    "::127.0.0.1": "public",
    "::ffff:127.0.0.1": "written as IPv6",
    "::ffff:8.8.8.8": "written as IPv6",
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b::a9fe:a9fe": "NAT64",
    "64:ff9b:1::1": "NAT64",
    "2002:7f00:1::": "6to4",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "Teredo",
    "2001:db8::1": "private",
    "fc00::1": "private",
    "fd00:ec2::254": "metadata",
    "fe80::1": "link-local",
    "fec0::1": "public",
    "ff02::1": "multicast",
    "5f00::1": "public",
}
PUBLIC = ("8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e")


@pytest.mark.parametrize(("address", "what"), FORBIDDEN.items())
def test_an_address_that_is_not_public_is_refused(address: str, what: str) -> None:
    assert what in AddressPolicy().problem("host.example", address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_not(address: str) -> None:
    assert AddressPolicy().problem("host.example", address) == ""


def test_what_the_setting_lists_is_allowed_and_nothing_beside_it() -> None:
    policy = AddressPolicy(["NAS.lan", "10.1.0.0/16", "::1", "192.168.7.9"])
    assert policy.problem("nas.lan.", "192.168.1.5") == ""
    assert policy.problem("other.lan", "192.168.1.5") != ""
    assert policy.problem("x", "10.1.200.3") == ""
    assert policy.problem("x", "10.2.0.1") != ""
    assert policy.problem("x", "::1") == ""
    assert policy.problem("x", "192.168.7.9") == ""
    assert policy.problem("x", "192.168.7.10") != ""


@pytest.mark.parametrize("entry", ["10.0.0.0/40", "http://nas", "", "a/b"])
def test_an_entry_that_is_none_is_said(entry: str) -> None:
    with pytest.raises(UsageError, match="private_hosts"):
        AddressPolicy([entry])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
        "http:///etc/passwd",
        "http://",
        "//example.org/x",
        "example.org",
        "http://user:secret@example.org/",
        "http://example.org@127.0.0.1/",
        "http://example.org\\@127.0.0.1/",
        "http://exam ple.org/",
        "http://example.org/\r\nHost: internal",
        "http://[::1",
        "http://example.org:99999/",
        "http://" + "a" * 5000,
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_url(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Example.ORG:80/a/../b#part", "http://example.org/b"),
        ("https://example.org", "https://example.org/"),
        ("https://example.org./x", "https://example.org/x"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
    ],
)
def test_one_address_has_one_form(url: str, canonical: str) -> None:
    assert str(parse_url(url)) == canonical


@pytest.fixture
def inside() -> Iterator[Site]:
    """A server that nobody is to reach."""
    with web_site() as site:
        site.pages["/"] = Page(b"internal secret")
        yield site


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "localhost", "0.0.0.0"],
)
def test_every_way_to_write_loopback_is_refused(inside: Site, host: str) -> None:
    client = WebClient(AddressPolicy())
    # Octal numbers are no web address; everything else is resolved, and what comes of it refused.
    expected = UsageError if host.startswith("01") else ForbiddenAddress
    with pytest.raises(expected), client.get(f"http://{host}:{inside.port}/"):
        pass
    assert inside.requests == []


def test_a_host_with_one_forbidden_address_is_refused(inside: Site) -> None:
    client = WebClient(AddressPolicy(), resolve=lambda host, port: ["93.184.216.34", "127.0.0.1"])
    with pytest.raises(ForbiddenAddress), client.get(f"http://mixed.example:{inside.port}/"):
        pass
    assert inside.requests == []


@pytest.mark.parametrize(
    "target",
    [
        "http://{inside}/",
        "//{inside}/",
        "http://127.1:{port}/",
        "http://localhost:{port}/",
        "http://rebound.example:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/",
        "http://10.0.0.1/",
        "http://[64:ff9b::7f00:1]:{port}/",
        "https://[fe80::1]/",
        "file:///etc/passwd",
        "gopher://{inside}/",
        "http://name:word@{inside}/",
        "",
    ],
)
def test_a_redirect_is_checked_like_the_first_address(inside: Site, target: str) -> None:
    """The site is listed by name; where it leads to is not."""
    where = target.format(inside=f"127.0.0.1:{inside.port}", port=inside.port)

    def resolve(host: str, port: int) -> list[str]:
        named = {"site.example": ["127.0.0.2"], "rebound.example": ["127.0.0.1"]}
        return named.get(host) or list(system_resolver(host, port))

    with web_site("127.0.0.2") as site:
        site.pages["/"] = Page(status=302, headers={"Location": where})
        client = WebClient(AddressPolicy(["site.example"]), resolve=resolve)
        with (
            pytest.raises((ForbiddenAddress, UnreadableFile)) as error,
            client.get(f"http://site.example:{site.port}/"),
        ):
            pass
        assert inside.requests == [], where
        assert site.paths() == ["/"]
        assert "secret" not in str(error.value)


def test_a_name_that_changes_between_check_and_use_is_resolved_once(inside: Site) -> None:
    """The address that was checked is the one that is connected to."""
    with web_site("127.0.0.2") as outside:
        outside.pages["/"] = Page(b"public page", headers={"Connection": "close"})
        answers = [["127.0.0.2"], ["127.0.0.1"]]
        asked: list[str] = []

        def resolve(host: str, port: int) -> list[str]:
            asked.append(host)
            return answers[min(len(asked), len(answers)) - 1]

        # Both servers are to have the same port: only the address distinguishes them.
        client = WebClient(AddressPolicy(["127.0.0.2"]), resolve=resolve)
        with client.get(f"http://changing.example:{outside.port}/") as page:
            assert page.read(100) == b"public page"
        assert asked == ["changing.example"]
        with (
            pytest.raises(ForbiddenAddress, match=r"changing\.example is at 127\.0\.0\.1"),
            client.get(f"http://changing.example:{inside.port}/"),
        ):
            pass
        assert inside.requests == []


def test_other_protocols_get_a_socket_that_was_checked(inside: Site) -> None:
    with pytest.raises(ForbiddenAddress):
        guarded_socket(AddressPolicy(), "127.0.0.1", inside.port, seconds=5)
    allowed = AddressPolicy(["127.0.0.1"])
    with guarded_socket(allowed, "127.0.0.1", inside.port, seconds=5) as connected:
        assert ipaddress.ip_address(connected.getpeername()[0]).is_loopback
