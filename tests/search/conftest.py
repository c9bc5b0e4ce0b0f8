"""A small library that is really embedded, shared by the tests of this folder."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from ragcore.catalog import Catalog, FileState, NewDocument
from ragcore.catalog.documents import store_document
from ragcore.catalog.transfer import copy_catalog
from ragcore.models import TextEncoder
from ragcore.search import SearchEngine, Stores
from ragcore.settings import Settings
from ragcore.types import Coverage, Page, PassageDraft, ReadDocument, ReadImage, SkippedParts
from ragcore.weights import WeightStore

from ..postgres_server import PostgresServer
from ..shared_models import models_of

TEXTS = {
    "/docs/handbook/rules.pdf": [
        "Employees may play table football in the lounge outside of core working hours, which are "
        "from ten to three.",
        "Travel expenses are paid back within thirty days when receipts are handed in.",
        "The parking garage is closed on Sundays; the code of the gate is QX-7719.",
    ],
    "/docs/handbook/IT guide.md": [
        "To reset your password, open the portal and choose the option for lost credentials.",
        "The backup daemon writes its log to /var/log/backupd.log and its pid to backupd.pid.",
    ],
    "/docs/science/wing.txt": [
        "At high angles of attack the boundary layer separates and the wing loses lift.",
        "Flutter is a self-excited oscillation that occurs when aerodynamic forces couple with "
        "the natural modes of a structure.",
    ],
    "/docs/science/cells.html": [
        "Mitochondria produce most of the chemical energy of a cell as adenosine triphosphate.",
        "Chloroplasts capture light and turn water and carbon dioxide into sugar.",
    ],
}
DATES = {"rules.pdf": 2021, "IT guide.md": 2022, "wing.txt": 2023, "cells.html": 2024}
TYPES = {"pdf": "application/pdf", "md": "text/markdown", "txt": "text/plain", "html": "text/html"}

PARTIAL = Coverage(skipped=(SkippedParts("page", 1, "3", "the page is damaged"),))

Add = Callable[..., int]


@pytest.fixture(scope="session")
def encoder(starter_weights: WeightStore) -> TextEncoder:
    return models_of(Settings(threads=2)).text_encoder()


def store_document_of(
    catalog: Catalog,
    encoder: TextEncoder,
    path: str,
    passages: Sequence[str],
    collection: str = "default",
    images: Sequence[ReadImage] = (),
    size: int = 1000,
) -> int:
    """Store a document of given passages (one page each) and embed it; return its id."""
    row = catalog.create_collection(collection, exist_ok=True)
    space = encoder.space
    space_id = catalog.space_id(space.name, "text", space.dimension)
    catalog.use_space(row.id, space_id, "text")
    name = Path(path).name
    time = dt.datetime(DATES.get(name, 2020), 6, 15, 12, tzinfo=dt.UTC)
    drafts, start = [], 0
    for page, text in enumerate(passages, 1):
        drafts.append(PassageDraft(text, start, start + len(text), page, page))
        start += len(text) + 1
    pages = tuple(Page(n, text, label=f"p-{n}") for n, text in enumerate(passages, 1))
    kind = TYPES.get(name.rpartition(".")[2], "image/png")
    new = NewDocument(
        FileState(path, name, size, int(time.timestamp() * 1e9)),
        ReadDocument(
            kind,
            name,
            pages,
            images=tuple(images),
            paged=name.endswith("pdf"),
            coverage=PARTIAL if name == "wing.txt" else None,
        ),
        drafts,
        {space_id: encoder.encode(list(passages))} if passages else {},
    )
    with catalog.write() as session:
        return store_document(session, row.id, new)[0]


@pytest.fixture(scope="session")
def _empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with its schema: copying it is quicker than migrating again."""
    home = tmp_path_factory.mktemp("empty")
    Catalog(Settings(home=home).catalog_url).close()
    return home


@pytest.fixture(scope="session")
def _full_home(
    _empty_home: Path, tmp_path_factory: pytest.TempPathFactory, encoder: TextEncoder
) -> tuple[Path, dict[str, int]]:
    home = tmp_path_factory.mktemp("full") / "home"
    shutil.copytree(_empty_home, home)
    catalog = Catalog(Settings(home=home).catalog_url)
    ids = {
        path: store_document_of(catalog, encoder, path, passages, size=1000 * (n + 1))
        for n, (path, passages) in enumerate(TEXTS.items())
    }
    catalog.close()
    return home, ids


@pytest.fixture
def _home(request: pytest.FixtureRequest, settings: Settings, _empty_home: Path) -> Path:
    """The test's home: with the library in it if the test asks for `library`."""
    source = _empty_home
    if "library" in request.fixturenames:
        source = request.getfixturevalue("_full_home")[0]
    shutil.copytree(source, settings.home)
    return settings.home


@pytest.fixture(scope="session")
def _full_database(_full_home: tuple[Path, dict[str, int]], postgres_server: PostgresServer) -> str:
    """The same library in PostgreSQL, with the same ids."""
    name = postgres_server.create()
    source = Catalog(Settings(home=_full_home[0]).catalog_url)
    target = Catalog(postgres_server.url(name))
    copy_catalog(source, target)
    source.close()
    target.close()
    return name


BOTH = ("test_engine",)  # modules that run in both databases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "_catalog_url" in metafunc.fixturenames:
        both = metafunc.module.__name__.rpartition(".")[2] in BOTH
        kinds = ["sqlite", "postgresql"] if both else ["sqlite"]
        metafunc.parametrize("_catalog_url", kinds, indirect=True)


@pytest.fixture
def _catalog_url(request: pytest.FixtureRequest, settings: Settings, _home: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield settings.catalog_url
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    template = "_full_database" if "library" in request.fixturenames else "_postgres_template"
    name = server.create(request.getfixturevalue(template))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def catalog(_catalog_url: str) -> Iterator[Catalog]:
    catalog = Catalog(_catalog_url)
    yield catalog
    catalog.close()


@pytest.fixture
def add(catalog: Catalog, encoder: TextEncoder) -> Add:
    return partial(store_document_of, catalog, encoder)


@pytest.fixture
def library(_full_home: tuple[Path, dict[str, int]], _home: Path) -> dict[str, int]:
    """Document ids by path."""
    return _full_home[1]


@pytest.fixture
def stores(catalog: Catalog, settings: Settings) -> Iterator[Stores]:
    stores = Stores(catalog, settings)
    yield stores
    stores.close()


@pytest.fixture
def engine(
    catalog: Catalog, stores: Stores, settings: Settings, encoder: TextEncoder
) -> Iterator[SearchEngine]:
    engine = SearchEngine(catalog, stores, settings, models=models_of(Settings(threads=2)))
    yield engine
    engine.close()
