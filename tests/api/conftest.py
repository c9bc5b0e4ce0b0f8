"""A real server on loopback over a small library with two collections, one of them foreign."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from PIL import Image, ImageDraw

from ragcore.access.keys import Keys
from ragcore.api import create_app
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.weights import load_profile
from tests.waiting import wait_until

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
SECRET = "The safe in the cellar opens with the number 4711 turned to the left.\n"
SCOPES = ("read", "write", "admin")


@dataclass(frozen=True)
class Served:
    """A server: where it is, and a key of each scope for the collection `own` only. `all` holds
    keys for every collection.
    """

    url: str
    library: Library
    keys: dict[str, str]
    all: dict[str, str]

    def client(self, key: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=600)


@contextmanager
def running(library: Library, **options: object) -> Iterator[str]:
    """The application behind uvicorn in a thread of this process; the server's address."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(library, prepare=False, **options)  # type: ignore[arg-type]
    config = uvicorn.Config(app, access_log=False, log_level="warning", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server's start")
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    app.state.limiter.stop()
    server.should_exit = True
    thread.join(120)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def make_settings(tiny_profile: Path) -> Callable[..., Settings]:
    """Settings of a home, with the weights that are here, whatever tests do to the variables."""
    kept = os.environ.get("RAGCORE_WEIGHTS_CACHE")
    usual = {"weights_cache": kept} if kept else {}
    usual |= {"profile": str(tiny_profile)}

    def make(home: Path, **more: object) -> Settings:
        return Settings(home=home, ocr="off", workers=1, ui_upload_mb=2, **{**usual, **more})

    return make


@pytest.fixture(scope="session")
def api_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the collection `own` is made from."""
    folder = tmp_path_factory.mktemp("api") / "files"
    folder.mkdir()
    for name in ("staff-handbook.pdf", "river-gauge-faq.md", "visitor-guide.html"):
        shutil.copy(SAMPLE / name, folder)
    image = Image.new("RGB", (320, 240), "navy")
    ImageDraw.Draw(image).ellipse((80, 40, 240, 200), fill="gold")
    image.save(folder / "sun.png")
    return folder


def encoder_name(served: Served) -> str:
    """What the profile calls the text encoder."""
    reference = load_profile(served.library.admin.settings).text_encoder
    assert reference is not None
    return reference.name


@contextmanager
def serving_files(api_files: Path, settings: Settings) -> Iterator[Served]:
    """A server that asks for keys, over a library with two collections."""
    library = Library(settings)
    secret = api_files.parent / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "safe.txt").write_text(SECRET)
    shutil.copy(api_files / "sun.png", secret / "sun.png")
    assert not library.ingest([api_files], collection="own").failed
    assert not library.ingest([secret], collection="foreign").failed
    keys = Keys(library.admin.catalog)
    own = {s: keys.create(f"own {s}", scope=s, collections=["own"])[0] for s in SCOPES}
    every = {s: keys.create(f"every {s}", scope=s)[0] for s in SCOPES}
    with running(library, keys_needed=True) as url:
        yield Served(url, library, own, every)


@pytest.fixture(scope="session")
def served(
    api_files: Path,
    tmp_path_factory: pytest.TempPathFactory,
    make_settings: Callable[..., Settings],
) -> Iterator[Served]:
    """A server on tiny models."""
    settings = make_settings(tmp_path_factory.mktemp("api-home"), api_rate=0)
    with serving_files(api_files, settings) as served:
        yield served


@pytest.fixture(scope="session")
def answering(
    api_files: Path,
    tmp_path_factory: pytest.TempPathFactory,
    make_settings: Callable[..., Settings],
) -> Iterator[Served]:
    """The same on the starter profile's models, whose answers mean something."""
    home = tmp_path_factory.mktemp("answering-home")
    settings = make_settings(home, api_rate=0, profile="starter")
    with serving_files(api_files, settings) as served:
        yield served


@pytest.fixture
def asker(answering: Served) -> Iterator[httpx.Client]:
    """A client that may read `own` where real models answer."""
    with answering.client(answering.keys["read"]) as client:
        yield client


@pytest.fixture
def reader(served: Served) -> Iterator[httpx.Client]:
    """A client that may read `own`."""
    with served.client(served.keys["read"]) as client:
        yield client


@pytest.fixture
def admin(served: Served) -> Iterator[httpx.Client]:
    """A client that may do everything everywhere."""
    with served.client(served.all["admin"]) as client:
        yield client
