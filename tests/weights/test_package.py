"""Weights of ragcore-starter-weights: installed, from beside ragcore's wheel, or by pip."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from ragcore.errors import ModelUnavailable
from ragcore.settings import Settings
from ragcore.weights import WeightStore
from ragcore.weights.hashing import CHECKSUMS
from ragcore.weights.providers import package
from ragcore.weights.registry import Entry

from .conftest import sha256

FILES = {"model.safetensors": bytes(range(256)) * 64, "parts/config.json": b"{}\n"}
LISTING = "".join(f"{sha256(data)}  {path}\n" for path, data in FILES.items()).encode()
ENTRY = Entry(
    name="tiny",
    provider="package",
    package="tiny-starter-weights",
    version="1.0",
    checksums=sha256(LISTING),
)
Store = Callable[..., WeightStore]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    def make(entry: Entry = ENTRY) -> WeightStore:
        settings = Settings(weights_cache=tmp_path / "cache")
        return WeightStore(settings, entries={entry.name: entry})

    return make


@pytest.fixture
def installed_from(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | None], None]:
    """Says what ragcore was installed from."""

    class Distribution:
        def __init__(self, origin: Path | None) -> None:
            self.origin = origin

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if self.origin is None else json.dumps({"url": self.origin.as_uri()})

    def say(origin: Path | None) -> None:
        found = SimpleNamespace(
            distribution=lambda name: {"ragcore": Distribution(origin)}[name],
            PackageNotFoundError=PackageNotFoundError,
        )
        monkeypatch.setattr(package, "metadata", found)

    say(None)
    return say


def write(folder: Path, **changed: bytes) -> None:
    """The model's folder below `folder`, as it lies in the package."""
    for path, data in ({**FILES, CHECKSUMS: LISTING} | changed).items():
        target = folder / "tiny_starter_weights" / "tiny" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def write_wheel(folder: Path, **changed: bytes) -> Path:
    """A wheel that pip takes, with the model in it."""
    folder.mkdir(exist_ok=True)
    info = "tiny_starter_weights-1.0.dist-info"
    members = {
        f"tiny_starter_weights/tiny/{path}": data
        for path, data in ({**FILES, CHECKSUMS: LISTING} | changed).items()
    }
    members["tiny_starter_weights/__init__.py"] = b"raise RuntimeError('must not be imported')\n"
    members[f"{info}/METADATA"] = (
        b"Metadata-Version: 2.1\nName: tiny-starter-weights\nVersion: 1.0\n"
    )
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in members).encode()
    wheel = folder / "tiny_starter_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in members.items():
            archive.writestr(path, data)
    return wheel


def read(folder: Path) -> dict[str, bytes]:
    return {path: (folder / path).read_bytes() for path in FILES}


def test_an_installed_package_is_used_where_it_is(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed_from: Callable[[Path | None], None],
) -> None:
    write(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    folder = store().ensure("tiny")
    assert folder == tmp_path / "site" / "tiny_starter_weights" / "tiny"
    assert store().verify("tiny") == ()
    assert store().revision("tiny") == ENTRY.checksums[:8]
    assert not (tmp_path / "cache").exists()


def test_another_version_that_is_installed_is_not_used(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed_from: Callable[[Path | None], None],
) -> None:
    write(tmp_path / "site", **{CHECKSUMS: LISTING + b"\n"})
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert store().find("tiny") is None
    installed_from(write_wheel(tmp_path / "dist"))
    assert store().ensure("tiny").is_relative_to(tmp_path / "cache")


def test_the_source_folder_that_ragcore_was_installed_from(
    store: Store, tmp_path: Path, installed_from: Callable[[Path | None], None]
) -> None:
    write(tmp_path / "source" / "starter-weights")
    installed_from(tmp_path / "source")
    assert store().ensure("tiny").is_relative_to(tmp_path / "source")


def test_the_wheel_beside_ragcore_s_own(
    store: Store, tmp_path: Path, installed_from: Callable[[Path | None], None]
) -> None:
    write_wheel(tmp_path / "dist")
    own = tmp_path / "dist" / "ragcore-0.1.0-py3-none-any.whl"
    own.write_bytes(b"")
    installed_from(own)
    folder = store().ensure("tiny")
    assert read(folder) == FILES
    (tmp_path / "dist" / "tiny_starter_weights-1.0-py3-none-any.whl").unlink()
    assert store().ensure("tiny") == folder
    assert store().revision("tiny") == ENTRY.checksums[:8]
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert store().verify("tiny") == ("model.safetensors",)
    write_wheel(tmp_path / "dist")
    assert read(store().repair("tiny")) == FILES
    assert store().remove("tiny") > 0
    assert store().find("tiny") is None


def test_pip_downloads_it(
    store: Store, wheelhouse: Path, installed_from: Callable[[Path | None], None]
) -> None:
    write_wheel(wheelhouse)
    assert read(store().ensure("tiny")) == FILES


def test_nothing_is_stored_of_a_wheel_with_other_files(
    store: Store, wheelhouse: Path, installed_from: Callable[[Path | None], None]
) -> None:
    wheel = write_wheel(wheelhouse, **{"model.safetensors": b"other"})
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors of tiny_starter.* checksum"):
        store().ensure("tiny")
    wheel.unlink()
    write_wheel(wheelhouse, **{CHECKSUMS: LISTING + b"\n"})
    with pytest.raises(ModelUnavailable, match=r"SHA256SUMS of tiny_starter.* checksum"):
        store().ensure("tiny")
    assert store().find("tiny") is None


def test_one_line_says_what_to_install(
    store: Store, wheelhouse: Path, installed_from: Callable[[Path | None], None]
) -> None:
    with pytest.raises(ModelUnavailable) as error:
        store().ensure("tiny")
    assert str(error.value) == (
        "tiny is not on this machine and tiny-starter-weights cannot be downloaded (no package "
        'index offers it, or none can be reached): pip install "tiny-starter-weights==1.0"'
    )
