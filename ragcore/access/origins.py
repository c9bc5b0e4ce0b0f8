"""Where a browser's request comes from, by headers that a page of another site cannot set."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# A name or IPv4 address, or an IPv6 address in brackets; then perhaps a port. Nothing else: what
# parsers read differently (user@host, backslashes) is no host.
_HOST = re.compile(r"(?:([A-Za-z0-9._\-]+)|\[([0-9A-Fa-f:.]+)\])(?::\d{1,5})?")


def host_name(host: str) -> str:
    """The name in a Host header, in lower case; "" for what is none."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


def same_origin(host: str, origin: str | None, fetch_site: str | None) -> bool:
    """Whether a request comes from a page of this server itself, or from no page at all.

    `host` is the header Host, `origin` and `fetch_site` are Origin and Sec-Fetch-Site; None: not
    sent, as by programs. Host and port count, not the scheme: a proxy may speak TLS for us.
    """
    if fetch_site is not None:  # the browser compared, also where a proxy changed Host
        return fetch_site in ("same-origin", "none")
    if origin is None:
        return True
    try:
        return bool(host_name(host)) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False
