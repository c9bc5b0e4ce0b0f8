"""Secrets never in what is shown: passwords and tokens in URLs, keys, and what the settings hold.

Whatever is printed, logged or answered as an error goes through `redact`.
"""

from __future__ import annotations

import re
import threading
from urllib.parse import unquote

MASK = "***"
_SECRET_NAME = r"[\w.\-]*(?:pass|pwd|secret|token|key|credential|signature|auth)[\w.\-]*"
# scheme://user:password@host, also where the password itself has an @
_USERINFO = re.compile(r"\b([A-Za-z][A-Za-z0-9+.\-]*://[^\s/?#:@]*):([^\s/?#]*)@")
_PARAMETER = re.compile(rf"([?&;]{_SECRET_NAME}=)[^\s&;#\"'<>]*", re.I)
_API_KEY = re.compile(r"\brc_[A-Za-z0-9_\-]{20,}")
_SHOWN_OF_KEY = 11  # the mark and eight letters, by which a key is known
_SHORTEST = 4  # shorter secrets are no secrets, and would mask ordinary words

_known: set[str] = set()
_lock = threading.Lock()


def remember(secret: str) -> None:
    """Mask this value wherever it turns up from now on."""
    with _lock:
        _known.update(one for one in (secret, unquote(secret)) if len(one) >= _SHORTEST)


def remember_url(url: str) -> None:
    """Mask what is secret in a URL, also where it turns up without the URL."""
    for found in _USERINFO.finditer(url):
        remember(found[2])
    for found in _PARAMETER.finditer(url):
        remember(found[0].partition("=")[2])


def mask_url(url: str) -> str:
    """A URL without its password and without what is secret in its query."""
    return _PARAMETER.sub(rf"\g<1>{MASK}", _USERINFO.sub(rf"\g<1>:{MASK}@", url))


def has_secret(url: str) -> bool:
    """Whether a URL has a password, or a secret in its query."""
    return mask_url(url) != url


def redact(text: str) -> str:
    """Text without secrets: URLs are masked, keys shortened, remembered secrets replaced."""
    text = _API_KEY.sub(lambda found: f"{found[0][:_SHOWN_OF_KEY]}…", mask_url(text))
    with _lock:
        known = sorted(_known, key=len, reverse=True)
    for secret in known:
        if secret in text:
            text = text.replace(secret, MASK)
    return text
