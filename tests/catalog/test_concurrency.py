"""Several threads and processes on one catalog."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from ragcore.catalog import Catalog
from ragcore.catalog.documents import store_document
from ragcore.catalog.lexical import check_lexical
from ragcore.catalog.models import Document, Embedding, Passage

from .conftest import make_document

pytestmark = pytest.mark.full

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.catalog.conftest import make_document
from ragcore.catalog import Catalog
from ragcore.catalog.documents import store_document
catalog = Catalog(sys.argv[2])
collection, space = catalog.collection("papers").id, int(sys.argv[4])
for n in range(40):
    with catalog.write() as session:
        document = make_document(f"/{sys.argv[3]}/{n}.txt", ["one", "two"], text_space=space)
        store_document(session, collection, document)
"""


def in_threads(*works: Callable[[], None]) -> None:
    """Run all at once; raise what any of them raised."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_two_writers_and_a_reader(catalog: Catalog, collection: int, text_space: int) -> None:
    done = threading.Event()
    seen: list[int] = []

    def writer(name: str) -> Callable[[], None]:
        def work() -> None:
            for n in range(30):
                document = make_document(f"/{name}/{n}", ["x", "y"], text_space=text_space)
                with catalog.write() as session:
                    store_document(session, collection, document)

        return work

    def both() -> None:
        try:
            in_threads(writer("a"), writer("b"))
        finally:
            done.set()

    def reader() -> None:
        while not done.is_set():
            with catalog.read() as session:
                documents = session.scalar(select(func.count()).select_from(Document)) or 0
                passages = session.scalar(select(func.count()).select_from(Passage)) or 0
                vectors = session.scalar(select(func.count()).select_from(Embedding)) or 0
            assert passages == vectors == 2 * documents, "a reader saw half a document"
            seen.append(documents)

    in_threads(both, reader)
    assert seen == sorted(seen)
    assert catalog.document_counts() == {collection: 60}


def test_two_processes_write_at_once(
    url: str, catalog: Catalog, collection: int, text_space: int
) -> None:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", WRITER, root, url]
    running = [
        subprocess.Popen([*command, name, str(text_space)], stderr=subprocess.PIPE)
        for name in ("a", "b")
    ]
    for process in running:
        _, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint.decode()
    assert catalog.document_counts() == {collection: 80}
    with catalog.write() as session:
        assert check_lexical(session) == []
        assert session.scalar(select(func.count()).select_from(Embedding)) == 160


def test_same_document_from_two_threads_is_stored_once(
    catalog: Catalog, collection: int, text_space: int
) -> None:
    def work() -> None:
        for seed in range(10):
            document = make_document("/a.txt", ["x"], text_space=text_space, seed=seed)
            with catalog.write() as session:
                store_document(session, collection, document)

    in_threads(work, work, work)
    with catalog.read() as session:
        assert session.scalar(select(func.count()).select_from(Document)) == 1
        assert session.scalar(select(func.count()).select_from(Embedding)) == 1


def test_a_reader_keeps_its_view(catalog: Catalog, collection: int) -> None:
    with catalog.read() as session:
        before = session.scalar(select(func.count()).select_from(Document))
        with catalog.write() as writing:
            store_document(writing, collection, make_document("/a.txt", ["x"]))
        assert session.scalar(select(func.count()).select_from(Document)) == before


def test_writing_in_a_read_session_is_noticed(catalog: Catalog, collection: int) -> None:
    with catalog.read() as session:
        session.add(Document(collection_id=collection, path="/a", name="a"))
    with catalog.read() as session:
        assert session.scalar(select(func.count()).select_from(Document)) == 0


@pytest.mark.full
def test_killed_writer_leaves_whole_documents(
    url: str, catalog: Catalog, collection: int, text_space: int
) -> None:
    root = str(Path(__file__).parents[1])
    for wait in (0.9, 1.1, 1.3):
        command = [sys.executable, "-c", WRITER, root, url, f"k{wait}", str(text_space)]
        process = subprocess.Popen(command)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with catalog.write() as session:
            assert check_lexical(session) == []
            documents = session.scalar(select(func.count()).select_from(Document)) or 0
            assert session.scalar(select(func.count()).select_from(Passage)) == 2 * documents
            assert session.scalar(select(func.count()).select_from(Embedding)) == 2 * documents
