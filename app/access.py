"""Access to the pages: a login before everything, and a cookie that identifies browsers.

An ASGI middleware, so that images, uploads and the live connection are guarded as the pages
are. Where no login is needed it only hands out the cookie.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import secrets
from asyncio import to_thread
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from html import escape
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnected

from ragcore.library import Principal, host_name, same_origin

from .login import DEVICE, DEVICE_COOKIE, SESSION, SESSION_COOKIE, Login, Throttle

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

BROWSER_COOKIE = "ragcore_browser"
LOGIN_PATH, LOGOUT_PATH, HEALTH_PATH = "/login", "/logout", "/_stcore/health"
_HARMLESS = ("GET", "HEAD", "OPTIONS")  # methods that change nothing here
_FOREIGN = b"pages of other sites and programs may not use this server"
_YEAR = 365 * 86400
_SHELL = (Path(__file__).parent / "assets" / "shell.js").read_text("utf-8")
_MAX_FORM = 4096

# Everything comes from this server: the browser itself refuses any other address.
POLICY = (
    "default-src 'self'; "
    "script-src 'self' blob: 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval'; "  # blob: our parts
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self' ws: wss:; worker-src 'self' blob:; "
    "frame-src 'self'; frame-ancestors 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)


def owner_of(cookies: MutableMapping[str, str] | Any) -> str:
    """The id under which a browser's conversations are kept; "" for one without a cookie.

    The cookie itself is not stored: who reads the catalog cannot pose as a browser.
    """
    token = cookies.get(BROWSER_COOKIE)
    if not isinstance(token, str) or not token:
        return ""
    return hashlib.sha256(token.encode()).hexdigest()[:32]


class Access:
    """The middleware.

    `base_path` is where a reverse proxy shows the pages; without `login` everybody who can reach it
    is let in, by one of the names `hosts` (none: by any).
    """

    def __init__(
        self,
        app: Asgi,
        *,
        login: Login | None = None,
        base_path: str = "",
        hosts: Collection[str] = (),
    ) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._root = f"/{base_path.strip('/')}/".replace("//", "/")
        self._login = login
        self._throttle = Throttle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if not self._from_here(scope):
            await self._refuse_foreign(scope, receive, send)
            return
        cookies = _cookies(scope)
        token = cookies.get(SESSION_COOKIE, "")
        path = "/" + str(scope.get("path", "/")).removeprefix(self._root).lstrip("/")
        login = self._login
        if login and path == LOGIN_PATH:
            await self._ask_in(login, scope, receive, send)
        elif login and path == LOGOUT_PATH:
            await self._log_out(login, token, scope, send)
        elif login and path != HEALTH_PATH and await to_thread(login.principal, token) is None:
            await self._refuse(scope, receive, send)
        elif login and scope["type"] == "websocket":
            await self._while_logged_in(login, token, scope, receive, send)
        else:
            # A page that is closed while written to, or while it uploads a file.
            with suppress(WebSocketDisconnected, ClientDisconnect):
                await self._app(_plain_pages(scope), receive, self._outgoing(scope, cookies, send))

    def _from_here(self, scope: Scope) -> bool:
        """Whether a request comes from our own pages and to a name of ours.

        One that may change something, or a live connection, must not be another site's or
        program's; the server must be called by a name of its own.
        """
        headers = {name: value.decode("latin-1") for name, value in scope.get("headers", [])}
        host = headers.get(b"host", "")
        if self._hosts and host_name(host) not in self._hosts:
            return False
        if scope["type"] == "http" and scope["method"] in _HARMLESS:
            return True
        return same_origin(host, headers.get(b"origin"), headers.get(b"sec-fetch-site"))

    async def _refuse_foreign(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _respond(send, 403, _FOREIGN, b"text/plain; charset=utf-8")

    async def _log_out(self, login: Login, token: str, scope: Scope, send: Send) -> None:
        """End the session on the server; only asked by POST, which other sites cannot send."""
        if scope["method"] != "POST":
            allow = [(b"allow", b"POST")]
            await _respond(send, 405, b"log out by the button on a page", b"text/plain", allow)
            return
        await to_thread(login.leave, token)
        gone = self._cookie(scope, SESSION_COOKIE, "", 0)
        await _redirect(send, self._root.rstrip("/") + LOGIN_PATH, [gone])

    async def _while_logged_in(
        self, login: Login, token: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """A live connection, closed when its session is over."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def end() -> None:
            loop.call_soon_threadsafe(over.set)

        forget = await to_thread(login.ends_with, token, end)
        ended = asyncio.create_task(over.wait())
        waiting: asyncio.Task[Message] | None = None

        async def next_message() -> Message:
            nonlocal waiting
            waiting = waiting or asyncio.ensure_future(receive())
            await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                with suppress(RuntimeError):  # the browser has closed it already
                    await send({"type": "websocket.close", "code": 1008})
                return {"type": "websocket.disconnect", "code": 1008}
            finished, waiting = waiting, None
            return finished.result()

        try:
            with suppress(WebSocketDisconnected):
                await self._app(scope, next_message, send)
        finally:
            forget()
            for task in (ended, waiting):
                if task is not None:
                    task.cancel()

    def _outgoing(self, scope: Scope, cookies: dict[str, str], send: Send) -> Send:
        """Add headers to every answer; to a page also the cookie and where its server is."""
        if scope["type"] != "http":
            return send
        delayed: list[Message] = []  # a page's start, kept until its body is known

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), *_HEADERS]
                message = {**message, "headers": headers}
                if _is_page(headers):
                    if BROWSER_COOKIE not in cookies:
                        token = secrets.token_urlsafe(24)
                        headers.append(self._cookie(scope, BROWSER_COOKIE, token, _YEAR))
                    delayed.append(message)
                    return
            elif delayed and message["type"] == "http.response.body":
                start = delayed[0]
                start["body"] = start.get("body", b"") + message.get("body", b"")
                if message.get("more_body"):
                    return
                delayed.clear()
                body = self._page_body(start.pop("body"))
                start["headers"] = [
                    (name, str(len(body)).encode() if name == b"content-length" else value)
                    for name, value in start["headers"]
                ]
                await send(start)
                message = {"type": "http.response.body", "body": body}
            await send(message)

        return sender

    def _page_body(self, body: bytes) -> bytes:
        """Add our own script, and where the page's server is.

        It would find out by trial, with errors logged.
        """
        script = (
            "<script>window.__streamlit={BACKEND_BASE_URL:location.origin"
            f"+{json.dumps(self._root)}}};{_SHELL}</script>"
        )
        return body.replace(b"<head>", b"<head>" + script.encode(), 1)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        accept = dict(scope["headers"]).get(b"accept", b"")
        if scope["method"] == "GET" and b"text/html" in accept:
            await _redirect(send, self._root.rstrip("/") + LOGIN_PATH, [])
        else:
            await _respond(send, 401, b"log in first", b"text/plain; charset=utf-8")

    async def _ask_in(self, login: Login, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _page(send, 200, "")
            return
        form = parse_qs((await _body(receive)).decode("utf-8", "replace"))
        name = " ".join(form.get("name", [""])[0].split())[:100]
        host = str((scope.get("client") or ("?",))[0])
        device = login.device(_cookies(scope).get(DEVICE_COOKIE, ""), name)
        wait = math.ceil(self._throttle.take(host, name, device))
        if wait:
            _note(login, host, 429)
            await _page(send, 429, f"Too many tries. Try again in {wait} seconds.", name, wait)
            return
        password, browser = form.get("password", [""])[0], _browser(scope)
        entered = await to_thread(login.enter, name, password, client=host, browser=browser)
        if entered is None:
            _note(login, host, 403)
            await _page(send, 403, "That is not the name and password. Try again.", name)
            return
        token, principal = entered
        self._throttle.forgive(host, name, device)
        _note(login, host, 303, principal)
        known = login.device_cookie(name)
        cookies = [
            self._cookie(scope, SESSION_COOKIE, token, SESSION),
            self._cookie(scope, DEVICE_COOKIE, known, DEVICE),
        ]
        await _redirect(send, self._root, cookies)

    def _cookie(self, scope: Scope, name: str, value: str, seconds: int) -> tuple[bytes, bytes]:
        secure = "; Secure" if scope.get("scheme") in ("https", "wss") else ""
        text = f"{name}={value}; Path={self._root}; Max-Age={seconds}; HttpOnly; SameSite=Lax"
        return b"set-cookie", (text + secure).encode()


def _note(login: Login, host: str, status: int, principal: Principal | None = None) -> None:
    login.audit.note(
        key_id=principal.key_id if principal else None,
        who=principal.name[:120] if principal else "",
        action="page login",
        status=status,
        client=host[:64],
    )


def _browser(scope: Scope) -> str:
    """What a browser calls itself."""
    return str(dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1"))


def _cookies(scope: Scope) -> dict[str, str]:
    jar: SimpleCookie = SimpleCookie()
    for name, value in scope.get("headers", []):
        if name == b"cookie":
            try:
                jar.load(value.decode("latin-1"))
            except CookieError:  # another program's odd cookie on the same host
                continue
    return {name: morsel.value for name, morsel in jar.items()}


def _plain_pages(scope: Scope) -> Scope:
    """Ask for pages uncompressed, so that they can be added to."""
    headers = scope.get("headers", [])
    if any(name == b"accept" and b"text/html" in value for name, value in headers):
        others = [(name, value) for name, value in headers if name != b"accept-encoding"]
        return {**scope, "headers": others}
    return scope


def _is_page(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(k.lower() == b"content-type" and v.startswith(b"text/html") for k, v in headers)


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body") or len(body) > _MAX_FORM:
            return body[:_MAX_FORM]


async def _respond(
    send: Send,
    status: int,
    body: bytes,
    kind: bytes,
    extra: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *_HEADERS,
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _redirect(send: Send, where: str, cookies: list[tuple[bytes, bytes]]) -> None:
    extra = [(b"location", where.encode()), *cookies]
    await _respond(send, 303, b"", b"text/plain", extra)


async def _page(send: Send, status: int, problem: str, name: str = "", wait: int = 0) -> None:
    template = (Path(__file__).parent / "login.html").read_text("utf-8")
    shown = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    body = template.replace("<!-- problem -->", shown).replace("<!-- name -->", escape(name))
    later = [(b"retry-after", str(wait).encode())] if wait else []
    await _respond(send, status, body.encode(), b"text/html; charset=utf-8", later)
