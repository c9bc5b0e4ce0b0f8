"""Stems are right whoever asks for them at the same time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import snowballstemmer

from ragcore.text.stems import stem

WORDS = [
    f"{beginning}{end}"
    for beginning in (
        "run",
        "organ",
        "gener",
        "relat",
        "condit",
        "hopp",
        "measur",
        "oper",
        "nation",
    )
    for end in ("", "s", "ing", "ed", "ation", "ational", "izer", "fulness", "ousli", "ally")
]


@pytest.fixture
def _restless() -> Iterator[None]:
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_restless")
def test_threads_do_not_spoil_each_others_stems() -> None:
    alone = snowballstemmer.stemmer("porter")
    expected = [alone.stemWord(word) for word in WORDS]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            stem.cache_clear()
            every = pool.map(lambda _: [stem(word, "porter") for word in WORDS], range(8))
            assert all(found == expected for found in every)


def test_algorithms_stand_side_by_side() -> None:
    assert stem("generously", "porter") == "gener"
    assert stem("generously", "english") == "generous"
