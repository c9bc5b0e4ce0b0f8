"""The door: cookie, password, headers; what listens to others must be protected."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.access import BROWSER_COOKIE, SESSION_COOKIE, Access, owner_of
from app.server import check_exposure, is_loopback
from ragcore.accounts import hash_password
from ragcore.errors import UsageError
from ragcore.settings import Settings

PASSWORD = "open sesame"
HASHED = hash_password(PASSWORD)
PAGE = {"accept": "text/html"}


def client(tmp_path: Path, *, password: bool, base_path: str = "") -> TestClient:
    async def page(_request: Request) -> HTMLResponse:
        return HTMLResponse("<html><head><title>x</title></head></html>")

    async def media(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("picture")

    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    root = f"/{base_path}" if base_path else ""
    settings = Settings(home=tmp_path, ui_password_hash=HASHED if password else "")
    app = Starlette(
        routes=[
            Route(f"{root}/", page),
            Route(f"{root}/media/a.png", media, methods=["GET", "POST"]),
            Route(f"{root}/_stcore/health", media),
            WebSocketRoute(f"{root}/_stcore/stream", live),
        ],
        middleware=[Middleware(Access, settings=settings, base_path=base_path)],
    )
    return TestClient(app, follow_redirects=False)


def log_in(browser: TestClient, password: str = PASSWORD) -> int:
    return browser.post("/login", data={"password": password}).status_code


def test_every_browser_gets_a_cookie_once(tmp_path: Path) -> None:
    browser, other = (client(tmp_path, password=False) for _ in range(2))
    first = browser.get("/", headers=PAGE)
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "set-cookie" not in browser.get("/", headers=PAGE).headers
    other.get("/", headers=PAGE)
    mine, theirs = owner_of(browser.cookies), owner_of(other.cookies)
    assert mine != theirs
    assert browser.cookies[BROWSER_COOKIE] not in mine, "the cookie itself is never stored"
    assert owner_of({}) == ""


def test_a_page_is_told_where_its_server_is_and_where_it_may_go(tmp_path: Path) -> None:
    page = client(tmp_path, password=False).get("/", headers={**PAGE, "accept-encoding": "gzip"})
    assert 'BACKEND_BASE_URL:location.origin+"/"' in page.text
    assert int(page.headers["content-length"]) == len(page.content)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def test_without_the_password_nothing_is_served(tmp_path: Path) -> None:
    browser = client(tmp_path, password=True)
    answer = browser.get("/", headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert browser.get("/media/a.png").status_code == 401
    assert browser.post("/media/a.png").status_code == 401
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("/_stcore/stream"):
        pass
    browser.cookies.set(SESSION_COOKIE, "99999999999.abc.def")
    assert browser.get("/media/a.png").status_code == 401
    assert browser.get("/_stcore/health").status_code == 200, "for whoever watches the server"


def test_the_password_opens_and_logging_out_closes(tmp_path: Path) -> None:
    browser = client(tmp_path, password=True)
    assert "Password" in browser.get("/login").text
    assert log_in(browser) == 303
    assert browser.get("/", headers=PAGE).status_code == 200
    assert browser.get("/media/a.png").text == "picture"
    with browser.websocket_connect("/_stcore/stream") as socket:
        assert socket.receive_text() == "hello"
    assert browser.get("/logout").status_code == 303
    assert browser.get("/media/a.png").status_code == 401


def test_wrong_passwords_are_slowed_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    # Not asyncio.sleep itself: other servers of this process would then never wait.
    monkeypatch.setattr("app.access.sleep", sleep)
    browser = client(tmp_path, password=True)
    for _ in range(7):
        answer = browser.post("/login", data={"password": "<b>wrong</b>"})
        assert answer.status_code == 403
        assert "not the password" in answer.text
        assert "<b>" not in answer.text
    assert waits == [0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0]
    assert log_in(browser) == 303
    assert log_in(browser) == 303
    assert waits[-1] == 0.0, "forgiven once it was right"


def test_an_overlong_form_is_not_read_whole(tmp_path: Path) -> None:
    assert log_in(client(tmp_path, password=True), "x" * 1_000_000) == 403


def test_below_another_path(tmp_path: Path) -> None:
    browser = client(tmp_path, password=True, base_path="rag")
    assert browser.get("/rag/", headers=PAGE).headers["location"] == "/rag/login"
    assert browser.post("/rag/login", data={"password": PASSWORD}).headers["location"] == "/rag/"
    assert 'location.origin+"/rag/"' in browser.get("/rag/", headers=PAGE).text


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "127.0.0.53"])
def test_this_computer_needs_no_password(address: str) -> None:
    assert is_loopback(address)
    check_exposure(Settings(), address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_others_are_let_in_with_password_and_folders_only(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"password.*and the folders"):
        check_exposure(Settings(), address)
    with pytest.raises(UsageError, match="allowed_roots"):
        check_exposure(Settings(ui_password_hash=HASHED), address)
    check_exposure(Settings(ui_password_hash=HASHED, allowed_roots=[tmp_path]), address)
