"""Runs a page of the docs from top to bottom, as a reader would: writes its files, runs its
commands and its Python in one folder with one home.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ragcore.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
# A fence, with the name of the file that it is where the line before is only a name in backticks.
PART = re.compile(r"(?:^`([\w./-]+)`\n\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)
WRITTEN = {"json", "toml"}
BY_SHELL = {"cp", "mkdir", "curl"}


class PageRunner:
    """`printed` has what each command line printed, `names` what the Python blocks left."""

    def __init__(self, page: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.page = page
        self.capsys = capsys
        self.printed: dict[str, str] = {}
        self.names: dict[str, Any] = {}
        self.address = ""  # of the server that stands for localhost:8765

    def parts(self) -> list[tuple[str, str, str]]:
        """(file name or "", language, text) of every fence."""
        return PART.findall((ROOT / "docs" / self.page).read_text("utf-8"))

    def run(self) -> None:
        for file, language, text in self.parts():
            self.part(file, language, text)

    def part(self, file: str, language: str, text: str) -> None:
        if language in WRITTEN:  # without a name it is shown only
            if file:
                Path(file).write_text(text, "utf-8")
        elif language == "sh":
            for line in text.splitlines():
                self.line(line)
        elif language == "python":
            code = text.replace("http://localhost:8765", self.address)
            exec(compile(code, self.page, "exec"), self.names)
        else:
            pytest.fail(f"{self.page}: a block of {language!r} that nothing runs")

    def line(self, line: str) -> None:
        words = shlex.split(line)
        with pytest.MonkeyPatch.context() as patch:
            while re.fullmatch(r"[A-Z_]+=.*", words[0]):
                name, _, value = words.pop(0).partition("=")
                patch.setenv(name, value)
            if words[0] == "ragcore":
                self.capsys.readouterr()
                with pytest.raises(SystemExit) as end:
                    main(words[1:])
                out, err = self.capsys.readouterr()
                assert end.value.code == 0, f"{self.page}: {line}\n{out}{err}"
                self.printed[line] = out
                return
        assert words[0] in BY_SHELL, f"{self.page}: nothing runs {line!r}"
        line = line.replace("localhost:8765", self.address.removeprefix("http://"))
        line = line.replace("curl -s", "curl -s --fail-with-body")
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, timeout=600, env=os.environ
        )
        assert done.returncode == 0, f"{self.page}: {line}\n{done.stdout}{done.stderr}"
        self.printed[line] = done.stdout
