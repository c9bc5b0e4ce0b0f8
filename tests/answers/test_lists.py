"""Lists in a text, with the place of every item."""

from __future__ import annotations

import pytest

from ragcore.answers.lists import find_lists, is_contents


def items(text: str) -> list[list[str]]:
    return [[text[one.start : one.end] for one in found.items] for found in find_lists(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("To start:\n\n1. Open it.\n\n2. Press the\nbutton.\n\n3. Wait.\n\nDone.",
         ["Open it.", "Press the\nbutton.", "Wait."]),
        ("Colors:\n• red\n• green\n\nNothing else.", ["red", "green"]),
        ("a. one\nb. two\nc. three", ["one", "two", "three"]),
        ("Step 1: open\nStep 2: close", ["open", "close"]),
        ("-p part The chip.\n\n-c name The programmer.",
         ["part The chip.", "name The programmer."]),
        ("Hours:\nDay | From\nMonday | nine\nTuesday | ten\n", ["Monday | nine", "Tuesday | ten"]),
        ("First unplug it. Then open the lid. Finally turn it over.",
         ["First unplug it.", "Then open the lid.", "Finally turn it over."]),
    ],
)  # fmt: skip
def test_items_in_order(text: str, expected: list[str]) -> None:
    assert items(text) == [expected]


def test_what_introduces_a_list() -> None:
    text = "It is old. You need the following:\n\n• a knife\n\n• a fork"
    (found,) = find_lists(text)
    assert text[found.lead_start : found.lead_end].endswith("You need the following:")
    assert not found.ordered


def test_a_list_goes_on_over_a_page() -> None:
    text = "1. one\n\n2. two that\f runs on\n\n3. three"
    assert [len(found) for found in items(text)] == [3]


def test_an_item_that_introduces_another_list_ends_before_it() -> None:
    text = "Uses:\n• to find files. We do this by:\n• naming them\n• sorting them"
    assert items(text)[-1] == ["naming them", "sorting them"]


@pytest.mark.parametrize(
    "text",
    [
        "One sentence. And another one.",
        "2. a number\n\n7. and another",
        "• a single bullet\n\nText.",
    ],
)
def test_no_list(text: str) -> None:
    assert items(text) == []


def test_contents_are_no_list() -> None:
    text = "Contents\n1. Start … 3\n2. Middle … 9\n3. End … 12\n"
    assert is_contents(text)
    assert items(text) == []
