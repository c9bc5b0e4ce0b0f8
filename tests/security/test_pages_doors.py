"""The pages: whose requests are taken, what a cookie is worth, and how guessing is slowed down."""

from __future__ import annotations

import base64
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from app.access import Access
from app.login import DEVICE_COOKIE, SESSION_COOKIE, Login, Throttle
from ragcore.access.audit import Audit
from ragcore.access.keys import Keys
from ragcore.access.sessions import Sessions
from ragcore.catalog.permits import Permit, within
from ragcore.errors import NotPermitted, UsageError
from ragcore.library import Library
from ragcore.settings import Settings

from .conftest import serving, wait_until

PASSWORD = "open sesame 1"
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


@pytest.fixture
def login(library: Library) -> Iterator[Login]:
    """Ann and Bob, who have passwords."""
    keys = Keys(library.admin.catalog)
    for name in ("Ann", "Bob"):
        keys.create(name, scope="write", password=PASSWORD)
    audit = Audit(library.admin.catalog)
    yield Login(keys, Sessions(library.admin.catalog), library.admin.settings, audit)
    audit.close()


def pages(login: Login | None, **options: object) -> Starlette:
    """What stands behind the doors in these tests: a page, something to change, a live line."""

    async def page(_request: Request) -> HTMLResponse:
        return HTMLResponse("<html><head></head></html>")

    async def change(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("changed")

    async def live(line: WebSocket) -> None:
        await line.accept()
        while True:
            await line.send_text(await line.receive_text())

    return Starlette(
        routes=[
            Route("/", page),
            Route("/change", change, methods=["POST", "PUT", "DELETE"]),
            WebSocketRoute("/live", live),
        ],
        middleware=[Middleware(Access, login=login, **options)],
    )


class Visitor:
    """A browser without a page: requests with exactly these headers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self.client = httpx.Client(base_url=f"http://{self.host}", timeout=60)

    def log_in(self, name: str = "Ann", password: str = PASSWORD, **headers: str) -> httpx.Response:
        return self.client.post(
            "/login",
            data={"name": name, "password": password},
            headers={k.replace("_", "-"): v for k, v in headers.items()},
        )

    def live(
        self, host: str = "", path: str = "/live", **headers: str
    ) -> tuple[socket.socket, int]:
        """A live connection and the status that it was answered with."""
        line = socket.create_connection(("127.0.0.1", self.port), 60)
        cookies = "; ".join(f"{name}={value}" for name, value in self.client.cookies.items())
        given = {**({"Cookie": cookies} if cookies else {}), **headers}
        more = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        key = base64.b64encode(os.urandom(16)).decode()
        line.sendall(UPGRADE.format(path=path, host=host or self.host, key=key, more=more).encode())
        return line, int(line.recv(12).split()[1])


@pytest.fixture
def visitor(login: Login) -> Iterator[Visitor]:
    with serving(pages(login), forwarded_allow_ips="") as port:  # as `serve` sets it
        yield Visitor(port)


def foreign(own: str) -> tuple[dict[str, str], ...]:
    return (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Origin": f"http://{own}.evil.example"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    )


def test_pages_of_other_origins_change_nothing(visitor: Visitor) -> None:
    assert visitor.log_in().status_code == 303
    for headers in foreign(visitor.host):
        for answer in (
            visitor.log_in(**{k.replace("-", "_"): v for k, v in headers.items()}),
            visitor.client.post("/logout", headers=headers),
            visitor.client.put("/change", headers=headers),
        ):
            assert answer.status_code == 403, headers
        line, status = visitor.live(**headers)
        line.close()
        assert status == 403, headers
    own = {"Origin": f"http://{visitor.host}"}
    assert visitor.client.post("/change", headers=own).status_code == 200
    line, status = visitor.live(**own)
    line.close()
    assert status == 101


def test_without_a_login_only_ones_own_names_and_pages_are_served() -> None:
    with serving(pages(None, hosts=["localhost", "127.0.0.1"])) as port:
        visitor = Visitor(port)
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.nip.io", "x@localhost"):
            assert visitor.client.get("/", headers={"Host": host}).status_code == 403
            line, status = visitor.live(host)
            line.close()
            assert status == 403
        for headers in foreign(visitor.host):
            assert visitor.client.put("/change", headers=headers).status_code == 403
            line, status = visitor.live(**headers)
            line.close()
            assert status == 403, "another program's page opens no live connection"
        assert visitor.client.get("/").status_code == 200
        assert visitor.client.put("/change").status_code == 200


def test_logging_out_ends_the_session_on_the_server(visitor: Visitor) -> None:
    assert visitor.log_in().status_code == 303
    kept = dict(visitor.client.cookies)
    line, status = visitor.live()
    assert status == 101
    assert visitor.client.get("/logout").status_code == 405, "no link can log out"
    assert visitor.client.get("/").status_code == 200
    assert visitor.client.post("/logout").status_code == 303
    line.settimeout(60)
    while line.recv(4096):  # what was open is closed
        continue
    line.close()
    visitor.client.cookies.clear()
    for name, value in kept.items():
        visitor.client.cookies.set(name, value)
    assert visitor.client.get("/", headers={"Accept": "text/html"}).status_code == 303
    again, status = visitor.live()
    again.close()
    assert status == 403


@pytest.mark.parametrize(
    "end",
    ["revoked", *(pytest.param(end, marks=pytest.mark.full) for end in ("disabled", "password"))],
)
def test_a_session_that_is_ended_elsewhere_is_over_within_a_moment(
    visitor: Visitor, library: Library, end: str
) -> None:
    keys = Keys(library.admin.catalog)
    assert visitor.log_in().status_code == 303
    assert visitor.log_in("Bob").status_code == 303
    (bob, _ann) = library.admin.sessions.all()
    assert (bob.name, bob.client) == ("Bob", "127.0.0.1")
    assert bob.browser.startswith("python-httpx")
    line, status = visitor.live()
    assert status == 101
    if end == "revoked":
        library.admin.sessions.revoke(bob.id)
    elif end == "disabled":
        keys.disable(str(bob.key_id))
    else:
        keys.set_password(str(bob.key_id), "another password")
    line.settimeout(60)
    while line.recv(4096):
        continue
    line.close()
    wait_until(lambda: visitor.client.get("/").status_code == 401, "a cookie outlived its session")
    assert [one.name for one in library.admin.sessions.all()] == ["Ann"]


def test_sessions_are_an_administrators_to_see_and_end(visitor: Visitor, library: Library) -> None:
    visitor.log_in()
    (session,) = library.admin.sessions.all()
    for permit in (Permit(None, "write"), Permit({1}, "admin")):
        with within(permit), pytest.raises(NotPermitted):
            library.admin.sessions.all()
        with within(permit), pytest.raises(NotPermitted):
            library.admin.sessions.revoke(session.id)
    assert library.admin.sessions.revoke_all_of(session.key_id) == 1
    with pytest.raises(UsageError, match="ragcore keys sessions"):
        library.admin.sessions.revoke(session.id)


def test_work_that_was_begun_ends_with_the_session(login: Login) -> None:
    entered = login.enter("Ann", PASSWORD)
    other = login.enter("Ann", PASSWORD)
    assert entered is not None
    assert other is not None
    ended, staying = threading.Event(), threading.Event()
    login.ends_with(entered[0], ended.set)
    login.ends_with(other[0], staying.set)
    login.leave(entered[0])
    assert ended.is_set()
    assert not staying.is_set(), "another session of the same account goes on"
    over = threading.Event()
    login.ends_with(entered[0], over.set)
    assert over.is_set(), "nothing begins in a session that is over"


def test_unknown_cookies_leave_nothing_behind(visitor: Visitor, login: Login) -> None:
    """Neither cookies that were not issued here nor huge ones are remembered."""
    visitor.log_in()
    cookie = visitor.client.cookies[SESSION_COOKIE]
    assert visitor.client.get("/").status_code == 200
    known = len(login._known)
    tries: tuple[Callable[[int], str], ...] = (
        lambda n: f"{n}" + "a" * 60_000,
        lambda n: f"{cookie}{n}",
        lambda n: f"{n}.{n}.{n}",
    )
    for number in range(30):
        for make in tries:
            headers = {"Cookie": f"{SESSION_COOKIE}={make(number)}"}
            answer = httpx.get(f"http://{visitor.host}/", headers=headers, timeout=60)
            assert answer.status_code in (401, 400)
    assert len(login._known) == known
    assert all(len(key) == 64 for key in login._known), "a digest, not the cookie"
    assert sys.getsizeof(str(login._known)) < 20_000


def test_guessing_is_slowed_down_whatever_a_request_says_of_itself(visitor: Visitor) -> None:
    statuses = [
        visitor.log_in(f"nobody{n}", "wrong password", X_Forwarded_For=f"10.0.0.{n}").status_code
        for n in range(9)
    ]
    assert 429 in statuses, "nine names from one address, said to be nine"


def test_behind_a_trusted_proxy_people_are_distinguished(login: Login) -> None:
    options = {"proxy_headers": True, "forwarded_allow_ips": ["127.0.0.1"]}
    with serving(pages(login), **options) as port:
        visitor = Visitor(port)
        wrong = [
            visitor.log_in("Ann", "wrong password", X_Forwarded_For="198.51.100.9").status_code
            for _ in range(9)
        ]
        assert 429 in wrong
        answer = visitor.log_in("Bob", X_Forwarded_For="203.0.113.5")
        assert answer.status_code == 303, "another client of the same proxy"
        (bob,) = login._sessions.all()
        assert bob.client == "203.0.113.5"


def test_one_proxy_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """All come from one address: an attacker's tries cost others seconds, and those nothing who
    have logged in from their browser before.
    """
    clock = [1000.0]
    monkeypatch.setattr("app.login.time.monotonic", lambda: clock[0])
    throttle = Throttle()
    for number in range(200):
        clock[0] += throttle.take("10.0.0.1", f"guess{number}")
    assert throttle.take("10.0.0.1", "Ann") <= 4.0
    assert throttle.take("10.0.0.1", "Ann", device="a browser of hers") == 0.0


def test_a_browser_is_known_again_for_its_own_name_only(visitor: Visitor, login: Login) -> None:
    visitor.log_in()
    cookie = visitor.client.cookies[DEVICE_COOKIE]
    assert login.device(cookie, "Ann")
    assert login.device(cookie, "Bob") == ""
    assert login.device(visitor.client.cookies[SESSION_COOKIE], "Ann") == ""
    assert login.principal(cookie) is None, "it lets nobody in"


def test_trusted_proxies_are_addresses_or_networks(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, trusted_proxies="10.0.0.0/8, 127.0.0.1")
    assert settings.trusted_proxies == ["10.0.0.0/8", "127.0.0.1"]
    assert Settings(home=tmp_path).trusted_proxies == []
    for wrong in ("*", "proxy.example.org", "10.0.0.0/99"):
        with pytest.raises(UsageError, match="trusted_proxies"):
            Settings(home=tmp_path, trusted_proxies=wrong)
