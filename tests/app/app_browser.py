"""A real server and a real browser for the journeys; images to look for."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, suppress
from pathlib import Path
from shutil import which
from typing import Any

from PIL import Image, ImageDraw

from tests.waiting import TIMEOUT, wait_until

PASSWORD = "open sesame"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# No script runs and nothing is still to be drawn, at every look for so many milliseconds.
QUIET = """([mark, needed]) => {
    const app = document.querySelector("[data-testid=stApp]");
    const quiet = app && app.dataset.testScriptState === "notRunning"
        && !document.querySelector("[data-testid=stSkeleton]");
    const seen = window.ragcoreQuiet;
    if (!quiet || !seen || seen.mark !== mark || seen.since === Infinity)
        window.ragcoreQuiet = {mark, since: quiet ? performance.now() : Infinity};
    return performance.now() - window.ragcoreQuiet.since > needed;
}"""
WAIT = 1000 * TIMEOUT  # milliseconds


def chromium() -> str | None:
    """The path of a Chromium, if there is one."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := which(name):
            return found
    return None


class Server:
    """`ragcore ui` on a free port of this computer."""

    def __init__(self, home: Path, log: Path, *options: str, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._home, self._log, self._options = home, log, options
        self._environment = {**os.environ, "RAGCORE_HOME": str(home), **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start and wait until it answers; return the seconds that took."""
        began = time.monotonic()
        command = [sys.executable, "-m", "ragcore.cli.main", "ui", "--no-browser"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port), *self._options],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal ends the tests, and they end it
            )
        process = self._process

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):
                    return True
            except OSError:
                assert process.poll() is None, self._log.read_text()
                return False

        wait_until(answers, "the start of the pages", every=0.1)
        return time.monotonic() - began

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def wait_for_part(self, pattern: str) -> int:
        """Wait until a running ingest has stored documents of that name; return how many.

        The catalog is asked, not the page: what a page shows for a moment can be missed.
        """
        uri = f"file:{self._home / 'catalogue.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as catalog:

            def stored() -> int:
                (count,) = catalog.execute(
                    "select count(*) from documents where name like ?", (pattern,)
                ).fetchone()
                return int(count)

            return wait_until(stored, f"a document {pattern}", every=0.01)

    def kill(self) -> None:
        """As a power cut does it: no time to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()


class Watched:
    """What a page complained of, and whom it called."""

    def __init__(self, page: Any, url: str) -> None:
        self.errors: list[str] = []
        self.strangers: list[str] = []
        own = re.compile(rf"^({re.escape(url)}|{re.escape(url.replace('http', 'ws'))}|data:|blob:)")
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "request",
            lambda request: None if own.match(request.url) else self.strangers.append(request.url),
        )

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def check(self) -> None:
        assert not self.errors, self.errors
        assert not self.strangers, self.strangers


def settle(page: Any, quiet: int = 300) -> None:
    """Wait until the page has drawn what it was asked for, and is `quiet` (milliseconds).

    What was just clicked is on its way to the server: until that answers, nothing seems to run.
    """
    page.wait_for_function(QUIET, arg=[time.monotonic_ns() % 2**50, quiet], timeout=WAIT)


def choose(page: Any, label: str, option: str) -> None:
    """Choose from a list. One that opens while the page is still being drawn closes again."""
    from playwright.sync_api import TimeoutError

    wanted = page.get_by_role("option", name=option, exact=True)
    for _ in range(20):
        page.get_by_label(label, exact=True).last.click()
        with suppress(TimeoutError):
            wanted.click(timeout=8_000)
            break
    else:
        raise AssertionError(f"{label} offers no {option}")
    settle(page)


def draw_images(folder: Path) -> None:
    """Three images of plain shapes, and a smaller copy of one of them."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"red-circle": "#c02020", "blue-square": "#2040c0", "green-bars": "#208040"}
    for name, color in shapes.items():
        image = Image.new("RGB", (400, 300), "#f4f1e8")
        pen = ImageDraw.Draw(image)
        if "circle" in name:
            pen.ellipse((110, 60, 290, 240), fill=color)
        elif "square" in name:
            pen.rectangle((60, 40, 200, 180), fill=color)
        else:
            for left in range(40, 360, 60):
                pen.rectangle((left, 30 + left // 3, left + 30, 280), fill=color)
        image.save(folder / f"{name}.png")
        if "bars" in name:
            image.resize((300, 225)).save(folder / f"{name}-copy.jpg", quality=70)
