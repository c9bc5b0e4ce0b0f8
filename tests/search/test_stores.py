"""Vector stores keep in step with the catalog, whatever happens to their files."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from ragcore.catalog import Catalog
from ragcore.catalog.documents import remove_documents
from ragcore.catalog.embeddings import embedding_ids
from ragcore.catalog.models import SpaceRow
from ragcore.search import Stores
from ragcore.settings import Settings
from ragcore.vectors import FaissBackend


@pytest.fixture
def space(catalog: Catalog, library: dict[str, int]) -> SpaceRow:
    found = catalog.active_space(1, "text")
    assert found is not None
    return found


def right(catalog: Catalog, space: SpaceRow) -> list[int]:
    with catalog.read() as session:
        return embedding_ids(session, 1, space.id).tolist()


def folder_of(stores: Stores, space: SpaceRow) -> Path:
    assert isinstance(stores.backend, FaissBackend)
    return stores.backend.folder(stores.key(1, space))


def test_follows_the_catalog(
    stores: Stores,
    catalog: Catalog,
    space: SpaceRow,
    library: dict[str, int],
    add,  # type: ignore[no-untyped-def]
) -> None:
    store = stores.get(1, space)
    assert store.ids().tolist() == right(catalog, space)
    add("/docs/science/wing.txt", ["Another text in place of the old one."])
    with catalog.write() as session:
        remove_documents(session, 1, [library["/docs/science/cells.html"]])
    assert stores.get(1, space) is store
    assert store.ids().tolist() == right(catalog, space)
    assert len(store.ids()) == 6
    assert stores.check(1, space) == []


def test_saved_and_opened_again(
    stores: Stores, catalog: Catalog, space: SpaceRow, settings: Settings
) -> None:
    stores.refresh(1)
    folder = folder_of(stores, space)
    assert (folder / "CURRENT").is_file()
    before = (folder / "CURRENT").read_bytes()
    again = Stores(catalog, settings)
    assert again.get(1, space).ids().tolist() == right(catalog, space)
    again.close()
    assert (folder / "CURRENT").read_bytes() == before, "nothing changed, nothing is written"


@pytest.mark.parametrize("harm", ["delete", "flip", "folder"])
def test_damaged_index_is_rebuilt(
    stores: Stores, catalog: Catalog, space: SpaceRow, settings: Settings, harm: str
) -> None:
    stores.refresh(1)
    stores.close()
    folder = folder_of(stores, space)
    if harm == "folder":
        for path in folder.glob("g-*/*"):
            path.unlink()
    else:
        (path,) = folder.glob("g-*/vectors.f16")
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.unlink() if harm == "delete" else path.write_bytes(data)
    again = Stores(catalog, settings)
    assert again.get(1, space).ids().tolist() == right(catalog, space)
    assert again.check(1, space) == []
    again.close()


def test_index_of_another_catalog(
    stores: Stores, catalog: Catalog, space: SpaceRow, settings: Settings
) -> None:
    """A catalog put back from a backup is behind its index."""
    store = stores.get(1, space)
    store.add(np.array([10**6]), np.eye(1, space.dimension, dtype=np.float32))
    store.save("999999")
    stores._open.clear()
    again = Stores(catalog, settings)
    assert again.get(1, space).ids().tolist() == right(catalog, space)
    again.close()


def test_check_and_rebuild(stores: Stores, catalog: Catalog, space: SpaceRow) -> None:
    stores.get(1, space).remove(np.array(right(catalog, space)[:2]))
    assert "lacks 2 vectors and has 0 too many" in stores.check(1, space)[0]
    stores.rebuild(1, space)
    assert stores.check(1, space) == []


def test_drop(stores: Stores, catalog: Catalog, space: SpaceRow) -> None:
    stores.refresh(1)
    folder = folder_of(stores, space)
    stores.drop(catalog.collection("default"))
    assert not folder.exists()


def several_processes(home: Path, vectors: str, token: str) -> None:
    """Two writers and a reader, each with stores of its own."""
    script = textwrap.dedent(
        """
        import sys, numpy as np
        from ragcore.catalog import Catalog
        from ragcore.catalog.embeddings import add_embeddings, embedding_ids
        from ragcore.search import Stores
        from ragcore.settings import Settings
        home, vectors, token, first = *sys.argv[1:4], int(sys.argv[4])
        settings = Settings(home=home, vectors=vectors, vectors_token=token)
        catalog, rng = Catalog(settings.catalog_url), np.random.default_rng(first)
        stores, space = Stores(catalog, settings), catalog.active_space(1, "text")
        for n in range(12):
            if first:
                x = rng.standard_normal((20, space.dimension)).astype("f4")
                x /= np.linalg.norm(x, axis=1)[:, None]
                ids = list(range(first + 20 * n, first + 20 * n + 20))
                with catalog.write() as session:
                    add_embeddings(session, 1, space.id, ids, x)
            store = stores.get(1, space)
            if first:
                assert set(ids) <= set(store.ids().tolist())
                assert (store.search(x, 1)[1][:, 0] == ids).all()
                stores.refresh(1)
            else:
                store.search(np.eye(3, space.dimension, dtype="f4"), 5)
        stores.close()
        """
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", script, str(home), vectors, token, str(first)])
        for first in (100_000, 200_000, 0)
    ]
    assert [run.wait(timeout=240) for run in runs] == [0, 0, 0]


def test_several_processes_at_once(catalog: Catalog, space: SpaceRow, settings: Settings) -> None:
    several_processes(settings.home, "", "")
    stores = Stores(catalog, settings)
    assert stores.get(1, space).ids().tolist() == right(catalog, space)
    assert len(right(catalog, space)) == 9 + 2 * 240
    folder: Path = folder_of(stores, space)
    assert len(list(folder.glob("g-*"))) == 1
    stores.close()
