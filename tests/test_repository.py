"""The files that people expect in a repository say what is true of it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml

import ragcore

ROOT = Path(__file__).resolve().parents[1]
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
# Citation File Format 1.2.0.
CITATION_REQUIRED = {"authors", "cff-version", "message", "title"}
CITATION_ALLOWED = CITATION_REQUIRED | {
    "abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license",
    "license-url", "preferred-citation", "references", "repository", "repository-artifact",
    "repository-code", "type", "url", "version",
}  # fmt: skip


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(text("pyproject.toml"))["project"]
    return found


def test_the_license_is_the_full_text_of_the_declared_one() -> None:
    assert project()["license"] == "Apache-2.0"
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2


def test_the_citation_is_valid_and_of_this_version() -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    assert set(citation) >= CITATION_REQUIRED
    assert set(citation) <= CITATION_ALLOWED
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] in {"software", "dataset"}
    assert citation["authors"] == project()["authors"]
    assert citation["version"] == ragcore.__version__
    assert citation["license"] == project()["license"]


def test_the_changelog_has_unreleased_on_top_and_dates() -> None:
    lines = text("CHANGELOG.md").splitlines()
    sections = [line for line in lines if line.startswith("## ")]
    assert sections[0] == "## [Unreleased]"
    released = [
        re.fullmatch(r"## \[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d\d-\d\d", s) for s in sections[1:]
    ]
    assert all(released), f"not `## [VERSION] - YYYY-MM-DD`: {sections[1:]}"
    versions = [tuple(int(part) for part in found.groups()) for found in released if found]
    assert versions == sorted(set(versions), reverse=True)
    assert {line.removeprefix("### ") for line in lines if line.startswith("### ")} <= CHANGES


def test_contributing_names_tests_that_exist() -> None:
    named = re.findall(r"pytest (tests/[\w/]+\.py)(?:::(\w+))?", text("CONTRIBUTING.md"))
    assert [file for file, _ in named]
    for file, function in named:
        source = text(file)
        assert not function or f"def {function}(" in source, f"{file}::{function}"


def test_contributing_names_what_stands_in_the_file_that_it_names() -> None:
    """Each sentence names symbols, then "in", then the one file that has all of them."""
    code = r"`[\w.]+(?:\([^`]*\))?`"
    named = re.findall(
        rf"((?:{code}(?:, | or |, or | and )?)+) in `([\w/]+\.py)`", text("CONTRIBUTING.md")
    )
    assert len(named) >= 12
    for symbols, file in named:
        source = text(file)
        for symbol in re.findall(r"`(\w+)", symbols):
            assert re.search(rf"\b{symbol}\b", source), f"{symbol} is not in {file}"


def test_contributing_covers_every_kind_of_thing() -> None:
    headings = " ".join(re.findall(r"^### (.*)$", text("CONTRIBUTING.md"), re.M)).lower()
    for kind in ("reader", "encoder", "language model", "store", "filter", "route", "command",
                 "setting", "job", "dependency"):  # fmt: skip
        assert kind in headings


def test_the_hooks_are_valid_and_run_tools_of_the_environment() -> None:
    path = ROOT / ".pre-commit-config.yaml"
    subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(path)],
        check=True, timeout=60,
    )  # fmt: skip
    hooks = [
        hook for repo in yaml.safe_load(path.read_text("utf-8"))["repos"] for hook in repo["hooks"]
    ]
    declared = {re.split(r"[\[<>=]", one)[0] for one in project()["optional-dependencies"]["dev"]}
    assert {hook["id"] for hook in hooks} == {"ruff-check", "ruff-format", "codespell", "words"}
    for hook in hooks:
        tool = re.match(r"\.venv/bin/(\w+)", hook["entry"])
        assert tool, hook["entry"]
        assert tool[1] in declared | {"python"}, hook["entry"]
