"""What every request goes through: an id, a key where one is needed, the log, the audit.

Plain ASGI middlewares, so that streams flow through them and a closed connection is noticed.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragcore.api.access import OPEN_PATHS
from ragcore.api.accounts_watch import AccountsWatch
from ragcore.api.limits import RateLimit
from ragcore.api.metrics import Metrics
from ragcore.api.problems import Problem, is_openai, problem_of
from ragcore.api.work_limiter import WorkLimiter
from ragcore.library import LOCAL, Audit, Keys, Principal, host_name, principal_of, same_origin
from ragcore.logs import about, fields

log = logging.getLogger("ragcore.api.requests")

GRACE = 0.2  # seconds
_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))


class RequestMiddleware:
    """Gives each request its id, answers what nobody else caught, counts, logs and audits."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, audit: Audit | None) -> None:
        self._app = app
        self._metrics = metrics
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        request_id = state["request_id"] = _request_id(scope)
        started = time.perf_counter()
        status = 0

        async def sender(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", request_id.encode()), *_HEADERS]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        with about(request_id=request_id):
            try:
                with self._metrics.in_flight():
                    await self._app(scope, receive, sender)
            except Exception as error:
                problem = problem_of(error)
                if not status:
                    answer = problem.response(request_id, openai=is_openai(scope["path"]))
                    await answer(scope, receive, sender)
            finally:
                self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        state = scope["state"]
        route = str(state.get("route") or getattr(scope.get("route"), "path", "") or "none")
        method, request_id = scope["method"], state["request_id"]
        principal: Principal | None = state.get("principal")
        who = principal.name if principal else ""
        self._metrics.count(method, route, status, seconds)
        key_id = principal.key_id if principal else None
        extra = fields(
            key_id=key_id, method=method, route=route, status=status, ms=round(seconds * 1000, 1)
        )
        log.info("request", extra=extra)
        if self._audit is not None and scope["path"] not in OPEN_PATHS:
            self._audit.note(
                key_id=key_id,
                who=who[:120],
                action=f"{method} {route}"[:200],
                collection=str(state.get("collection", ""))[:200],
                status=status,
                request_id=request_id,
                client=str((scope.get("client") or ("",))[0])[:64],
            )


class AuthenticationMiddleware:
    """Lets in who has a key; where none is needed, whoever calls from this computer itself.

    A page of some other site must not work the library through a person's own browser: without
    keys, the names that the server may be called by are fixed, and other origins are refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys | None,
        hosts: Sequence[str],
        rate: RateLimit,
        limiter: WorkLimiter,
        watch: AccountsWatch | None = None,
    ) -> None:
        self._app = app
        self._keys = keys
        self._hosts = frozenset(hosts)
        self._rate = rate
        self._limiter = limiter
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        principal = scope["state"]["principal"] = await self._principal(scope)
        if principal.key_id is None or self._watch is None:
            await self._app(scope, receive, send)
        else:
            await self._while_live(principal.key_id, scope, receive, send)

    async def _while_live(self, key_id: int, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and break off within a second if the account is over meanwhile."""
        assert self._watch is not None
        over, started, finished = asyncio.Event(), False, False
        end = asyncio.create_task(over.wait())
        waiting: asyncio.Task[Message] | None = None

        async def next_message() -> Message:
            # Work that looks whether its asker is there finds that it is not: it is cancelled.
            nonlocal waiting
            waiting = waiting or asyncio.ensure_future(receive())
            await asyncio.wait({waiting, end}, return_when=asyncio.FIRST_COMPLETED)
            if end.done():
                return {"type": "http.disconnect"}
            received, waiting = waiting, None
            return received.result()

        async def sender(message: Message) -> None:
            nonlocal started, finished
            started = True
            finished = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        with anyio.CancelScope() as limiter, self._watch.ending(key_id, over.set):
            stop = asyncio.create_task(_cancel_after(end, limiter))
            try:
                await self._app(scope, next_message, sender)
            finally:
                for task in (end, stop, waiting):
                    if task is not None:
                        task.cancel()
        if not over.is_set() or finished:
            return
        if not started:
            raise Problem(401, "this key is live no longer")
        with suppress(RuntimeError):  # fewer bytes than were promised: the connection is cut
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _principal(self, scope: Scope) -> Principal:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if self._keys is None:
            self._check_origin(headers)
            return LOCAL
        client = str((scope.get("client") or ("?",))[0])
        kind, _, given = headers.get(b"authorization", "").partition(" ")
        found = None
        if kind.lower() == "bearer" and given.strip():
            found = await self._limiter.quick(self._keys.find, given.strip())
        if found is None:
            self._rate.take(f"refused {client}")
            raise Problem(
                401,
                "give a key that is live: Authorization: Bearer rc_… (`ragcore keys create`)",
                headers={"WWW-Authenticate": 'Bearer realm="ragcore"'},
            )
        principal = principal_of(found)
        scope["state"]["principal"] = principal
        self._rate.take(principal.owner)
        return principal

    def _check_origin(self, headers: dict[bytes, str]) -> None:
        """Raises Problem 403 for other names of this server, and for pages of any other origin.

        Another port of this computer is another program's.
        """
        host = headers.get(b"host", "")
        if host_name(host) not in self._hosts:
            raise Problem(403, "this server answers to its own computer's names only")
        origin, fetch_site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        # Without keys a header that is not there must not let in what another one refuses.
        if not (same_origin(host, origin, None) and same_origin(host, None, fetch_site)):
            raise Problem(403, "pages of other sites and programs may not use this server")


async def _cancel_after(end: asyncio.Task[Any], limiter: anyio.CancelScope) -> None:
    await end
    await asyncio.sleep(GRACE)  # cancelled work ends by itself, and frees what it holds
    limiter.cancel()


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _ID.fullmatch(given):
                return str(given)
    return uuid.uuid4().hex
