"""The registry: found by metadata, imported late, and no broken plug-in in anybody's way."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from ragcore import extensions
from ragcore.errors import UsageError
from ragcore.extensions import ExtensionError

from .plug_ins import Install


def test_a_plug_in_is_found_and_imported_when_it_is_loaded(install: Install) -> None:
    install("made_up", {"readers": {"made-up": "made_up:Reader"}})
    assert "made-up" in extensions.names("readers")
    found = extensions.find("readers", "made-up")
    assert (found.package, found.version, found.error) == ("made_up", "2.5", None)
    assert not found.built_in
    assert "made_up" not in sys.modules
    assert found.load().suffixes == (".x",)
    assert found.load() is found.load() is extensions.load_all("readers")["made-up"]


def test_an_unknown_name_is_answered_with_the_known_ones(install: Install) -> None:
    install("made_up", {"llms": {"parrot": "made_up:Reader"}})
    with pytest.raises(UsageError, match=r"no LLM 'cuckoo' .*parrot.*pip install"):
        extensions.find("llms", "cuckoo")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import a_package_that_is_not_here", "ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("", "AttributeError: .*Reader"),
        ("class Reader: read = suffixes = ()", "it has no media_types"),
        ("def Reader(:", "SyntaxError"),
    ],
)
def test_a_broken_plug_in_is_one_warning(
    install: Install, caplog: pytest.LogCaptureFixture, code: str, reason: str
) -> None:
    install("broken", {"readers": {"broken": "broken:Reader"}}, code)
    for _ in range(2):
        with pytest.raises(ExtensionError, match=reason):
            extensions.find("readers", "broken").load()
    assert "broken" not in extensions.load_all("readers")
    listed = {one.name: one for one in extensions.active("readers")}
    assert re.search(reason, listed["broken"].error or "")
    assert all(one.error is None for one in listed.values() if one.built_in)
    assert len(caplog.records) == 1
    assert "reader 'broken' of broken 2.5 cannot be used" in caplog.messages[0]


def test_a_factory_must_be_callable(install: Install) -> None:
    install("broken", {"vector_stores": {"toy": "broken:STORE"}}, "STORE = 3")
    with pytest.raises(ExtensionError, match="not callable"):
        extensions.find("vector_stores", "toy").load()


def test_a_name_that_is_taken_stays_with_the_first(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("b_pack", {"readers": {"same": "b_pack:Reader"}})
    install("a_pack", {"readers": {"same": "a_pack:Reader"}})
    assert extensions.find("readers", "same").package == "a_pack"
    listed = [one for one in extensions.active("readers") if one.name == "same"]
    assert [(one.package, bool(one.error)) for one in listed] == [
        ("a_pack", False),
        ("b_pack", True),
    ]
    with pytest.raises(ExtensionError, match="a_pack has a reader of this name"):
        listed[1].load()
    assert [m for m in caplog.messages if "rename the entry point" in m]


def test_what_ships_is_loaded_without_extras_and_heavy_packages() -> None:
    program = """
import sys
from ragcore.extras import EXTRAS
for modules in EXTRAS.values():
    sys.modules.update(dict.fromkeys(modules))  # as if they were not installed
from ragcore import extensions
print([(one.group, one.name, one.error) for one in extensions.active() if one.error])
print([name for name in ("torch", "transformers", "faiss") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")


def test_titles_and_schemes() -> None:
    assert [extensions.title(group) for group in extensions.GROUPS] == [
        "reader",
        "text encoder",
        "image-text encoder",
        "reranker",
        "span reader",
        "LLM",
        "transcriber",
        "diffusion model",
        "vector store",
        "source",
        "command",
    ]
    assert extensions.scheme_of("S3://bucket/key") == "s3"
    assert extensions.scheme_of("git+ssh://host/x") == "git+ssh"
    assert [extensions.scheme_of(x) for x in ("", "notes", "/a/b", "C:\\x", "x:y", "://x")] == [
        ""
    ] * 6
