"""The one parser of web addresses: what it returns is what is checked and connected to."""

from __future__ import annotations

import re

import httpx

from ragcore.errors import UsageError

_LONGEST = 4096  # characters
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")


def parse_url(url: str, base: httpx.URL | None = None) -> httpx.URL:
    """An absolute http or https address in its canonical form, without the part after `#`.

    `base` is what a relative one is relative to. Raises UsageError for another scheme, a user
    name or password in the address, and what browsers and servers read in different ways
    (backslashes, spaces, control characters).
    """
    shown = repr(url[:200])
    text = url.strip()
    if len(text) > _LONGEST or _FORBIDDEN.search(text):
        raise UsageError(f"{shown} is no web address: it is too long or has forbidden characters")
    try:
        parsed = httpx.URL(text)
        if base is not None:
            parsed = base.join(parsed)
    except (httpx.InvalidURL, ValueError) as error:
        raise UsageError(f"{shown} is no web address: {error}") from None
    if parsed.scheme not in ("http", "https"):
        raise UsageError(f"{shown} is no web address: it must begin with http:// or https://")
    if not parsed.host or parsed.host.startswith("."):
        raise UsageError(f"{shown} is no web address: it names no host")
    if parsed.port is not None and not 0 < parsed.port < 1 << 16:
        raise UsageError(f"{shown} is no web address: it has a port that cannot be")
    if parsed.userinfo:
        raise UsageError(
            "a web address with a user name or password in it is not taken: write them into the "
            "credentials file (docs/how-to/sources.md)"
        )
    host = parsed.host.rstrip(".")
    return parsed.copy_with(host=host, path=parsed.path or "/", fragment=None)


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """Scheme, host and port: what must be equal for credentials to be sent on."""
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}[url.scheme]
