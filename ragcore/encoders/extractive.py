"""What the extractive reader reads: a question, and passages cut into windows of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.errors import UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

QUESTION_TOKENS = 48  # a longer question loses its beginning, which asks less than its end
TITLE_TOKENS = 16
_STOPS = frozenset(".!?")


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a passage as the network reads it, after the question: title : text [SEP].

    `offsets` are the (start, end) characters in the passage of the tokens from `first` on.
    """

    ids: tuple[int, ...]
    first: int
    offsets: tuple[tuple[int, int], ...]


class WindowMaker:
    """Questions and passages to token ids, with the tokenizer of the base's folder."""

    def __init__(self, folder: Path, size: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._size = size
        self._cls, self._sep, self._colon = map(self._id, ("[CLS]", "[SEP]", ":"))

    def _id(self, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise UsageError(f"the base's tokenizer has no {token}: choose a BERT-like base")
        return int(number)

    def question(self, text: str) -> tuple[int, ...]:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return (self._cls, *ids[2 - QUESTION_TOKENS :], self._sep)

    def windows(self, text: str, title: str = "") -> list[Window]:
        """Windows that together hold the whole text.

        They begin and end between sentences where these are short enough, and neighbours share a
        short sentence.
        """
        head: list[int] = []
        if title:
            named = self._tokenizer.encode(title, add_special_tokens=False).ids
            head += [*named[:TITLE_TOKENS], self._colon]
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        offsets = encoded.offsets
        room = self._size - len(head) - 1
        return [
            Window(
                (*head, *encoded.ids[start:end], self._sep), len(head), tuple(offsets[start:end])
            )
            for start, end in _stretches(_beginnings(text, offsets), len(offsets), room)
        ]


def _beginnings(text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Tokens that begin a sentence or a line."""
    found = [0]
    for at in range(1, len(offsets)):
        before, start = offsets[at - 1][1], offsets[at][0]
        gap = text[before:start]
        if gap and (text[before - 1] in _STOPS or "\n" in gap):
            found.append(at)
    return found


def _stretches(beginnings: Sequence[int], count: int, room: int) -> Iterator[tuple[int, int]]:
    """(start, end) tokens of each window of at most `room` tokens."""
    start = 0
    while count - start > room:
        latest = start + room
        inside = [b for b in beginnings if start + room // 2 < b <= latest]
        end = inside[-1] if inside else latest
        yield start, end
        shared = [b for b in beginnings if max(start, end - room // 3) < b < end]
        start = shared[-1] if shared else end
        if count - start < room:  # the last window is a full one
            filled = [b for b in beginnings if count - room <= b <= start]
            start = filled[0] if filled else start
    yield start, count
