"""Connecting to a host: resolve, check every address, connect to one that was checked.

There is no second look-up between check and use: the socket is opened to the address itself,
and TLS still compares the certificate with the host's name.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

from ragcore.errors import RagcoreError
from ragcore.net.addresses import AddressPolicy, Resolver, system_resolver

_deadline: ContextVar[float | None] = ContextVar("ragcore_net_deadline", default=None)


class ForbiddenAddress(RagcoreError):
    """A host is at an address that is not to be connected to."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Within it, whatever this thread sends or receives ends after so many seconds."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


class GuardedTransport(httpx.HTTPTransport):
    """A transport of httpx that connects to allowed addresses only. It uses no proxy."""

    def __init__(
        self, policy: AddressPolicy, *, resolve: Resolver = system_resolver,
        verify: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        """`verify` is the TLS context; None: the certificates that this computer trusts."""
        context = verify or httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context, trust_env=False)
        self._pool.close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=16,
            max_keepalive_connections=8,
            keepalive_expiry=5.0,
            network_backend=_GuardedBackend(policy, resolve),
        )


def guarded_socket(
    policy: AddressPolicy,
    host: str,
    port: int,
    *,
    seconds: float,
    resolve: Resolver = system_resolver,
) -> socket.socket:
    """A connected socket for protocols other than HTTP.

    Raises ForbiddenAddress, or OSError if there is no connection within `seconds`.
    """
    error: OSError | None = None
    for address in _checked(policy, host, port, resolve):
        try:
            return socket.create_connection((address, port), timeout=seconds)
        except OSError as reason:
            error = reason
    raise error or OSError(f"{host} has no address")


class _GuardedBackend(httpcore.NetworkBackend):
    def __init__(self, policy: AddressPolicy, resolve: Resolver) -> None:
        self._policy, self._resolve = policy, resolve
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = _checked(self._policy, host, port, self._resolve)
        except OSError as reason:
            raise httpcore.ConnectError(f"{host} is not known: {reason.strerror}") from reason
        error: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return _TimedStream(
                    self._plain.connect_tcp(
                        address, port, _left(timeout), local_address, socket_options
                    )
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as reason:
                error = reason
        raise error

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise ForbiddenAddress(f"{path} is a socket of this computer")


class _TimedStream(httpcore.NetworkStream):
    """A stream that also ends at the deadline: a server cannot stretch an answer byte by byte."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _checked(policy: AddressPolicy, host: str, port: int, resolve: Resolver) -> list[str]:
    """The addresses of a host. One that is forbidden makes the host so: it is not a choice."""
    addresses = list(resolve(host, port))
    for address in addresses:
        if problem := policy.problem(host, address):
            at = f"{host} is at {address}" if host != address else host
            raise ForbiddenAddress(
                f"{at}, {problem}: list the host or its network in the setting private_hosts to "
                "let sources reach it"
            )
    return addresses


def _left(timeout: float | None) -> float | None:
    """Seconds that one step may take. Raises ReadTimeout once the deadline has passed."""
    end = _deadline.get()
    if end is None:
        return timeout
    left = end - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the whole answer takes too long")
    return left if timeout is None else min(timeout, left)
