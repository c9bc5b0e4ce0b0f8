"""What every test can ask for: settings with a home of their own, weights, shared data."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragcore.ingest.pool import ReaderProcess
from ragcore.ingest.worker import ReadRequest, ReadResult, carry_out
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.weights import WeightStore
from tests import milvus_server
from tests.milvus_server import MilvusServer

from .plug_ins import Install, installing
from .postgres_server import PostgresServer, running_server
from .shared_models import models_of

REPOSITORY = Path(__file__).resolve().parents[1]
KEPT_VARIABLES = ("RAGCORE_WEIGHTS_CACHE", "RAGCORE_SHARED")
NO_SHARED = "needs the data folder ../shared (or RAGCORE_SHARED), which is not here"
NO_GPU = "needs a CUDA GPU"

if "PYTEST_XDIST_WORKER" in os.environ:  # there is one process a core already
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def shared_folder() -> Path | None:
    """The shared data folder, or None where there is none."""
    folder = Path(os.environ.get("RAGCORE_SHARED") or REPOSITORY.parent / "shared")
    return folder if (folder / "data").is_dir() else None


# Tests that share a server, or a library that takes long to fill, run in one xdist worker; so do
# the tests of one file, which share what they have made.
GROUPS = {
    "tests/api": "api",
    "tests/app": "app",
    "tests/catalog": "catalog",
    "tests/cli": "cli",
    "tests/search": "search",
}


def group_of(item: pytest.Item) -> str:
    """Name of the xdist group that a test belongs to."""
    path = item.path.relative_to(REPOSITORY)
    return GROUPS.get(path.parent.as_posix(), path.with_suffix("").as_posix())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
        if item.get_closest_marker("shared"):
            item.add_marker("full")
    missing = []
    if shared_folder() is None:
        missing.append(("shared", NO_SHARED))
    if any(item.get_closest_marker("gpu") for item in items):
        import torch

        if not torch.cuda.is_available():
            missing.append(("gpu", NO_GPU))
    for marker, reason in missing:
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """Take what the imports made out of garbage collection: walking it took a second each time
    that a library was closed.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud what was left out, and why."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "skipped"
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"left out {count}: {reason.removeprefix('Skipped: ')}")


# What is about the way to the models and back is tested on tiny ones.
ON_TINY_MODELS = ("answers", "api", "app", "cli", "library", "mcp", "security", "sources")


@pytest.fixture(scope="session")
def tiny_profile(tmp_path_factory: pytest.TempPathFactory, starter_weights: WeightStore) -> Path:
    """A profile of one tiny model for each part, made once a run."""
    from .tiny_models import save_tiny_models

    return save_tiny_models(tmp_path_factory.mktemp("tiny"), starter_weights)


def on_tiny_models(request: pytest.FixtureRequest) -> bool:
    folder = request.path.relative_to(REPOSITORY / "tests").parts[0]
    return folder in ON_TINY_MODELS and not request.node.get_closest_marker("starter_models")


@pytest.fixture(scope="module", autouse=True)
def _models_of_the_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a module's fixtures make, they make with the models that its tests use."""
    with pytest.MonkeyPatch.context() as patch:
        if on_tiny_models(request):
            patch.setenv("RAGCORE_PROFILE", str(request.getfixturevalue("tiny_profile")))
        yield


@pytest.fixture(autouse=True)
def _no_settings_from_outside(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Tests see no RAGCORE_* variable of the person who runs them, nor their real home.

    Tests of the folders `ON_TINY_MODELS` use these unless they are marked `starter_models`.
    """
    for name in list(os.environ):
        if name.startswith("RAGCORE_") and name not in KEPT_VARIABLES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAGCORE_HOME", str(tmp_path / "home"))
    if on_tiny_models(request):
        monkeypatch.setenv("RAGCORE_PROFILE", str(request.getfixturevalue("tiny_profile")))


class ReaderInThisProcess(ReaderProcess):
    """Reads files in the thread that asks: no process is started, no time limit kept.

    PDFium is not made for threads: PDF files are still read in a process of their own.
    """

    def read(self, request: ReadRequest) -> ReadResult:
        if request.file.path.casefold().endswith(".pdf"):
            return super().read(request)
        return carry_out(request)


@pytest.fixture(scope="session", autouse=True)
def _readers_in_this_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ragcore.ingest.pool.ReaderProcess", ReaderInThisProcess)
        yield


@pytest.fixture(autouse=True)
def _reader_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real reader processes, for the tests that are about them (`reader_processes`)."""
    if request.node.get_closest_marker("reader_processes"):
        monkeypatch.setattr("ragcore.ingest.pool.ReaderProcess", ReaderProcess)


@pytest.fixture(autouse=True)
def _circuits_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that one test broke, or its port, is another test's healthy server."""
    monkeypatch.setattr("ragcore.models.remote._circuits", {})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a home of this test's own, and the user's real weights cache."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Put a package with entry points, by group and name, on the path of this process."""
    with installing(tmp_path / "site") as add:
        yield add


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """A Milvus server on loopback with access control; the tests share it."""
    if not milvus_server.available():
        pytest.skip(milvus_server.MISSING)
    with MilvusServer(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture
def shared() -> Path:
    """The shared data folder (`…/shared`). Mark the test `@pytest.mark.shared`."""
    folder = shared_folder()
    if folder is None:
        pytest.skip(NO_SHARED)
    return folder


@pytest.fixture(scope="session")
def starter_weights() -> WeightStore:
    """A store with the downloaded weights of the starter profile in it."""
    store = WeightStore(Settings())
    for name in ("minilm-l6-v2", "efficientnet-lite0", "smollm2-135m-instruct"):
        store.ensure(name)
    return store


@pytest.fixture(scope="session")
def starter_models(starter_weights: WeightStore) -> Models:
    """The starter profile's models: what they load is shared by the whole run."""
    return models_of(Settings(profile="starter"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL for the whole run."""
    yield from running_server()


@pytest.fixture(scope="session")
def _postgres_template(postgres_server: PostgresServer) -> str:
    """A database with the schema in it: copying it is quicker than migrating again."""
    from ragcore.catalog import Catalog

    name = postgres_server.create()
    Catalog(postgres_server.url(name)).close()
    return name


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, _postgres_template: str) -> Iterator[str]:
    """URL of an empty catalog in PostgreSQL."""
    name = postgres_server.create(_postgres_template)
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty catalog: the test runs once in SQLite, once in PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalogue.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(autouse=True)
def secrets_of_this_test_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test makes known as a secret ("test", "secret") masks no words of the next one."""
    from ragcore import redaction

    monkeypatch.setattr(redaction, "_known", set(redaction._known))
