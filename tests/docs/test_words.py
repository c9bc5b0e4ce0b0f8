"""The check for private words finds them in names and texts, and nothing in this repository."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_words.py"
spec = importlib.util.spec_from_file_location("check_words", SCRIPT)
assert spec is not None
assert spec.loader is not None
check_words = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_words)


def test_nothing_is_found_in_the_repository() -> None:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("ragcore/x.py", "load_pictures = 1\n", "ragcore/x.py:1: 'pictures' in a name: write im"),
        ("ragcore/x.py", "class StrawMan: ...\n", "ragcore/x.py:1: 'straw' in a name: write neg"),
        ("ragcore/x.py", "\n# make it anew\n", "ragcore/x.py:2: 'anew' in a text: write again"),
        ("ragcore/x.py", 'x = """a\nb told c"""\n', "ragcore/x.py:2: 'told' in a text: write rep"),
        ("docs/x.md", "Once more, *mended*.\n", "docs/x.md:1: 'Once more' in a text: write again"),
        ("ragcore/told.py", "x = 1\n", "ragcore/told.py:1: 'told' in a name"),
        ("ragcore/x.py", 'x = "picture"  # deprecated\n', None),
        ("data/x.md", "a picture\n", None),
        ("ragcore/x.py", "untold = 1\n", None),
        ("ragcore/x.py", "held = _tell(1)\n", "ragcore/x.py:1: 'held' in a name: write stored"),
        ("ragcore/x.py", "rows_held_out = HeldOut()\n", None),
        ("docs/x.md", "It tells\nthem apart.\n", "docs/x.md:1: 'tells' in a text: write"),
        ("docs/held.md", "", "docs/held.md:1: 'held' in a name"),
    ],
)
def test_a_planted_word(path: str, text: str, found: str | None) -> None:
    lines = list(check_words.findings(path, text))
    assert lines[0].startswith(found) if found else lines == []


def test_every_exception_has_a_reason_and_files() -> None:
    root = SCRIPT.parents[1]
    for word, files, reason in check_words.ALLOWED:
        assert reason
        assert word in {"*", *check_words.NAMES}
        assert any(root.glob(files)), f"nothing is called {files}"


# Names that two classes may share, and why.
SHARED = {
    "Collection": "a row of the catalog, and the handle on it",
    "FeatureCache": "both keep what a frozen model made of an example",
    "RagcoreRetriever": "one for each framework, of which a program uses one",
}


def test_no_two_classes_of_the_package_share_a_name() -> None:
    defined: dict[str, list[str]] = {}
    for path in sorted((SCRIPT.parents[1] / "ragcore").rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined.setdefault(node.name, []).append(path.name)
    shared = {name: files for name, files in defined.items() if len(files) > 1}
    assert shared.keys() == SHARED.keys(), shared
