"""Two people at the same pages: each sees their own collections and conversations, and does what
their scope allows.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ragcore_app.components.collections import ALL
from ragcore_app.login import Login
from ragcore_app.state import library, owner, use_login
from streamlit.testing.v1 import AppTest

from ragcore.access.audit import Audit
from ragcore.access.keys import Keys
from ragcore.access.sessions import Sessions
from ragcore.catalog.models import AuditEntry
from ragcore.errors import NotPermitted, UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.types import SearchQuery
from tests.waiting import wait_until

from .test_search_page import results

PASSWORDS = {"Ann": "open sesame", "Bob": "abracadabra", "Cat": "hocus pocus"}
Become = Callable[[str], None]


@pytest.fixture
def become(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Become]:
    """Log in as Ann (write, all collections), Bob (read, the collection "public" only) or Cat
    (read, "public" and "sample").
    """
    settings = Settings()
    with Library(settings) as library:
        note = own_home.parent / "notice.txt"
        note.write_text("The library is closed on Sundays and opens at nine on other days.\n")
        library.ingest([note], collection="public")
        keys = Keys(library.admin.catalog)
        keys.create("Ann", scope="write", password=PASSWORDS["Ann"])
        keys.create("Bob", scope="read", collections=["public"], password=PASSWORDS["Bob"])
        keys.create(
            "Cat", scope="read", collections=["public", "sample"], password=PASSWORDS["Cat"]
        )
        audit = Audit(library.admin.catalog)
        login = Login(keys, Sessions(library.admin.catalog), settings, audit)
        use_login(login)

        def log_in(name: str) -> None:
            entered = login.enter(name, PASSWORDS[name])
            assert entered is not None
            monkeypatch.setattr("ragcore_app.state.session_token", lambda: entered[0])

        yield log_in
        use_login(None)
        audit.close()


def collections_of(test: AppTest) -> list[str]:
    return list(test.sidebar.selectbox(key="collection").options)


def test_each_sees_what_is_theirs(become: Become, page: Callable[..., AppTest]) -> None:
    become("Ann")
    assert collections_of(page("search").run()) == ["public", "sample", ALL]
    become("Bob")
    assert collections_of(page("search").run()) == ["public"]
    # The address of what he may not see leads nowhere.
    result = page("search", q="table games", collection="sample").run()
    assert not result.exception
    assert collections_of(result) == ["public"]
    assert "foosball" not in str(results(result))


def test_all_collections_are_those_that_one_may_see(
    become: Become, page: Callable[..., AppTest]
) -> None:
    become("Ann")
    plan = [("plan.txt", io.BytesIO(b"The library is closed at Septuagesima."))]
    job, _ = library().jobs.start_upload(plan, collection="board")
    assert library().jobs.wait(job).state == "done"

    def found() -> tuple[list[str], str]:
        test = page("search", q="is the library closed", collection=ALL, cut="0.00").run()
        assert not test.exception
        assert not test.error
        return collections_of(test), str(results(test))

    options, shown = found()
    assert options == ["board", "public", "sample", ALL]
    assert "Septuagesima" in shown
    become("Cat")
    options, shown = found()
    assert options == ["public", "sample", ALL]
    assert "Sundays" in shown
    assert "Septuagesima" not in shown
    assert "· board" not in shown
    become("Bob")
    options, shown = found()
    assert options == ["public"]
    assert "Sundays" in shown
    assert "Septuagesima" not in shown


def test_a_reader_changes_nothing(
    become: Become, page: Callable[..., AppTest], tmp_path: Path
) -> None:
    become("Bob")
    test = page("library").run()
    assert not test.exception
    assert test.button_group(key="view").options == ["Documents", "Overview", "Map", "Labels"]
    assert [button.label for button in test.sidebar.button] == []
    with pytest.raises(NotPermitted):
        library().documents.remove([1], collection="public")
    with pytest.raises(NotPermitted):
        library().documents.upload([], collection="public")
    with pytest.raises(UsageError, match="no collection"):
        library().search(SearchQuery(text="table games", collection="sample"))
    become("Ann")
    test = page("library").run()
    assert "Add" in test.button_group(key="view").options
    assert [button.label for button in test.sidebar.button] == ["New collection"]
    with pytest.raises(NotPermitted):
        library().admin.delete_collection("public")
    # Adapters are the whole library's, and writing one out writes the server's files.
    with pytest.raises(NotPermitted):
        library().adapters.use("none", "public")
    with pytest.raises(NotPermitted):
        library().adapters.combine({"grounded-qa": 1.0}, "mine")
    with pytest.raises(NotPermitted):
        library().adapters.write("grounded-qa", tmp_path / "model")
    with pytest.raises(NotPermitted):
        library().adapters.remove("grounded-qa")


def test_conversations_and_jobs_are_per_person(
    become: Become, page: Callable[..., AppTest], tmp_path: Path
) -> None:
    become("Ann")
    talk = library().chats.create(owner(), collection="sample", title="About games")
    diary = [("diary.txt", io.BytesIO(b"Private."))]
    job, _ = library().jobs.start_upload(diary, collection="sample")
    assert library().jobs.wait(job).state == "done"
    assert any(b.key == f"open-talk-{talk.id}" for b in page("ask").run().sidebar.button)
    become("Bob")
    test = page("ask", talk=str(talk.id)).run()
    assert not test.exception
    assert not any("About games" in str(button.label) for button in test.sidebar.button)
    assert library().jobs.recent() == []
    with pytest.raises(UsageError, match="no job"):
        library().jobs.get(job)


def test_an_answer_is_looked_for_where_its_asker_may_look(become: Become) -> None:
    become("Bob")
    talk = library().chats.create(owner(), collection="public", title="x")
    reply = library().chats.start(owner(), talk.id, "Where is foosball?", collection="sample")
    assert reply.wait(60)
    assert "no collection" in reply.error
    assert not reply.hits


def test_what_is_done_on_pages_is_audited(become: Become, page: Callable[..., AppTest]) -> None:
    become("Ann")
    page("search", q="a very private question", collection="sample").run()
    page("search", q="a very private question", collection=ALL).run()
    become("Bob")
    with pytest.raises(NotPermitted):
        library().admin.delete_collection("public")
    with Library() as other:
        entries = Audit(other.admin.catalog)

        def written() -> list[AuditEntry]:
            rows = list(entries.recent(20))
            return rows if any("delete_collection" in row.action for row in rows) else []

        rows = wait_until(written, "the writing of the audit log")
    result = [(row.who.split(" ")[0], row.action, row.collection, row.status) for row in rows]
    assert ("Ann", "page search", "sample", 200) in result
    assert ("Ann", "page search", "public, sample", 200) in result
    assert ("Bob", "page admin.delete_collection", "public", 403) in result
    assert "private" not in str([vars(row) for row in rows])


def test_a_login_that_is_over_shows_nothing(
    become: Become, page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    become("Ann")
    monkeypatch.setattr("ragcore_app.state.session_token", lambda: "")
    test = page("search", q="table games").run()
    assert ["login is over" in error.value for error in test.error] == [True]
    assert not test.markdown
