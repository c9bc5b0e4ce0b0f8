"""Who may do what: every route, every scope, own and foreign collections; doors and limits."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragcore.access.audit import Audit
from ragcore.access.keys import SCOPES, Keys
from ragcore.api.limits import RateLimit
from ragcore.api.problems import Problem
from ragcore.api.server import check_exposure, is_loopback
from ragcore.catalog.models import AuditEntry
from ragcore.errors import UsageError
from ragcore.library import Library, Principal
from ragcore.settings import Settings
from ragcore.types import SearchQuery
from tests.waiting import wait_until

from .conftest import SECRET, Served, running

C = "/api/v1/collections/{collection}"
V = "/v1/vector_stores/{vector_store_id}"
# What each route needs. "open": no key; "everywhere": a key that is not limited to collections.
NEEDED: dict[tuple[str, str], str] = {
    ("get", "/api/v1/collections"): "read",
    ("post", "/api/v1/collections"): "everywhere",
    ("get", C): "read",
    ("patch", C): "admin",
    ("delete", C): "admin",
    ("get", f"{C}/documents"): "read",
    ("get", f"{C}/documents/{{document_id}}"): "read",
    ("delete", f"{C}/documents/{{document_id}}"): "write",
    ("get", f"{C}/documents/{{document_id}}/file"): "read",
    ("get", f"{C}/documents/{{document_id}}/pages/{{number}}"): "read",
    ("get", f"{C}/documents/{{document_id}}/pages/{{number}}/image"): "read",
    ("get", f"{C}/images"): "read",
    ("patch", f"{C}/images"): "write",
    ("get", f"{C}/trash"): "write",
    ("post", f"{C}/trash"): "write",
    ("post", f"{C}/trash/restore"): "write",
    ("delete", f"{C}/trash"): "write",
    ("get", f"{C}/sources"): "everywhere",
    ("post", f"{C}/sources"): "everywhere",
    ("get", f"{C}/sources/{{source_id}}"): "everywhere",
    ("patch", f"{C}/sources/{{source_id}}"): "everywhere",
    ("delete", f"{C}/sources/{{source_id}}"): "everywhere",
    ("post", f"{C}/sources/{{source_id}}/sync"): "everywhere",
    ("get", f"{C}/albums"): "read",
    ("post", f"{C}/albums"): "write",
    ("patch", f"{C}/albums/{{album}}"): "write",
    ("delete", f"{C}/albums/{{album}}"): "write",
    ("get", f"{C}/images/{{image_id}}"): "read",
    ("get", f"{C}/images/{{image_id}}/thumbnail"): "read",
    ("get", f"{C}/images/{{image_id}}/view"): "read",
    ("get", f"{C}/images/{{image_id}}/picture"): "read",  # deprecated
    ("get", f"{C}/documents/{{document_id}}/pages/{{number}}/picture"): "read",  # deprecated
    ("post", f"{C}/search/picture"): "read",  # deprecated
    ("post", "/api/v1/pictures/ask"): "read",  # deprecated
    ("get", "/api/v1/imagine/{job_id}/pictures/{number}"): "read",  # deprecated
    ("post", f"{C}/uploads"): "write",
    ("post", f"{C}/ingests"): "admin",
    ("get", f"{C}/jobs"): "read",
    ("get", f"{C}/jobs/{{job_id}}"): "read",
    ("post", f"{C}/jobs/{{job_id}}/cancel"): "write",
    ("post", f"{C}/jobs/{{job_id}}/resume"): "write",
    ("get", f"{C}/jobs/{{job_id}}/events"): "read",
    ("post", f"{C}/search"): "read",
    ("post", f"{C}/search/image"): "read",
    ("post", f"{C}/label"): "read",
    ("post", f"{C}/images/{{image_id}}/ask"): "read",
    ("post", f"{C}/captions"): "write",
    ("post", f"{C}/classify"): "write",
    ("get", f"{C}/labels"): "read",
    ("post", f"{C}/ask"): "read",
    ("post", f"{C}/ask/stream"): "read",
    ("get", "/api/v1/models"): "read",
    ("get", "/api/v1/classifiers"): "read",
    ("get", "/api/v1/classifiers/{name}"): "read",
    ("post", "/api/v1/images/ask"): "read",
    ("get", "/api/v1/adapters"): "read",
    ("post", "/api/v1/imagine"): "read",
    ("get", "/api/v1/imagine"): "read",
    ("get", "/api/v1/imagine/{job_id}"): "read",
    ("delete", "/api/v1/imagine/{job_id}"): "read",
    ("get", "/api/v1/imagine/{job_id}/events"): "read",
    ("get", "/api/v1/imagine/{job_id}/images/{number}"): "read",
    ("get", "/api/v1/imagine/{job_id}/conditions/{number}"): "read",
    ("post", "/api/v1/imagine/{job_id}/cancel"): "read",
    ("get", "/v1/models"): "read",
    ("get", "/v1/models/{model}"): "read",
    ("post", "/v1/chat/completions"): "read",
    ("post", "/v1/embeddings"): "read",
    ("post", "/v1/images/generations"): "read",
    ("post", "/v1/rerank"): "read",
    ("post", "/v1/audio/transcriptions"): "read",
    ("post", "/v1/responses"): "read",
    ("post", "/v1/files"): "write",
    ("get", "/v1/files"): "read",
    ("get", "/v1/files/{file_id}"): "read",
    ("get", "/v1/files/{file_id}/content"): "write",
    ("delete", "/v1/files/{file_id}"): "write",
    ("post", "/v1/vector_stores"): "everywhere",
    ("get", "/v1/vector_stores"): "read",
    ("get", V): "read",
    ("post", V): "admin",
    ("delete", V): "admin",
    ("post", f"{V}/search"): "read",
    ("post", f"{V}/files"): "write",
    ("get", f"{V}/files"): "read",
    ("get", f"{V}/files/{{file_id}}"): "read",
    ("delete", f"{V}/files/{{file_id}}"): "write",
    ("post", f"{V}/file_batches"): "write",
    ("get", f"{V}/file_batches/{{batch_id}}"): "read",
    ("get", "/healthz"): "open",
    ("get", "/readyz"): "open",
    ("get", "/metrics"): "everywhere",
}
NOTHING = 2**40  # an id that nothing has
STORES: dict[str, int] = {}  # number of each collection by name
# What requests send, well-formed and without effect, by method and end of the path.
UNNAMED = {"json": {"name": "/"}}  # no name that could be given
NO_IMAGE = {"files": {"image": ("x.png", b"no image")}}
QUESTION = {"json": {"question": "Xyzzy plugh?"}}
CHOSEN = {"json": {"document_ids": [NOTHING]}}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/v1/files"): {"files": {"file": ("empty.txt", b"")}},
    ("post", "/v1/vector_stores"): UNNAMED,
    ("post", "/v1/audio/transcriptions"): {"files": {"file": ("x.wav", b"no sound")}},
    ("post", "/v1/rerank"): {"json": {"query": "x", "documents": ["x"]}},
    ("post", "/search"): {"json": {"text": "safe number", "cutoff": 0}},
    ("post", "/classify"): {"json": {"classifier": "nowhere"}},
    ("post", "/search/image"): NO_IMAGE,
    ("post", "/images/ask"): NO_IMAGE,
    ("post", "/search/picture"): NO_IMAGE,  # deprecated
    ("post", "/pictures/ask"): NO_IMAGE,  # deprecated
    ("post", "/label"): {"json": {"labels": ["sun", "moon"]}},
    ("post", "/ask"): QUESTION,
    ("post", "/ask/stream"): QUESTION,
    ("post", "/uploads"): {"files": {"files": ("empty.txt", b"")}},
    ("post", "/ingests"): {"json": {"paths": ["/nowhere/at/all"]}},
    ("post", "/imagine"): {"json": {"prompt": "x", "steps": 0}},
    ("post", "/images/generations"): {"json": {"prompt": "x", "size": "no size"}},
    ("post", "/embeddings"): {"json": {"model": "none", "input": "x"}},
    ("patch", "/images"): {"json": {"image_ids": [NOTHING], "favorite": True}},
    ("post", "/trash"): CHOSEN,
    ("post", "/trash/restore"): CHOSEN,
    ("post", "/sources"): {"json": {"url": "https://example.org"}},
    ("patch", "/sources/{source_id}"): {"json": {"paused": True}},
    ("patch", "/albums/{album}"): {"json": {"add": [NOTHING]}},
    ("post", "/albums"): {"json": {"name": " "}},  # no name that could be given
    ("patch", "{collection}"): {"json": {"adapter": "default"}},
    ("post", "/api/v1/collections"): UNNAMED,
}


@pytest.fixture(scope="module")
def scratch(served: Served) -> Served:
    """Keys of each scope for a collection of this module's own, which may be changed."""
    served.library.create_collection("scratch")
    STORES.update({row.name: row.id for row in served.library.collections()})
    keys = Keys(served.library.admin.catalog)
    own = {s: keys.create(f"scratch {s}", scope=s, collections=["scratch"])[0] for s in SCOPES}
    return replace(served, keys=own)


def content(method: str, path: str, collection: str) -> dict[str, Any]:
    """The body of a request: the first of `BODIES` that a route ends with, or none."""
    if path == "/v1/responses":
        store = f"vs_{STORES.get(collection, NOTHING)}"
        tools = [{"type": "file_search", "vector_store_ids": [store]}]
        return {"json": {"input": "Xyzzy plugh?", "tools": tools}}
    if path.endswith("/completions"):
        message = {"role": "user", "content": "Xyzzy plugh?"}
        return {"json": {"model": f"ragcore/{collection}", "messages": [message]}}
    if method == "post" and path.startswith(V):
        unknown = "file-" + "0" * 24
        fields = {"query": "x", "file_id": unknown, "file_ids": [unknown], "name": "/"}
        return {"json": fields}
    found = (body for (how, end), body in BODIES.items() if how == method and path.endswith(end))
    return next(found, {})


def request(
    client: httpx.Client, method: str, path: str, collection: str, **ids: int
) -> httpx.Response:
    """A request that is well-formed, about things that need not be there."""
    address = path.format(
        collection=collection,
        document_id=ids.get("document_id", NOTHING),
        image_id=ids.get("image_id", NOTHING),
        job_id=ids.get("job_id", NOTHING),
        source_id=ids.get("source_id", NOTHING),
        number=1,
        model=f"ragcore/{collection}",
        name="nowhere",
        album="nowhere",
        vector_store_id=f"vs_{STORES.get(collection, NOTHING)}",
        file_id=f"doc-{ids.get('document_id', NOTHING)}",
        batch_id=f"vsfb_{ids.get('job_id', NOTHING)}",
    )
    return client.request(method.upper(), address, **content(method, path, collection))


def names_a_collection(path: str) -> bool:
    named = ("/v1/chat/completions", "/v1/models/{model}", "/v1/responses")
    return "{collection}" in path or path.startswith(V) or path in named


def test_the_table_is_whole(admin: httpx.Client) -> None:
    paths = admin.get("/api/v1/openapi.json").json()["paths"]
    assert {(method, path) for path in paths for method in paths[path]} == set(NEEDED)


@pytest.mark.parametrize("scope", [None, *SCOPES])
def test_every_route_with_every_scope(scratch: Served, scope: str | None) -> None:
    """401 without a key; 404 for collections that are foreign or missing; 403 below the scope."""
    with scratch.client(scratch.keys[scope] if scope else None) as client:
        for (method, path), needed in NEEDED.items():
            if (method, path) in (("delete", C), ("delete", V)):
                continue  # has a test of its own: it does what it says
            result = f"{scope} {method} {path}"
            answer = request(client, method, path, "scratch")
            if needed == "open":
                assert answer.status_code in (200, 503), result
            elif scope is None:
                assert answer.status_code == 401, result
                assert answer.headers["www-authenticate"].startswith("Bearer"), result
            elif needed == "everywhere" or SCOPES.index(scope) < SCOPES.index(needed):
                assert answer.status_code == 403, result
            elif path.endswith("/ingests"):  # no allowed_roots are set in these tests
                assert answer.status_code == 403, result
                assert "allowed_roots" in answer.json()["detail"], result
            else:
                assert answer.status_code not in (401, 403), f"{result}: {answer.text}"
                assert "no collection" not in answer.text, f"{result}: {answer.text}"
            if scope is None or not names_a_collection(path):
                continue
            answers = [request(client, method, path, name) for name in ("foreign", "missing")]
            for other in answers:
                assert other.status_code == 404, f"{result}: {other.text}"
                assert SECRET.strip() not in other.text
            # A foreign collection looks like one that is not there.
            documents = [json.loads(other.text) for other in answers]
            for document, name in zip(documents, ("foreign", "missing"), strict=True):
                document.pop("request_id")
                store = f"vs_{STORES.get(name, NOTHING)}"
                document["detail"] = document["detail"].replace(name, "NAME").replace(store, "NAME")
                document.pop("error", None)
            assert documents[0] == documents[1], result


def test_deleting_a_collection_takes_admin(served: Served) -> None:
    keys = Keys(served.library.admin.catalog)
    for scope in SCOPES:
        served.library.create_collection("doomed", exist_ok=True)
        with served.client(keys.create("x", scope=scope, collections=["doomed"])[0]) as client:
            assert client.delete("/api/v1/collections/foreign").status_code == 404
            answer = client.delete("/api/v1/collections/doomed")
            assert answer.status_code == (200 if scope == "admin" else 403)
    # A key does not open a new collection of the old name.
    served.library.create_collection("doomed")
    with served.client(keys.create("x", scope="admin")[0]) as client:
        client.delete("/api/v1/collections/doomed")


def test_ids_of_another_collection_do_not_exist_here(served: Served) -> None:
    """Real ids of the foreign collection, asked for under the own one's name."""
    with served.client(served.all["admin"]) as root:
        foreign = "/api/v1/collections/foreign"
        document = root.get(f"{foreign}/documents").json()["items"][0]
        image = root.get(f"{foreign}/images").json()["items"][0]
        files = [("files", ("more.txt", b"More of what is secret: 4711."))]
        job = root.post(f"{foreign}/uploads", files=files).json()["job"]
    ids = {"document_id": document["id"], "image_id": image["id"], "job_id": job}
    for scope in SCOPES:
        with served.client(served.keys[scope]) as client:
            for method, path in NEEDED:
                inner = path.removeprefix(V)
                if "_id}" in inner and "/imagine" not in path:  # those are a key's own
                    answer = request(client, method, path, "own", **ids)
                    least = NEEDED[method, path]
                    enough = least in SCOPES and SCOPES.index(scope) >= SCOPES.index(least)
                    assert answer.status_code == (404 if enough else 403), (method, path)
            where = {"document_id": ids["document_id"]}
            listed = client.get("/api/v1/collections/own/images", params=where)
            assert listed.status_code == 404
    with served.client(served.all["read"]) as root:
        assert root.get(f"{foreign}/documents/{document['id']}").status_code == 200


def test_the_engine_itself_refuses_what_is_not_permitted(served: Served) -> None:
    library = served.library
    own = library.admin.catalog.collection("own").id
    foreign = library.admin.catalog.collection("foreign").id
    other = library.for_principal(Principal("other", "admin", 1, frozenset({foreign})))
    document = other.documents.list("foreign")[0][0].id
    assert other.search(SearchQuery(text="safe number", collection="foreign")).hits
    library = library.for_principal(Principal("own", "admin", 2, frozenset({own})))
    for call in (
        lambda: library.search(SearchQuery(text="safe number", collection="foreign")),
        lambda: library.ask("What opens the safe?", collection="foreign"),
        lambda: library.documents.list("foreign"),
        lambda: library.documents.get(document),
        lambda: library.documents.page(document, 1),
        lambda: library.create_collection("foreign", exist_ok=True),
        lambda: library.admin.delete_collection("foreign"),
    ):
        with pytest.raises(UsageError) as refused:
            call()
        assert (
            "known: own" in str(refused.value)
            or "foreign" not in str(refused.value)
            or "only who may see every collection" in str(refused.value)
        )
    assert [row.name for row in library.collections()] == ["own"]


def test_revoked_and_expired_keys_are_refused_at_once(served: Served) -> None:
    keys = Keys(served.library.admin.catalog)
    key, info = keys.create("short", scope="read", collections=["own"])
    with served.client(key) as client:
        assert client.get("/api/v1/collections").status_code == 200
        keys.revoke(info.prefix)
        assert client.get("/api/v1/collections").status_code == 401
    brief, _ = keys.create("brief", scope="read", lifetime=dt.timedelta(microseconds=1))
    with served.client(brief) as client:
        assert client.get("/api/v1/collections").status_code == 401
    with served.client("rc_" + "A" * 43) as client:
        assert client.get("/api/v1/collections").status_code == 401


def test_keys_are_not_kept_in_the_catalog(served: Served) -> None:
    database = served.library.admin.settings.home / "catalogue.db"
    key = served.keys["read"]
    for file in (database, Path(f"{database}-wal")):
        assert not file.exists() or key.encode() not in file.read_bytes()


def test_the_audit_lists_who_did_what(served: Served, reader: httpx.Client) -> None:
    reader.post(
        "/api/v1/collections/foreign/search",
        json={"text": "a very private question"},
        headers={"X-Request-Id": "audited-1"},
    )
    with served.client("rc_wrong") as stranger:
        stranger.get("/api/v1/models", headers={"X-Request-Id": "audited-2"})
    audit = Audit(served.library.admin.catalog)

    def written() -> dict[str, AuditEntry]:
        found = {one.request_id: one for one in audit.recent(50)}
        return found if {"audited-1", "audited-2"} <= set(found) else {}

    entries = wait_until(written, "the writing of the audit log")
    entry = entries["audited-1"]
    assert (entry.status, entry.collection) == (404, "foreign")
    assert entry.action.endswith("/search")
    assert entry.who.startswith("own read (rc_")
    assert entries["audited-2"].status == 401
    assert "private question" not in str(vars(entry))
    refused = Audit(served.library.admin.catalog).recent(50, refused=True)
    assert {one.status for one in refused} <= {401, 403, 404, 429}


def test_a_caller_is_slowed_down() -> None:
    limit = RateLimit(60)
    for _ in range(10):
        limit.take("one")
    with pytest.raises(Problem) as refused:
        limit.take("one")
    assert refused.value.status == 429
    assert refused.value.headers == {"Retry-After": "1"}
    limit.take("another")


def test_too_many_requests_over_the_wire(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    library = Library(make_settings(tmp_path, api_rate=6))  # slow machines refill little
    key, _ = Keys(library.admin.catalog).create("hasty", scope="read")
    with running(library, keys_needed=True) as url:
        answers = [
            httpx.get(f"{url}/api/v1/collections", headers={"Authorization": f"Bearer {key}"})
            for _ in range(14)
        ]
        assert [answer.status_code for answer in answers[:10]] == [200] * 10
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert httpx.get(f"{url}/healthz").status_code == 200


def test_without_keys_only_this_computer_is_served(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    with running(Library(make_settings(tmp_path)), keys_needed=False) as url:
        assert httpx.get(f"{url}/api/v1/collections").status_code == 200
        made = httpx.post(f"{url}/api/v1/collections", json={"name": "mine"})
        assert made.status_code == 201
        for headers in (
            {"Host": "evil.example"},  # a name that was pointed at this computer
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            assert httpx.get(f"{url}/api/v1/collections", headers=headers).status_code == 403
        assert httpx.get(f"{url}/api/v1/models", headers={"Origin": url}).status_code == 200


def test_others_are_served_with_keys_only(settings: Settings) -> None:
    with Library(settings) as library:
        for host in ("0.0.0.0", "192.168.1.7", "::", "example.org"):
            assert not is_loopback(host)
        for host in ("localhost", "127.0.0.1", "127.1.2.3", "::1"):
            assert is_loopback(host)
        check_exposure(library, "127.0.0.1", keys_needed=False)
        with pytest.raises(UsageError, match="ragcore keys create"):
            check_exposure(library, "0.0.0.0", keys_needed=True)
        _, info = Keys(library.admin.catalog).create("first", scope="read")
        check_exposure(library, "0.0.0.0", keys_needed=True)
        Keys(library.admin.catalog).revoke(str(info.id))
        with pytest.raises(UsageError):
            check_exposure(library, "0.0.0.0", keys_needed=True)
