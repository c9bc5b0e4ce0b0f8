"""`ragcore keys`: made, shown once, listed, revoked; the audit."""

from __future__ import annotations

import datetime as dt
import io

import pytest

from ragcore.access.audit import Audit
from ragcore.access.keys import Keys
from ragcore.library import Library
from ragcore.settings import Settings

from .conftest import Run


@pytest.fixture
def library(settings: Settings) -> Library:
    """The library that the commands use too: the same home."""
    made = Library(settings)
    made.create_collection("papers")
    return made


def test_a_key_is_shown_once(run: Run, library: Library) -> None:
    made = run("keys", "create", "--name", "Ann", "--scope", "read", "-c", "papers")
    key = made.out.strip()
    assert made.code == 0
    assert key.startswith("rc_")
    assert len(key) > 43
    found = Keys(library.admin.catalog).find(key)
    assert found is not None
    assert (found.name, found.scope, found.collections) == ("Ann", "read", ("papers",))
    listed = run("keys", "list")
    assert key not in listed.out
    assert key[:11] in listed.out
    assert Keys(library.admin.catalog).find(key[:-1] + "x") is None


def test_a_key_that_expires(run: Run, library: Library) -> None:
    made = run("keys", "create", "--name", "x", "--scope", "write", "--expires", "90d", "--json")
    result = made.json
    until = dt.datetime.fromisoformat(result["expires_at"]) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=89) < until <= dt.timedelta(days=90)
    assert result["collections"] is None
    assert "collection_ids" not in result
    wrong = run("keys", "create", "--name", "x", "--scope", "read", "--expires", "soon")
    assert wrong.code == 2
    assert "no time" in wrong.complaint


def test_a_key_is_revoked_once(run: Run, library: Library) -> None:
    _, info = Keys(library.admin.catalog).create("x", scope="admin")
    assert run("keys", "revoke", info.prefix).code == 0
    again = run("keys", "revoke", str(info.id))
    assert again.code == 2
    assert "no live key" in again.complaint
    assert run("keys", "list", "--json").json["keys"][0]["state"] == "revoked"


def test_unknown_collections_and_scopes_are_refused(run: Run, library: Library) -> None:
    assert run("keys", "create", "--name", "x", "--scope", "root").code == 2
    wrong = run("keys", "create", "--name", "x", "--scope", "read", "-c", "paper")
    assert wrong.code == 2
    assert "known: papers" in wrong.complaint
    assert run("keys", "create", "--name", " ", "--scope", "read").code == 2
    assert run("keys", "list").out.startswith("no keys yet")


def test_the_audit_is_shown_and_forgotten(run: Run, library: Library) -> None:
    log = Audit(library.admin.catalog)
    log.note(action="GET /x", status=200, who="Ann (rc_12345678)", key_id=1, request_id="one")
    old = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
    log.note(action="GET /y", status=401, at=old, request_id="two")
    log.close()
    entries = run("keys", "audit", "--json").json["entries"]
    assert [entry["request_id"] for entry in entries] == ["two", "one"]
    assert "GET /y" in run("keys", "audit", "--refused").out
    assert run("keys", "audit", "--key", "1", "--json").json["entries"][0]["status"] == 200
    assert run("keys", "audit", "--forget", "1w", "--json").json == {"forgotten": 1}


def test_a_person_gets_a_password_and_another_key(
    run: Run, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def type_in(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))

    type_in("open sesame")
    keys = Keys(library.admin.catalog)
    made = run("keys", "create", "--name", "Ann", "--scope", "read", "--password")
    assert made.code == 0
    key = made.out.strip()
    assert key.startswith("rc_")
    info = keys.log_in("Ann", "open sesame")
    assert info is not None
    assert keys.log_in("Ann", "open sesam") is None
    assert keys.log_in("Bob", "open sesame") is None
    assert keys.log_in("", key) == keys.log_in("whoever", key)
    assert "logs in by name" in run("keys", "list").out
    type_in("open sesame")
    taken = run("keys", "create", "--name", "Ann", "--scope", "admin", "--password")
    assert taken.code == 2
    assert "choose another name" in taken.complaint

    renewed = run("keys", "renew", str(info.id), "--json").json
    assert keys.find(key) is None
    again = keys.find(renewed["key"])
    assert again is not None
    assert (again.id, again.password) == (info.id, True)
    assert again.stamp != info.stamp
    assert "stamp" not in renewed

    type_in("another one")
    changed = run("keys", "password", str(info.id))
    assert changed.code == 0
    assert keys.log_in("Ann", "open sesame") is None
    assert keys.log_in("Ann", "another one") is not None
    assert run("keys", "password", str(info.id), "--remove").code == 0
    assert keys.log_in("Ann", "another one") is None
    type_in("short")
    short = run("keys", "password", str(info.id))
    assert short.code == 2
    assert "8 characters" in short.complaint
    assert keys.get(info.id) is not None
    keys.revoke(str(info.id))
    assert keys.get(info.id) is None
    assert keys.find(renewed["key"]) is None
