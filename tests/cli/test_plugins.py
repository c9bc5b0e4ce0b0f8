"""Commands of plug-ins, and the list of what plug-ins add."""

from __future__ import annotations

import sys

import pytest

from ragcore.errors import NotPermitted
from ragcore.library import Library, Principal
from tests.plug_ins import Install

from .conftest import Run

COMMAND = """
import click

@click.command()
@click.argument("name")
def hello(name):
    "Greet somebody."
    click.echo(f"hello {name}")
"""


def test_a_plug_in_adds_a_command(run: Run, install: Install) -> None:
    install("greeter", {"commands": {"hello": "greeter:hello"}}, COMMAND)
    shown = run("--help")
    assert "hello  greeter 2.5" in shown.out
    assert "greeter" not in sys.modules, "help imports no plug-in"
    assert run("hello", "Ada").out == "hello Ada\n"
    assert "Greet somebody." in run("hello", "--help").out
    assert run("hello").code == 2


def test_a_broken_command_is_one_line_when_it_is_used(run: Run, install: Install) -> None:
    install("broken", {"commands": {"bad": "broken:bad"}}, "import nothing_of_this_name")
    shown = run("--help")
    assert shown.code == 0
    assert shown.err == ""
    outcome = run("bad")
    assert outcome.code == 1
    assert "command 'bad' of broken 2.5 cannot be used: ModuleNotFound" in outcome.complaint


def test_a_command_of_ragcore_cannot_be_replaced(run: Run, install: Install) -> None:
    install("greeter", {"commands": {"search": "greeter:hello"}}, COMMAND)
    shown = run("search", "--help")
    assert "Find passages" in shown.out
    assert len(shown.err.splitlines()) == 1
    assert "ragcore has a command of this name" in shown.err


def test_plugins_are_listed_with_what_is_wrong(run: Run, install: Install) -> None:
    install("greeter", {"commands": {"hello": "greeter:hello"}}, COMMAND)
    install("broken", {"readers": {"odd": "broken:odd"}, "llms": {"parrot": "broken:x"}}, "x = 1")
    text = run("plugins").out
    assert "\n  greeter 2.5: hello\n" in text
    assert "  broken 2.5: odd cannot be used: AttributeError" in text
    listed = run("plugins", "--json").json["plugins"]
    found = {(one["group"], one["name"]): one for one in listed}
    hello = found["commands", "hello"]
    assert (hello["package"], hello["version"]) == ("greeter", "2.5")
    assert (hello["active"], hello["built_in"], hello["error"]) == (True, False, "")
    parrot = found["llms", "parrot"]
    assert (parrot["active"], parrot["error"]) == (False, "TypeError: broken:x is not callable")
    own = [one for one in listed if one["built_in"]]
    assert len(own) > 40
    assert [one for one in own if not one["active"]] == []


def test_doctor_says_what_cannot_be_used(run: Run, install: Install) -> None:
    install("greeter", {"commands": {"hello": "greeter:hello"}}, COMMAND)
    assert "ok        plug-ins: hello\n" in run("doctor").out
    install("broken", {"readers": {"odd": "broken:odd"}}, "x = 1")
    outcome = run("doctor")
    assert outcome.code == 1
    assert (
        "problem   plug-ins: odd (readers) of broken 2.5 cannot be used: Attribute" in outcome.out
    )


def test_plugins_are_an_administrators() -> None:
    limited = Principal("Ann", "admin", 1, frozenset({1}))
    with Library() as library, pytest.raises(NotPermitted):
        library.for_principal(limited).admin.plugins()
