"""Fetching web addresses, with limits on size, time, type and redirects."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message

import httpx

from ragcore import __version__
from ragcore.errors import RagcoreError, UnreadableFile, UsageError
from ragcore.net.addresses import AddressPolicy, Resolver, system_resolver
from ragcore.net.transport import GuardedTransport, deadline
from ragcore.net.urls import origin, parse_url

AGENT = "ragcore"  # the name under which robots.txt addresses us
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})

# The credentials of an address, as the value of the header Authorization; "" for none.
Authorize = Callable[[httpx.URL], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds.

    `connect` for a connection, `read` for the next bytes, `total` for all of one fetch with its
    redirects.
    """

    connect: float = 10.0
    read: float = 30.0
    total: float = 120.0
    redirects: int = 5


class HttpStatus(UnreadableFile):
    """An address answers with a status that is no success. `retry_after` is in seconds."""

    def __init__(self, message: str, status: int, retry_after: float | None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class RedirectRefused(UnreadableFile):
    """An address leads to one that the caller does not take."""


class WebResponse:
    """What an address answered; the body is received as it is read. `url` is the last one."""

    def __init__(self, url: httpx.URL, response: httpx.Response) -> None:
        self.url = url
        self.status = response.status_code
        self.headers = response.headers
        self._response = response

    @property
    def media_type(self) -> str:
        """In lower case, without parameters; "" if the server says none."""
        return str(self.headers.get("Content-Type", "")).partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        """What the header says of the text's encoding; "" if nothing."""
        message = Message()
        message["Content-Type"] = self.headers.get("Content-Type", "")
        return str(message.get_content_charset(""))

    @property
    def size(self) -> int | None:
        """Bytes that are announced, before they are unpacked."""
        announced = self.headers.get("Content-Length", "")
        return int(announced) if announced.isascii() and announced.isdigit() else None

    def blocks(self) -> Iterator[bytes]:
        """The unpacked body. Raises RagcoreError if it breaks off or takes too long."""
        with _as_source_error(self.url):
            yield from self._response.iter_bytes(1 << 16)

    def read(self, most_bytes: int) -> bytes:
        """The whole unpacked body. Raises UnreadableFile for more than `most_bytes`."""
        body = bytearray()
        for block in self.blocks():
            body += block
            if len(body) > most_bytes:
                raise UnreadableFile(f"{self.url} is larger than {most_bytes >> 10} KiB")
        return bytes(body)


class WebClient:
    """Fetches addresses through a guarded transport: no proxy, no cookies. Safe for threads.

    Example: `with client.get("https://example.org/") as page: page.read(1 << 20)`
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        limits: Limits | None = None,
        authorize: Authorize = lambda url: "",
        resolve: Resolver = system_resolver,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        """`authorize` is asked about the address that was named only, never about a redirect's.

        `verify` is the TLS context; None: the certificates that this computer trusts.
        """
        self._limits = limits or Limits()
        self._authorize = authorize
        self._transport = GuardedTransport(policy, resolve=resolve, verify=verify)

    def close(self) -> None:
        self._transport.close()

    @contextmanager
    def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        types: Container[str] | None = None,
        allow: Callable[[httpx.URL], bool] = lambda url: True,
    ) -> Iterator[WebResponse]:
        """Within it, what GET `url` answers, redirects followed. 304 is an answer too.

        `types` are the media types that are taken (None: any); `allow` is asked about every
        redirect before it is followed. Raises UsageError for what is no web address,
        ForbiddenAddress, UnreadableFile for a status that is no success (and for types that are
        not taken), RagcoreError if no answer can be had.
        """
        at = parse_url(url)
        with deadline(self._limits.total):
            response = self._final(at, dict(headers or {}), allow)
            try:
                answer = WebResponse(parse_url(str(response.request.url)), response)
                _check(answer, types)
                yield answer
            finally:
                response.close()

    def _final(
        self, at: httpx.URL, headers: dict[str, str], allow: Callable[[httpx.URL], bool]
    ) -> httpx.Response:
        """The answer after all redirects; each is parsed, resolved and checked like the first."""
        first, secret = origin(at), self._authorize(at)
        for _ in range(self._limits.redirects + 1):
            # Once an answer led to another host, nothing there can ask for the secret back.
            secret = secret if origin(at) == first else ""
            response = self._one(at, headers, secret)
            if response.status_code not in _REDIRECTS:
                return response
            response.close()
            target = response.headers.get("Location", "")
            if not target:
                raise UnreadableFile(f"{at} redirects without saying where")
            try:
                at = parse_url(target, base=at)
            except UsageError as error:
                raise UnreadableFile(f"{at} redirects to what is not followed: {error}") from None
            if not allow(at):
                raise RedirectRefused(f"it redirects to {at}, which is not taken")
        raise UnreadableFile(f"more than {self._limits.redirects} redirects, the last to {at}")

    def _one(self, at: httpx.URL, headers: dict[str, str], secret: str) -> httpx.Response:
        sent = {
            "User-Agent": f"{AGENT}/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "gzip, deflate",
            **headers,
        }
        if secret:
            sent["Authorization"] = secret
        limits = self._limits
        timeout = httpx.Timeout(limits.read, connect=limits.connect)
        request = httpx.Request(
            "GET", at, headers=sent, extensions={"timeout": timeout.as_dict()}
        )  # fmt: skip
        with _as_source_error(at):
            response = self._transport.handle_request(request)
        response.request = request
        return response


def _check(answer: WebResponse, types: Container[str] | None) -> None:
    """Raise UnreadableFile for an answer that is not to be read."""
    if answer.status == httpx.codes.NOT_MODIFIED:
        return
    if not 200 <= answer.status < 300:
        reason = httpx.codes.get_reason_phrase(answer.status) or "no success"
        waited = answer.headers.get("Retry-After", "")
        raise HttpStatus(
            f"{answer.url} answers {answer.status} ({reason})",
            answer.status,
            float(waited) if waited.isascii() and waited.isdigit() else None,
        )
    # One encoding inside another unpacks without bounds before its size can be seen.
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise UnreadableFile(f"{answer.url} is packed as {encoding!r}, which was not asked for")
    if types is not None and answer.media_type not in types:
        kind = answer.media_type or "of no type"
        raise UnreadableFile(f"{answer.url} is {kind}, which is not taken")


@contextmanager
def _as_source_error(url: httpx.URL) -> Iterator[None]:
    """Turn what httpx raises into one sentence."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise RagcoreError(f"{url} takes too long: {error or 'no answer'}") from error
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
        raise RagcoreError(f"{url} cannot be fetched: {error or type(error).__name__}") from error
