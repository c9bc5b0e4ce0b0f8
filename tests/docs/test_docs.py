"""The pages are read: commands parse, settings and tables are the real ones, links lead on."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest

from ragcore.catalog.models import Base
from ragcore.cli.main import cli
from ragcore.errors import MissingExtra
from ragcore.readers.formats import FORMATS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += [ROOT / "data" / "README.md", ROOT / "indexes" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> Iterator[str]:
    for found in FENCE.finditer(path.read_text("utf-8")):
        if found[1] == language:
            yield found[2]


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text("utf-8"))


def command_lines(path: Path) -> Iterator[str]:
    """Whole command lines: in blocks, and in code spans that have arguments."""
    for language in ("", "sh", "bash", "console"):
        for block in blocks(path, language):
            for line in block.splitlines():
                line = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
                line = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line)  # variables set for it
                if line.startswith("ragcore "):
                    yield line.partition(" #")[0]
    yield from re.findall(r"`(ragcore [^`]+)`", prose(path))


def resolve(words: list[str]) -> tuple[click.Command, list[str], list[str]]:
    """(command, its names, the arguments left). Raises AssertionError if there is none."""
    command: click.Command = cli
    names: list[str] = []
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no command {' '.join(['ragcore', *names, words[0]])}"
        command, names, words = found, [*names, words[0]], words[1:]
    return command, names, words


def of_examples(path: Path) -> set[str]:
    """Names of the modules and commands that a page's own example packages add."""
    text = path.read_text("utf-8")
    modules = re.findall(r"^`[\w-]+/(\w+)\.py`$", text, re.M)
    groups = re.findall(r'^\[project.entry-points."ragcore.commands"\]\n((?:.+\n)+)', text, re.M)
    return {*modules, *(name for block in groups for name in re.findall(r"^(\w+) =", block, re.M))}


def check(line: str) -> None:
    """Raises AssertionError or click's error unless the line could be run as it stands."""
    command, names, arguments = resolve(shlex.split(line)[1:])
    if not arguments:  # a command's name in running text
        return
    with suppress(click.exceptions.Exit):  # --help and --version
        command.make_context(" ".join(["ragcore", *names]), arguments).close()


def all_commands() -> Iterator[str]:
    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            for inner in command.list_commands(click.Context(command)):
                yield f"ragcore {name} {inner}"
        else:
            yield f"ragcore {name}"


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_command_line_can_be_run(path: Path) -> None:
    for line in command_lines(path):
        if line.split()[1] in of_examples(path):
            continue
        try:
            check(line)
        except (AssertionError, click.ClickException) as error:
            pytest.fail(f"{page_id(path)}: `{line}`: {error}")


def test_wrong_command_lines_are_noticed() -> None:
    for line in ("ragcore fly", "ragcore search --wings", "ragcore models pul", "ragcore ask a b"):
        with pytest.raises((AssertionError, click.ClickException)):
            check(line)


def test_every_command_has_its_place_in_the_pages() -> None:
    text = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    missing = [name for name in all_commands() if name not in text]
    # "list" is what a group does by itself.
    assert [name for name in missing if name != "ragcore collections list"] == []


def test_every_command_and_option_says_what_it_does() -> None:
    for name in all_commands():
        command, _, _ = resolve(name.split()[1:])
        assert command.help, f"{name} has no help"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name not in ("collection", "k"):
                assert parameter.help or parameter.type.name == "choice", (
                    f"{name} {parameter.opts[0]}"
                )


def test_catalog_page_names_every_table() -> None:
    text = (ROOT / "docs" / "reference" / "catalog.md").read_text("utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", text, re.M)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == set(Base.metadata.tables)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            continue
        assert (path.parent / target.partition("#")[0]).exists(), f"{page_id(path)}: {target}"


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_files_that_are_named_exist(path: Path) -> None:
    named = re.findall(
        r"`((?:ragcore|app|starter-weights|tests|benchmarks|recipes|docs|data|scripts)/[\w./-]+)`",
        prose(path),
    )
    for name in named:
        if "NNNN" in name:
            continue
        assert (ROOT / name).exists(), f"{page_id(path)} names {name}"


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_python_examples_import_what_there_is(path: Path) -> None:
    for block in blocks(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module not in {None, *of_examples(path)}:
                try:
                    module = importlib.import_module(node.module)
                except (MissingExtra, ModuleNotFoundError):
                    # frameworks are no part of this environment: tests/integrations runs these
                    assert path.name == "integrations.md", node.module
                    continue
                for alias in node.names:
                    if not hasattr(module, alias.name):  # then it must be a module of its own
                        importlib.import_module(f"{node.module}.{alias.name}")


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for path in PAGES:
        named = set(re.findall(r"`make ([a-z]+)[^`]*`", prose(path)))
        named |= {
            line for block in blocks(path, "") for line in re.findall(r"^make (\w+)", block, re.M)
        }
        assert named <= targets, f"{page_id(path)}: {named - targets}"


def test_every_room_has_a_page() -> None:
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    rooms = [
        path.name
        for path in (ROOT / "ragcore").iterdir()
        if path.is_dir() and (path / "__init__.py").exists()
    ]
    for room in rooms:
        assert f"`ragcore/{room}`" in text, (
            f"docs/explanation/architecture.md does not know ragcore/{room}"
        )


def test_the_tables_of_file_types_are_those_of_the_readers() -> None:
    page = (ROOT / "docs" / "explanation" / "ingest.md").read_text("utf-8")
    rows = re.findall(r"^\| ([^|`]+) \| (`\.[^|]+) \|", page, re.M)
    # What is written after a comma are further names of such files.
    result = {kind: tuple(re.findall(r"`(.+?)`", names.partition(", ")[0])) for kind, names in rows}
    assert result == {one.kind: one.suffixes for one in FORMATS}
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [one.kind for one in FORMATS if one.kind not in readme] == []
