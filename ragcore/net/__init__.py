"""Connections to places that a person or a page names: the only room that opens them."""

from __future__ import annotations

from ragcore.net.addresses import AddressPolicy, Resolver, system_resolver
from ragcore.net.fetching import (
    AGENT,
    HttpStatus,
    Limits,
    RedirectRefused,
    WebClient,
    WebResponse,
)
from ragcore.net.transport import ForbiddenAddress, GuardedTransport, guarded_socket
from ragcore.net.urls import origin, parse_url

__all__ = [
    "AGENT",
    "AddressPolicy",
    "ForbiddenAddress",
    "GuardedTransport",
    "HttpStatus",
    "Limits",
    "RedirectRefused",
    "Resolver",
    "WebClient",
    "WebResponse",
    "guarded_socket",
    "origin",
    "parse_url",
    "system_resolver",
]
