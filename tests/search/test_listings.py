"""Tables of contents and indexes come after what they point to."""

from __future__ import annotations

import pytest

from ragcore.catalog import Catalog
from ragcore.search import SearchEngine
from ragcore.search.listings import is_listing
from ragcore.types import SearchQuery

from .conftest import Add

CONTENTS = (
    "Table of Contents\n\n1\tFlutter of wings … 1\n1.1\tHistory … 4\n2\tStall and lift … 5\n"
    "2.1\tBoundary layer … 19\n3 Terminal velocity . . . . . 26"
)
NUMBERED = (
    "Contents\n\n1\tWelcome\t2\n2\tJoining us\t3\n3\tWorking hours\t3\n3.1 Breaks\t5\n4 Travel 9"
)
INDEX = "bearing, 12\nboundary layer, 4, 19\nflutter, 1-3\nlift, 7, 8, 12\nstall, 5\nwing, 1"
COLUMNS = (
    "Index A avrdude.conf … 36 D Device support … 5 DFU … 45 H History … 4 T Terminal … 30, 33"
)


@pytest.mark.parametrize("text", [CONTENTS, NUMBERED, INDEX, COLUMNS])
def test_listings(text: str) -> None:
    assert is_listing(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Flutter is an oscillation that occurs when forces couple with modes.",
        "He said … 3 times … 4 at most, and then he went on to speak of something else entirely, "
        "which took the rest of the evening … 5 and all of the next day until … 6 people had left "
        "the room, the building, and, as far as anybody knew, the town itself, never to be seen "
        "there again, although letters came for years afterwards, addressed to the wrong house. "
        "Nobody opened them; they were put into a drawer that was never emptied either.",
        "part,stock\nM4 bolt,12\nM5 bolt,7\nnut,40\nwasher,200\nspring,9",
        "M4 bolt | 12\nM5 bolt | 7\nnut | 40\nwasher | 200\nspring | 9",
        "Status Age V1 id\n1.1\tP 23646\t1\n2.1\tCC 26174\t2\n3.1\tCC 27723\t3\n4.1\tCC 27193\t4",
        "1 Open the valve\n2 Wait for 30\n3 Close the valve\n4 Note the time",
        "washer, 200\nbolt, 12\nspring, 9\nanchor, 40\nnut, 1",  # a list of stock, in no order
    ],
)
def test_others(text: str) -> None:
    assert not is_listing(text)


def test_a_listing_comes_after_the_text(engine: SearchEngine, catalog: Catalog, add: Add) -> None:
    """Its words are those of the query, more than in any other passage."""
    add("/docs/manual.pdf", [CONTENTS, "The history of flutter of wings began in 1916 in Britain."])
    query = SearchQuery(text="history of flutter of wings", kind="passages", cutoff=0.0)
    found = [hit for hit in engine.search(query).hits if hit.document == "manual.pdf"]
    assert [is_listing(hit.text) for hit in found] == [False, True]
    assert found[0].score > found[1].score
