"""Model servers reached over HTTP: time-outs, retries with back-off, and a circuit that opens.

All of a process's requests to one base URL share one `Circuit`. After some failures in a row it
opens: requests are refused at once, without waiting for a dead server, and after a while one is
let through to see whether the server is back.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from ragcore.errors import ModelUnavailable, RagcoreError, UsageError

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

CircuitState = Literal["closed", "open", "half-open"]

# Overload and passing trouble; what else a server refuses, it will refuse again.
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_SLOW_DOWN = 429  # a server that says this is alive


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long a server is waited for, and how often it is asked again.

    Seconds: `connect` for a connection, `read` for the next bytes, `total` for a whole answer
    with all its attempts. Between attempts passes a random time of up to `first_pause`, twice,
    four times … as much, at most `longest_pause` ("full jitter"), or what the server asks for.
    """

    connect: float = 10.0
    read: float = 120.0
    total: float = 600.0
    attempts: int = 4
    first_pause: float = 0.5
    longest_pause: float = 30.0

    def __post_init__(self) -> None:
        if min(self.connect, self.read, self.total) <= 0 or self.attempts < 1:
            raise UsageError("time-outs must be above 0 s, and attempts at least 1")

    @classmethod
    def of(cls, options: Mapping[str, Any], *, total: float, attempts: int) -> RetryPolicy:
        """What the options of an encoder or reranker behind a server say, else these."""
        return cls(
            connect=float(options.get("connect_timeout", 10)),
            read=float(options.get("timeout", 60)),
            total=float(options.get("total_timeout", total)),
            attempts=int(options.get("attempts", attempts)),
        )

    def pause(self, attempt: int) -> float:
        return random.uniform(0, min(self.longest_pause, self.first_pause * 2**attempt))


_SHORT = RetryPolicy(connect=5, read=10, total=15, attempts=1)  # to see whether it is there


class RequestRejected(RagcoreError):
    """The server answered, and will not do this. `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Circuit:
    """Whether a server is asked at all.

    Closed: yes. It opens after `failures` in a row; `pause` seconds later it is half-open: one
    request goes through, and closes it or opens it again.
    """

    def __init__(
        self, name: str, *, what: str = "model server", failures: int = 5, pause: float = 30.0
    ) -> None:
        self.name, self.what = name, what
        self._most, self._pause = failures, pause
        self._lock = threading.Lock()
        self._failed = 0
        self._reason = ""
        self._opened: float | None = None
        self._trying = False

    @property
    def state(self) -> CircuitState:
        with self._lock:
            return self._state()

    def describe(self) -> str:
        """One line, for people."""
        with self._lock:
            if self._opened is None:
                return "closed: it is asked as usual"
            left = max(0.0, self._opened + self._pause - time.monotonic())
            return (
                f"open after {self._failed} failures in a row ({self._reason}); "
                f"tried again in {left:.0f} s"
            )

    def enter(self) -> None:
        """Raises ModelUnavailable while open, or while another request tries a half-open one."""
        with self._lock:
            state = self._state()
            if state == "closed":
                return
            if state == "half-open" and not self._trying:
                self._trying = True
                return
        raise ModelUnavailable(f"{self.name} is not asked: its circuit is {self.describe()}")

    def succeeded(self) -> None:
        with self._lock:
            if self._opened is not None:
                log.warning("%s answers again: its circuit is closed", self.name)
            self._failed, self._opened, self._trying = 0, None, False

    def failed(self, reason: str) -> None:
        with self._lock:
            self._failed += 1
            self._reason = reason
            if self._trying or (self._opened is None and self._failed >= self._most):
                log.warning(
                    "the circuit of %s opens after %d failures in a row (%s); it is tried again "
                    "in %g s", self.name, self._failed, reason, self._pause,
                )  # fmt: skip
                self._opened = time.monotonic()
            self._trying = False

    def left(self) -> None:
        """The request was given up by us: it says nothing about the server."""
        with self._lock:
            self._trying = False

    def _state(self) -> CircuitState:
        if self._opened is None:
            return "closed"
        return "half-open" if time.monotonic() - self._opened >= self._pause else "open"


_circuits: dict[str, Circuit] = {}
_circuits_lock = threading.Lock()


def circuit(url: str, what: str = "model server") -> Circuit:
    """The one circuit of this process for a server."""
    with _circuits_lock:
        return _circuits.setdefault(url, Circuit(url, what=what))


def circuits() -> list[Circuit]:
    """Of all servers that were asked so far."""
    with _circuits_lock:
        return list(_circuits.values())


class RemoteServer:
    """Requests to one base URL (…/v1). `what` names it in errors: "LLM server".

    `headers` are asked for at every request, so that a key may change. Safe for threads.
    """

    def __init__(
        self,
        url: str,
        *,
        what: str,
        headers: Callable[[], Mapping[str, str]] = dict,
        retry: RetryPolicy | None = None,
        key_variable: str = "",
    ) -> None:
        """Raises UsageError unless `url` is one of HTTP."""
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"the {what}'s url must begin with http:// or https://, not {url!r}")
        self.url = url.rstrip("/")
        self._what = what
        self._headers = headers
        self._retry = retry or RetryPolicy()
        self._key_variable = key_variable
        self._client_lock = threading.Lock()
        self._client: httpx.Client | None = None

    @property
    def circuit(self) -> Circuit:
        return circuit(self.url, self._what)

    def get(self, path: str) -> Any:
        """The JSON that GET `path` answers, asked for once, shortly. Errors as `post`."""
        return self._whole("GET", path, None, _SHORT)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that POST `path` answers.

        Raises ModelUnavailable where no answer could be had in time, RequestRejected for what
        asking again would not change, RagcoreError for an answer that is not JSON.
        """
        return self._whole("POST", path, body, self._retry)

    def lines(
        self, path: str, body: Mapping[str, Any], stop: threading.Event | None = None
    ) -> Iterator[str]:
        """The lines that POST `path` answers, as they come. Errors as `post`.

        Asked again only as long as no line came: what was said cannot be unsaid.
        """
        stop = stop or threading.Event()
        for attempt in self._attempts(self._retry, stop):
            with attempt:
                with self._answer("POST", path, body, attempt) as reply:
                    for line in reply.iter_lines():
                        if stop.is_set():
                            attempt.left = True
                            return
                        attempt.final = True
                        yield line
                        attempt.in_time()
                return

    def _whole(
        self, method: str, path: str, body: Mapping[str, Any] | None, retry: RetryPolicy
    ) -> Any:
        for attempt in self._attempts(retry, threading.Event()):
            with attempt:
                with self._answer(method, path, body, attempt) as reply:
                    parts = []
                    for part in reply.iter_bytes():
                        parts.append(part)
                        attempt.in_time()
                return _parsed(b"".join(parts), self._what)
        raise AssertionError("the last attempt raises")

    def _attempts(self, retry: RetryPolicy, stop: threading.Event) -> Iterator[_Attempt]:
        """Attempts until one succeeds, with pauses between; the last one's error is raised."""
        deadline = time.monotonic() + retry.total
        for number in range(retry.attempts):
            attempt = _Attempt(self, retry, number, deadline)
            self.circuit.enter()
            yield attempt
            if attempt.pause is None or stop.wait(attempt.pause):
                return

    @contextmanager
    def _answer(
        self, method: str, path: str, body: Mapping[str, Any] | None, attempt: _Attempt
    ) -> Iterator[httpx.Response]:
        import httpx

        with self._client_lock:
            if self._client is None:
                # no proxy of the environment stands between this computer and itself
                here = httpx.URL(self.url).host in ("127.0.0.1", "::1", "localhost")
                self._client = httpx.Client(trust_env=not here)
        timeout = httpx.Timeout(attempt.read, connect=attempt.connect)
        headers = dict(self._headers())
        with self._client.stream(
            method, f"{self.url}{path}", json=body, headers=headers, timeout=timeout
        ) as reply:
            if not reply.is_success:
                raise _Status(reply.status_code, _reason(reply), reply.headers.get("Retry-After"))
            yield reply

    def refusal(self, error: _Status) -> RequestRejected:
        reason = error.reason
        if error.code in (401, 403) and self._key_variable:
            reason = f"the key in {self._key_variable} is not accepted"
        return RequestRejected(f"the {self._what} refused ({error.code}): {reason}", error.code)

    def unavailable(self, reason: str) -> ModelUnavailable:
        return ModelUnavailable(f"no {self._what} answers at {self.url}: {reason}")


class _Status(Exception):
    """An answer with an HTTP status that is no success."""

    def __init__(self, code: int, reason: str, retry_after: str | None) -> None:
        super().__init__(f"{code} {reason}")
        self.code, self.reason, self.retry_after = code, reason, retry_after


class _Late(Exception):
    """The whole answer takes longer than `total`."""


class _Attempt:
    """One request as a context: reports to the circuit how it ended, and decides about another."""

    def __init__(
        self, server: RemoteServer, retry: RetryPolicy, number: int, deadline: float
    ) -> None:
        left = max(deadline - time.monotonic(), 0.001)
        self.read = min(retry.read, left)  # seconds
        self.connect = min(retry.connect, left)
        self.final = False  # no other attempt after this one, whatever happens
        self.left = False  # given up by us
        self.pause: float | None = None  # seconds until the next attempt
        self._server, self._retry = server, retry
        self._number, self._deadline = number, deadline

    def __enter__(self) -> None:
        pass

    def in_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise _Late

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        import httpx

        circuit = self._server.circuit
        if error is None:
            circuit.left() if self.left else circuit.succeeded()
            return False
        if isinstance(error, _Status):
            if error.code not in _AGAIN:
                circuit.succeeded()
                raise self._server.refusal(error) from None
            if error.code == _SLOW_DOWN:
                circuit.succeeded()
            else:
                circuit.failed(f"HTTP {error.code}")
            self._again(f"HTTP {error.code}: {error.reason}", wait(error.retry_after))
            return True
        if isinstance(error, httpx.TimeoutException):
            reason = f"nothing came within {self.read:.3g} s"
            if isinstance(error, httpx.ConnectTimeout):
                reason = f"no connection within {self.connect:.3g} s"
        elif isinstance(error, _Late):
            reason, self.final = f"it took over {self._retry.total:g} s", True
        elif isinstance(error, httpx.HTTPError):
            reason = str(error) or type(error).__name__
        else:  # ours, or the caller's: GeneratorExit where an answer is given up
            circuit.left() if not isinstance(error, RagcoreError) else circuit.succeeded()
            return False
        circuit.failed(reason)
        self._again(reason, None)
        return True

    def _again(self, reason: str, asked: float | None) -> None:
        """Set the pause before the next attempt, or raise where there is none."""
        retry = self._retry
        pause = retry.pause(self._number) if asked is None else asked
        left = self._deadline - time.monotonic()
        if asked is not None and asked > min(left, retry.longest_pause):
            raise self._server.unavailable(f"{reason}; it asks to wait {asked:.0f} s") from None
        if self.final:
            raise self._server.unavailable(f"{reason}, in the middle of an answer") from None
        if self._number + 1 >= retry.attempts or pause >= left:
            raise self._server.unavailable(f"{reason} (attempt {self._number + 1})") from None
        self.pause = pause


def wait(retry_after: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date. None where it has none."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def _reason(reply: httpx.Response) -> str:
    """What a server says of its refusal, in OpenAI's form or in its own words."""
    text = reply.read().decode("utf-8", "replace").strip()[:300]
    try:
        said = json.loads(text)
        return str(said.get("error", said).get("message", text))
    except (ValueError, AttributeError):
        return " ".join(text.split()) or reply.reason_phrase


def _parsed(data: bytes, what: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise RagcoreError(f"the {what} sent what is not JSON: {data[:80]!r}") from error
