"""What is imported is declared: a package that happens to be installed is not enough.

The core's modules import the core's dependencies only. A module of an extra is imported where that
extra's code lies (ROOMS), or in a file that calls `require_extra` for it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import ragcore
from ragcore.errors import MissingExtra
from ragcore.extras import EXTRAS, install_hint, require_extra

ROOT = Path(__file__).resolve().parents[1]
OURS = {"ragcore", "app", "ragcore_app", "ragcore_starter_weights"}
MOST_CORE = 20

# Imported, and not declared because a declared one always requires it: {package: by which}.
BROUGHT_BY = {
    "filelock": "torch",
    "ftfy": "open-clip-torch",
    "httpcore": "httpx",
    "huggingface-hub": "transformers",
    "numpy": "faiss-cpu",
    "pillow": "pillow-heif",
    "psutil": "peft",
    "pydantic": "pydantic-settings",
    "regex": "transformers",
    "safetensors": "transformers",
    "scikit-learn": "sentence-transformers",
    "scipy": "sentence-transformers",
    "timm": "open-clip-torch",
    "tokenizers": "transformers",
    "tqdm": "transformers",
    "transformers": "sentence-transformers",
}

# Folders and files that only run where an extra is installed: what leads there asks for it.
ROOMS = {
    "app/": "ui",
    "ragcore/api/": "serve",
    "ragcore/mcp/": "mcp",
    "ragcore/diffusion/": "diffusion",
    "ragcore/tuning/": "train",
    "ragcore/testing/": "dev",
    "ragcore/datasets/image_metrics.py": "train",
    "ragcore/datasets/reliability.py": "train",
    "ragcore/ingest/ray_cluster.py": "ray",
    "ragcore/ingest/ray_embedders.py": "ray",
    "ragcore/ingest/ray_engine.py": "ray",
    "ragcore/readers/docx.py": "office",
    "ragcore/readers/epub.py": "office",
    "ragcore/readers/latex.py": "office",
    "ragcore/readers/opendocument.py": "office",
    "ragcore/readers/outlook.py": "office",
    "ragcore/readers/pptx.py": "office",
    "ragcore/readers/rtf.py": "office",
    "ragcore/readers/spreadsheet.py": "office",
    "ragcore/library/watching.py": "watch",
    "ragcore/vectors/milvus_store.py": "milvus",
}

# Used where they are installed; the code beside them does without.
OPTIONAL = {
    # Their distributions are llama-index-core and haystack-ai.
    ("ragcore/integrations/haystack.py", "haystack"),
    ("ragcore/integrations/llamaindex.py", "llama_index"),
    ("ragcore/encoders/clip_openvino.py", "openvino"),
    ("ragcore/ingest/text_view.py", "matplotlib"),
}


@cache
def project() -> dict[str, list[str]]:
    """The requirements of pyproject.toml: of the core as "", and of each extra."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


@cache
def declared(extra: str) -> frozenset[str]:
    """Names of the packages that an extra asks for, those of the extras in it included."""
    names: set[str] = set()
    for line in project()[extra]:
        requirement = Requirement(line)
        if requirement.name == "ragcore":
            names |= {name for inner in requirement.extras for name in declared(inner)}
        else:
            names.add(_normal(requirement.name))
    return frozenset(names)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def brought(names: frozenset[str]) -> set[str]:
    """`names` with what they bring (BROUGHT_BY)."""
    return {*names, *(name for name, by in BROUGHT_BY.items() if by in names or by in BROUGHT_BY)}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(top-level module, line) of every import of another package."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in OURS:
                yield top, node.lineno


def extras_of(file: str, text: str) -> set[str]:
    """The extras whose modules a file may import."""
    asked = set(re.findall(r'(?:require_extra|missing_modules)\(\s*"(\w+)"', text))
    return asked | {extra for room, extra in ROOMS.items() if file.startswith(room)}


def undeclared(root: Path, folder: str) -> Iterator[str]:
    """What below `folder` is imported without being the core's, or an extra's of that place."""
    installed = packages_distributions()
    for path in sorted((root / folder).rglob("*.py")):
        file = path.relative_to(root).as_posix()
        extras = extras_of(file, path.read_text("utf-8"))
        known = brought(frozenset().union(*(declared(extra) for extra in ("", *extras))))
        for top, line in imports(path):
            names = {_normal(name) for name in installed.get(top, [top])}
            if not known & names and (file, top) not in OPTIONAL:
                yield f"{file}:{line} imports {top}, of neither the core nor {sorted(extras)}"


@pytest.mark.parametrize("folder", ["ragcore", "app"])
def test_every_import_is_declared_where_it_is_used(folder: str) -> None:
    assert not list(undeclared(ROOT, folder))


def test_an_undeclared_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "ragcore" / "api").mkdir(parents=True)
    (tmp_path / "ragcore" / "search.py").write_text("def f():\n    import fastapi\n")
    (tmp_path / "ragcore" / "api" / "middleware.py").write_text(
        "import fastapi\nimport diffusers\n"
    )
    found = list(undeclared(tmp_path, "ragcore"))
    assert [line.split(", ")[0] for line in found] == [
        "ragcore/api/middleware.py:2 imports diffusers",
        "ragcore/search.py:2 imports fastapi",
    ]


def test_the_core_is_small() -> None:
    assert len(project()[""]) <= MOST_CORE


@pytest.mark.parametrize(("package", "by"), BROUGHT_BY.items())
def test_what_is_not_declared_is_always_brought(package: str, by: str) -> None:
    unconditional = set()
    for line in requires(by) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            unconditional.add(_normal(requirement.name))
    assert package in unconditional
    assert by in declared("") or by in BROUGHT_BY


# Frameworks that call ragcore: who uses one installs its extra. They are not in the lock.
FRAMEWORKS = {"haystack", "langchain", "llamaindex", "mteb"}


def test_all_has_every_extra() -> None:
    whole = {_normal(Requirement(line).name) for line in project()["all"]}
    assert whole == {"ragcore"}
    [requirement] = [Requirement(line) for line in project()["all"]]
    # faiss-gpu takes the place of faiss-cpu's files: it is installed by those who want it.
    assert requirement.extras == set(project()) - {"", "all", "dev", "gpu"} - FRAMEWORKS


def test_the_modules_of_extras_are_theirs() -> None:
    installed = packages_distributions()
    assert set(EXTRAS) == set(project()) - {"", "all", "dev", "gpu"}
    for extra in EXTRAS.keys() - FRAMEWORKS:
        modules = EXTRAS[extra]
        for module in modules:
            names = {_normal(name) for name in installed[module]}
            assert names & declared(extra), f"{module} is not of extra {extra}"


def test_a_missing_extra_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra("ui", "the browser pages")
    monkeypatch.setitem(sys.modules, "streamlit", None)
    with pytest.raises(MissingExtra) as error:
        require_extra("ui", "the browser pages")
    assert str(error.value) == (
        'the browser pages need streamlit, not installed here: pip install "ragcore[ui]"'
    )
    assert install_hint("ui", "serve") == 'pip install "ragcore[ui,serve]"'


def test_public_names_are_loaded_when_used() -> None:
    script = (
        "import sys, ragcore; before = set(sys.modules)\n"
        "assert not {'pydantic', 'sqlalchemy', 'numpy', 'torch'} & before, before\n"
        "from ragcore import Library, Collection, SearchQuery, Settings, Hit, Answer\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
        "assert set(ragcore.__all__) <= set(dir(ragcore))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    assert {name for name in ragcore.__all__ if not hasattr(ragcore, name)} == set()
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = ragcore.Nothing


def test_the_version_stands_in_one_place() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in table["project"]
    assert table["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "ragcore.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+([ab]\d+|rc\d+)?", ragcore.__version__)
