"""What `test_kill9` starts and kills: one kind of work, again and again, on one home.

`python -m tests.security.killed_child KIND HOME FOLDER`. It prints "go" when the work begins, and
"stored NAME" for what is done and must not be lost.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ragcore.catalog import Catalog
from ragcore.catalog.transfer import copy_catalog
from ragcore.files import private_process
from ragcore.library import Library
from ragcore.maintenance.backup import backup, restore
from ragcore.settings import Settings

START = time.time_ns()


def send(text: str) -> None:
    print(text, flush=True)


def upload(settings: Settings, folder: Path) -> None:
    with Library(settings) as library:
        send("go")
        for number in range(100_000):
            name = f"upload-{START}-{number}.txt"
            [path] = library.documents.upload(
                [(name, io.BytesIO(content(name)))], collection="uploads"
            )
            send(f"stored {path}")


def content(name: str) -> bytes:
    return f"This is {Path(name).name}. ".encode() * 2_000


def ingest(settings: Settings, folder: Path) -> None:
    with Library(settings) as library:
        library.admin.models.text_encoder().warm_up()
        send("go")
        library.ingest([folder], collection="notes")


def reembed(settings: Settings, folder: Path) -> None:
    with Library(settings) as library:
        library.admin.models.text_encoder().warm_up()
        send("go")
        library.admin.reembed("notes")


def move(settings: Settings, folder: Path) -> None:
    source = Catalog(settings.catalog_url)
    send("go")
    for number in range(100_000):
        path = folder / f"moved-{START}-{number}.db"
        target = Catalog(f"sqlite:///{path}")
        copy_catalog(source, target)
        target.close()
        send(f"stored {path}")


def save(settings: Settings, folder: Path) -> None:
    send("go")
    for number in range(100_000):
        path = folder / f"saved-{START}-{number}.tar"
        backup(settings, path)
        send(f"stored {path}")


def bring_back(settings: Settings, folder: Path) -> None:
    send("go")
    while True:
        restore(folder / "good.tar", settings, replace=True)
        for aside in settings.home.parent.glob(f"{settings.home.name}.before-*"):
            aside.rename(aside.with_name(f"gone-{time.time_ns()}"))


KINDS: dict[str, Callable[[Settings, Path], None]] = {
    "upload": upload,
    "ingest": ingest,
    "reembed": reembed,
    "move": move,
    "backup": save,
    "restore": bring_back,
}

if __name__ == "__main__":
    kind, home, where = sys.argv[1:]
    with private_process():
        KINDS[kind](Settings(home=Path(home), ocr="off", workers=1), Path(where))
