"""Access: cookie, login, headers; what listens to others lets in accounts only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ragcore_app.access import BROWSER_COOKIE, Access, owner_of
from ragcore_app.login import SESSION_COOKIE, Login, Throttle
from ragcore_app.server import check_exposure, is_loopback, serve
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from ragcore.access.audit import Audit
from ragcore.access.keys import Keys
from ragcore.access.sessions import Sessions
from ragcore.catalog import Catalog
from ragcore.errors import UsageError
from ragcore.settings import Settings

PASSWORD = "open sesame"
PAGE = {"accept": "text/html"}


@pytest.fixture
def login(tmp_path: Path) -> Iterator[Login]:
    """The accounts of a home: Ann, who has a password."""
    settings = Settings(home=tmp_path)
    catalog = Catalog(settings.catalog_url)
    keys = Keys(catalog)
    keys.create("Ann", scope="read", password=PASSWORD)
    audit = Audit(catalog)
    yield Login(keys, Sessions(catalog), settings, audit)
    audit.close()
    catalog.close()


@pytest.fixture
def accounts(login: Login) -> Keys:
    return login._keys


def client(
    login: Login | None, *, base_path: str = "", url: str = "http://testserver"
) -> TestClient:
    async def page(_request: Request) -> HTMLResponse:
        return HTMLResponse("<html><head><title>x</title></head></html>")

    async def media(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("image")

    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    root = f"/{base_path}" if base_path else ""
    app = Starlette(
        routes=[
            Route(f"{root}/", page),
            Route(f"{root}/media/a.png", media, methods=["GET", "POST"]),
            Route(f"{root}/_stcore/health", media),
            WebSocketRoute(f"{root}/_stcore/stream", live),
        ],
        middleware=[Middleware(Access, login=login, base_path=base_path)],
    )
    return TestClient(app, base_url=url, follow_redirects=False)


def log_in(browser: TestClient, password: str = PASSWORD, name: str = "Ann") -> int:
    return browser.post("/login", data={"name": name, "password": password}).status_code


def test_every_browser_gets_a_cookie_once() -> None:
    browser, other = client(None), client(None)
    first = browser.get("/", headers=PAGE)
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "set-cookie" not in browser.get("/", headers=PAGE).headers
    other.get("/", headers=PAGE)
    mine, theirs = owner_of(browser.cookies), owner_of(other.cookies)
    assert mine != theirs
    assert browser.cookies[BROWSER_COOKIE] not in mine, "the cookie itself is never stored"
    assert owner_of({}) == ""


def test_a_page_that_is_closed_while_it_uploads_is_no_error() -> None:
    async def upload(request: Request) -> PlainTextResponse:
        await request.body()
        return PlainTextResponse("kept")

    async def gone() -> dict[str, object]:
        return {"type": "http.disconnect"}

    sent: list[object] = []

    async def send(message: object) -> None:
        sent.append(message)

    app = Access(Starlette(routes=[Route("/files", upload, methods=["PUT"])]))
    scope = {
        "type": "http", "method": "PUT", "path": "/files", "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"origin", b"http://testserver")],
    }  # fmt: skip
    asyncio.run(app(scope, gone, send))
    assert not any("kept" in str(message) for message in sent)


def test_a_page_is_reported_where_its_server_is_and_where_it_may_go() -> None:
    page = client(None).get("/", headers={**PAGE, "accept-encoding": "gzip"})
    assert 'BACKEND_BASE_URL:location.origin+"/"' in page.text
    assert int(page.headers["content-length"]) == len(page.content)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def test_without_a_login_nothing_is_served(login: Login) -> None:
    browser = client(login)
    answer = browser.get("/", headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert browser.get("/media/a.png").status_code == 401
    assert browser.post("/media/a.png").status_code == 401
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("/_stcore/stream"):
        pass
    browser.cookies.set(SESSION_COOKIE, "99999999999.1-abc.def.ghi")
    assert browser.get("/media/a.png").status_code == 401
    assert browser.get("/_stcore/health").status_code == 200, "for whoever watches the server"


def test_logging_in_opens_and_logging_out_closes(login: Login) -> None:
    browser = client(login)
    assert "Password or key" in browser.get("/login").text
    answer = browser.post("/login", data={"name": " Ann ", "password": PASSWORD})
    assert answer.status_code == 303
    assert answer.headers["set-cookie"].endswith("HttpOnly; SameSite=Lax")
    safe = client(login, url="https://testserver")
    answer = safe.post("/login", data={"name": "Ann", "password": PASSWORD})
    assert answer.headers["set-cookie"].endswith("; Secure")
    assert browser.get("/", headers=PAGE).status_code == 200
    assert browser.get("/media/a.png").text == "image"
    with browser.websocket_connect("/_stcore/stream") as socket:
        assert socket.receive_text() == "hello"
    kept = browser.cookies[SESSION_COOKIE]
    assert browser.get("/logout").status_code == 405, "a link or image elsewhere cannot log out"
    assert browser.get("/media/a.png").status_code == 200
    assert browser.post("/logout").status_code == 303
    assert browser.get("/media/a.png").status_code == 401
    browser.cookies.set(SESSION_COOKIE, kept)
    assert browser.get("/media/a.png").status_code == 401, "a copy of the cookie is dead too"


def test_a_key_logs_in_too(login: Login, accounts: Keys) -> None:
    key, info = accounts.create("a program", scope="write")
    browser = client(login)
    assert log_in(browser, key, name="") == 303
    found = login.principal(browser.cookies[SESSION_COOKIE])
    assert found is not None
    assert (found.key_id, found.scope, found.owner) == (info.id, "write", f"key {info.id}")


def test_a_login_ends_with_its_account(
    login: Login, accounts: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragcore_app.login._LOOK_EVERY", 0.0)
    (ann,) = accounts.all()
    for end in (
        lambda: accounts.set_password(str(ann.id), "another one"),
        lambda: accounts.renew(str(ann.id)),
        lambda: accounts.revoke(str(ann.id)),
    ):
        browser = client(login)
        password = PASSWORD if accounts.log_in("Ann", PASSWORD) else "another one"
        assert log_in(browser, password) == 303
        assert browser.get("/media/a.png").status_code == 200
        end()
        assert browser.get("/media/a.png").status_code == 401
    assert log_in(client(login), "another one") == 403


def test_wrong_passwords_are_slowed_down(login: Login) -> None:
    browser = client(login)
    wrong = {"name": "<b>Ann", "password": "<b>wrong</b>"}
    answer = browser.post("/login", data=wrong)
    assert answer.status_code == 403
    assert "not the name and password" in answer.text
    assert "<b>" not in answer.text
    tries = 1
    while answer.status_code == 403:  # a slow machine has waited by itself
        answer = browser.post("/login", data=wrong)
        tries += 1
    assert 4 <= tries < 12
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert log_in(browser) == 429, "the right one waits as well"
    entries = login.audit.recent(10)
    assert [one.status for one in entries][:3] == [429, 429, 403]
    assert {one.action for one in entries} == {"page login"}


def test_the_pause_doubles_and_is_short_for_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("ragcore_app.login.time", SimpleNamespace(monotonic=lambda: clock[0]))
    throttle = Throttle()

    def wait_then_try(host: str) -> float:
        wait = throttle.take(host, "Ann")
        clock[0] += wait
        assert not wait or throttle.take(host, "Ann") == 0.0
        return wait

    assert [wait_then_try("10.0.0.1") for _ in range(3)] == [0.0] * 3
    assert [wait_then_try("10.0.0.1") for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    # Ann herself, from elsewhere, is not kept out for long.
    assert wait_then_try("10.0.0.2") == 8
    throttle.forgive("10.0.0.2", "Ann")
    assert wait_then_try("10.0.0.2") == 0
    clock[0] += 1000
    assert wait_then_try("10.0.0.1") == 0, "forgotten after a while"


def test_an_overlong_form_is_not_read_whole(login: Login) -> None:
    assert log_in(client(login), "x" * 1_000_000) == 403


def test_below_another_path(login: Login) -> None:
    browser = client(login, base_path="rag")
    assert browser.get("/rag/", headers=PAGE).headers["location"] == "/rag/login"
    answer = browser.post("/rag/login", data={"name": "Ann", "password": PASSWORD})
    assert answer.headers["location"] == "/rag/"
    assert 'location.origin+"/rag/"' in browser.get("/rag/", headers=PAGE).text


def test_others_are_let_in_by_accounts_only(tmp_path: Path) -> None:
    for address in ("127.0.0.1", "localhost", "::1", "127.0.0.53"):
        assert is_loopback(address)
    for address in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        assert not is_loopback(address)
        with pytest.raises(UsageError, match="ragcore keys create"):
            serve(Settings(home=tmp_path), address=address, port=1)
    with pytest.raises(UsageError, match="ragcore keys create"):
        serve(Settings(home=tmp_path), address="127.0.0.1", port=1, login=True)
    catalog = Catalog(Settings(home=tmp_path).catalog_url)
    Keys(catalog).create("Ann", scope="read", password=PASSWORD)
    check_exposure(Keys(catalog), "0.0.0.0")
    catalog.close()
