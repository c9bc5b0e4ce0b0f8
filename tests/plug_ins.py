"""Packages with entry points, put on the path of the test's own process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ragcore import extensions

Install = Callable[..., None]

READER = "class Reader:\n    suffixes = ('.x',)\n    media_types = ('x/x',)\n    read = print\n"


@contextmanager
def installing(site: Path) -> Iterator[Install]:
    """What puts a package with entry points, by group and name, into the folder `site`."""
    site.mkdir()
    modules = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))

        def add(package: str, points: dict[str, dict[str, str]], code: str = READER) -> None:
            (site / f"{package}.py").write_text(code)
            info = site / f"{package}-2.5.dist-info"
            info.mkdir()
            about = f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.5\n"
            (info / "METADATA").write_text(about)
            lines = []
            for group, named in points.items():
                lines += [f"[ragcore.{group}]", *(f"{name} = {at}" for name, at in named.items())]
            (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
            extensions.rediscover()

        yield add
    for name in set(sys.modules) - modules:
        if str(site) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    extensions.rediscover()
