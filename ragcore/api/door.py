"""What every request goes through: an id, a key where one is needed, the log, the audit.

Plain ASGI middlewares, so that streams flow through them and a closed connection is noticed.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragcore.api.access import OPEN_PATHS
from ragcore.api.limits import RateLimit
from ragcore.api.metrics import Metrics
from ragcore.api.problems import Problem, is_openai, problem_of
from ragcore.api.work import Work
from ragcore.catalog.audit import Audit
from ragcore.catalog.keys import Keys
from ragcore.catalog.principals import LOCAL, Principal, principal_of
from ragcore.logs import about, fields

log = logging.getLogger("ragcore.api.requests")

_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))


class Outermost:
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
        told = fields(
            key_id=key_id, method=method, route=route, status=status, ms=round(seconds * 1000, 1)
        )
        log.info("request", extra=told)
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


class Door:
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
        work: Work,
    ) -> None:
        self._app = app
        self._keys = keys
        self._hosts = frozenset(hosts)
        self._rate = rate
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            scope["state"]["principal"] = await self._principal(scope)
        await self._app(scope, receive, send)

    async def _principal(self, scope: Scope) -> Principal:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if self._keys is None:
            self._check_origin(headers)
            return LOCAL
        client = str((scope.get("client") or ("?",))[0])
        kind, _, given = headers.get(b"authorization", "").partition(" ")
        found = None
        if kind.lower() == "bearer" and given.strip():
            found = await self._work.quick(self._keys.find, given.strip())
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
        host = _host_name(f"//{headers.get(b'host', '')}")
        if host not in self._hosts:
            raise Problem(403, "this server answers to its own computer's names only")
        origin = headers.get(b"origin")
        if origin is not None and _host_name(origin) not in self._hosts:
            raise Problem(403, "pages of other sites may not use this server")
        if headers.get(b"sec-fetch-site") == "cross-site":
            raise Problem(403, "pages of other sites may not use this server")


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _ID.fullmatch(given):
                return str(given)
    return uuid.uuid4().hex
