"""The shape of the library: imports go down only, heavy packages wait, files stay readable."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(ROOT / "ragcore").rglob("*.py"), *(ROOT / "app").rglob("*.py")])

# From the faces down to the vocabulary; rooms of one line are neighbours.
FLOORS = (
    ("ragcore.testing",),
    ("ragcore.cli", "ragcore.api", "ragcore.mcp", "ragcore.integrations"),
    ("app",),
    ("ragcore.library",),
    (
        "ragcore.ingest",
        "ragcore.search",
        "ragcore.answers",
        "ragcore.diffusion",
        "ragcore.tuning",
        "ragcore.evals",
        "ragcore.maintenance",
    ),
    ("ragcore.encoders", "ragcore.llm"),
    ("ragcore.models",),
    ("ragcore.access",),
    ("ragcore.catalog", "ragcore.vectors"),
    ("ragcore.sources", "ragcore.weights", "ragcore.datasets", "ragcore.readers"),
    ("ragcore.logs", "ragcore.net"),
    (
        "ragcore.settings",
        "ragcore.answer_parts",
        "ragcore.types",
        "ragcore.errors",
        "ragcore.extensions",
        "ragcore.extras",
        "ragcore.files",
        "ragcore.lazy",
        "ragcore.notebooks",
        "ragcore.redaction",
        "ragcore.renamed",
        "ragcore.serialize",
        "ragcore.text",
    ),
)
HEIGHT = {room: len(FLOORS) - at for at, floor in enumerate(FLOORS) for room in floor}

# What a room shows its neighbours besides its `__init__`: networks, for those who train them. They
# import torch, for which the `__init__` would have to wait. And packages of their own.
PUBLIC = {
    "ragcore.catalog.filters",
    "ragcore.encoders.extractive",
    "ragcore.llm.projector",
    "ragcore_app.server",  # what the command line starts
    "ragcore.diffusion.classifier",
    "ragcore.diffusion.model",
    "ragcore.diffusion.networks",
    "ragcore.diffusion.prompt_embeddings",
    "ragcore.diffusion.sampling",
}
# Modules whose functions are read best with the module's name (`trash.restore(…)`). They are
# imported as a whole (`from ragcore.catalog import trash`), and nothing of them by itself.
WHOLE = {
    "ragcore.catalog.albums",
    "ragcore.catalog.browse",
    "ragcore.catalog.image_groups",
    "ragcore.catalog.image_metadata",
    "ragcore.catalog.integrity",
    "ragcore.catalog.labels",
    "ragcore.catalog.permits",
    "ragcore.catalog.postgres",
    "ragcore.catalog.sources",
    "ragcore.catalog.trash",
    "ragcore.diffusion.canny_stages",
    "ragcore.diffusion.factories",
    "ragcore.diffusion.latents",
    "ragcore.diffusion.negative_examples",
    "ragcore.encoders.clip_openvino",
    "ragcore.encoders.starter_clip",
    "ragcore.encoders.starter_heads",
    "ragcore.encoders.starter_space",
    "ragcore.maintenance.backup",
    "ragcore.maintenance.recover",
    "ragcore.readers.ocr",
}
FACES = ("ragcore.cli", "ragcore.api", "ragcore.mcp", "ragcore.integrations", "app")
# What faces import besides the library's public names: the vocabulary, and helpers of text, files
# and processes that know of no library.
FACES_MAY = {
    "ragcore",
    "ragcore.errors",
    "ragcore.extensions",
    "ragcore.extras",
    "ragcore.files",
    "ragcore.library",
    "ragcore.logs",
    "ragcore.redaction",
    "ragcore.renamed",
    "ragcore.serialize",
    "ragcore.settings",
    "ragcore.text",
    "ragcore.types",
}

MOST_LINES = 600  # about 400 as a habit
MOST_FUNCTION_LINES = 70  # "about 50"


def room_of(module: str) -> str | None:
    """The room that a module is in; None for packages of others and the top package."""
    parts = module.split(".")
    if parts[0] in ("app", "ragcore_app"):  # the folder, and what it is installed as
        return "app"
    return ".".join(parts[:2]) if parts[0] == "ragcore" and len(parts) > 1 else None


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import anywhere in a file, names of packages resolved."""
    for line, module, _ in written_imports(path):
        yield line, module


def written_imports(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, module, the module as it is written after `from` or `import`)."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                package = ROOT.joinpath(*node.module.split("."))
                inner = package / f"{alias.name}.py"
                a_module = inner.exists() and alias.name not in exported(package / "__init__.py")
                module = f"{node.module}.{alias.name}" if a_module else node.module
                yield node.lineno, module, node.module


@functools.cache
def exported(init: Path) -> frozenset[str]:
    """Names that a package's `__init__` imports from modules below it."""
    nodes = parsed(init).body if init.exists() else []
    imports = (node for node in nodes if isinstance(node, ast.ImportFrom) and node.module)
    return frozenset(
        alias.name for node in imports if str(node.module).count(".") > 1 for alias in node.names
    )


def violations(path: Path) -> Iterator[str]:
    name = module_name(path)
    here = room_of(name)
    if here is None:
        return
    for line, module, written in written_imports(path):
        there = room_of(module)
        if there is None or there == here:
            continue
        where = f"{path.relative_to(ROOT)}:{line}: {here} imports {module}"
        if HEIGHT[there] > HEIGHT[here]:
            yield f"{where}, which is above it"
        elif module == there or module in PUBLIC or (written == there and module in WHOLE):
            continue
        else:
            yield f"{where}, the inside of another room"


def test_imports_go_down_only() -> None:
    assert [violation for path in SOURCES for violation in violations(path)] == []


def test_the_library_imports_nothing_of_the_repository_beside_it() -> None:
    beside = {"recipes", "tests", "benchmarks", "scripts"}
    assert [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in SOURCES
        for line, module in imported(path)
        if module.partition(".")[0] in beside
    ] == []


def circles(sources: Sequence[Path]) -> list[list[str]]:
    """Rooms that import each other, directly or by way of others; imports in functions count."""
    leads: dict[str, set[str]] = {}
    for path in sources:
        here = room_of(module_name(path))
        rooms = {room_of(module) for _, module in imported(path)}
        if here is not None:
            leads.setdefault(here, set()).update(room for room in rooms - {here} if room)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            found = leads.get(waiting.pop(), set()) - seen
            seen |= found
            waiting += found
        return seen

    beyond = {room: reached(room) for room in leads}
    found = {
        tuple(sorted(other for other in there if room in beyond.get(other, ())))
        for room, there in beyond.items()
        if room in there
    }
    return sorted(map(list, found))


def test_rooms_do_not_import_each_other() -> None:
    assert circles(SOURCES) == []


def test_a_circle_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "ragcore").mkdir()
    texts = {
        "evals": "def f():\n    from ragcore.search import SearchEngine\n",
        "search": "from ragcore.answers import Answerer\n",
        "answers": "from ragcore.evals import qa\nfrom ragcore.types import Hit\n",
    }
    for name, text in texts.items():
        (tmp_path / "ragcore" / f"{name}.py").write_text(text)
    sources = sorted((tmp_path / "ragcore").glob("*.py"))
    assert circles(sources) == [["ragcore.answers", "ragcore.evals", "ragcore.search"]]
    assert circles(sources[1:]) == []


def reaching_past(path: Path) -> Iterator[str]:
    """What a face imports that it should ask of the library."""
    if room_of(module_name(path)) not in FACES:
        return
    for line, module in imported(path):
        there = room_of(module)
        if module.partition(".")[0] != "ragcore" or there in FACES:
            continue
        if module not in FACES_MAY:
            yield f"{path.relative_to(ROOT)}:{line}: a face imports {module}"


def test_faces_use_the_library_only() -> None:
    assert [found for path in SOURCES for found in reaching_past(path)] == []


def test_a_face_that_reaches_past_the_library_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ragcore" / "library").mkdir(parents=True)
    (tmp_path / "ragcore" / "library" / "core.py").touch()
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    bad = tmp_path / "app" / "bad.py"
    bad.parent.mkdir()
    bad.write_text(
        "from ragcore.library import Library\nfrom ragcore.library import core\n"
        "def f():\n    from ragcore.catalog import Catalog\n"
    )
    assert [found.partition(" imports ")[2] for found in reaching_past(bad)] == [
        "ragcore.library.core",
        "ragcore.catalog",
    ]


def test_every_room_has_its_floor() -> None:
    rooms = {room for path in SOURCES if (room := room_of(module_name(path)))}
    assert rooms <= set(HEIGHT)


def test_the_check_itself_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    bad = tmp_path / "ragcore" / "catalog" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("def f():\n    from ragcore.search.engine import SearchEngine\n")
    assert "above it" in next(violations(bad))
    near = tmp_path / "ragcore" / "vectors" / "near.py"
    near.parent.mkdir()
    near.write_text("import ragcore.catalog.models\nfrom ragcore.catalog import Catalog\n")
    assert len(list(violations(near))) == 1


def deferred(tree: ast.Module, package: str) -> tuple[set[str], set[str]]:
    """What an `__init__` loads at first use, "module:name": for type checkers, and for Python."""
    typed: set[str] = set()
    loaded: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for one in node.body:
                assert isinstance(one, ast.ImportFrom)
                assert one.module
                home = one.module
                if home.startswith(f"{package}.") and package != "ragcore":
                    home = home.removeprefix(package)
                typed |= {f"{home}:{alias.name}" for alias in one.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "lazily":
            table: dict[str, str] = ast.literal_eval(node.args[1])
            loaded |= {f"{home}:{name}" for home, names in table.items() for name in names.split()}
    return typed, loaded


LAZY = [path for path in SOURCES if path.name == "__init__.py" and "lazily(" in path.read_text()]


@pytest.mark.parametrize("path", LAZY, ids=module_name)
def test_what_is_loaded_later_is_what_type_checkers_see(path: Path) -> None:
    typed, loaded = deferred(parsed(path), module_name(path))
    assert typed == loaded
    assert typed


def unreadable(path: Path) -> Iterator[str]:
    """What of a file is too long, and whether it says what it is for."""
    where = path.relative_to(ROOT)
    text = path.read_text("utf-8")
    tree = parsed(path)
    if text.count("\n") > MOST_LINES:
        yield f"{where} has {text.count(chr(10))} lines"
    if tree.body and not ast.get_docstring(tree):
        yield f"{where} has no docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node):
                first = node.body[0]
                length -= (first.end_lineno or first.lineno) - first.lineno + 1
            if length > MOST_FUNCTION_LINES:
                yield f"{where}:{node.lineno}: {node.name} has {length} lines"


def test_files_and_functions_stay_readable() -> None:
    assert [complaint for path in SOURCES for complaint in unreadable(path)] == []


def test_unreadable_files_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    long = tmp_path / "long.py"
    long.write_text("def f():\n" + "    x = 1\n" * MOST_LINES)
    assert len(list(unreadable(long))) == 3
