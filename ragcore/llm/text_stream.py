"""From token ids to pieces of text that can be shown at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TextStream:
    """Decodes tokens as they come; holds back what is not sure yet.

    Not sure are bytes of an unfinished character, and text that may be the beginning of a
    stop string. `stopped` is set when a stop string was met; it and what follows are dropped.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._base = 0  # ids before this one are decoded for good
        self._base_text = ""
        self._text = ""
        self._shown = 0
        self.stopped = False

    @property
    def text(self) -> str:
        """All text so far, without a stop string."""
        return self._text

    def push(self, token: int) -> str:
        """Take one token; return the text that can be shown now ("" if none)."""
        self._ids.append(token)
        recent = self._decode(self._ids[self._base :])
        if recent.endswith("\ufffd"):
            return ""
        self._text = self._base_text + recent
        # Some tokenizers strip a leading space, so keep a few tokens of context before the rest.
        if len(self._ids) - self._base > 64:
            keep = self._decode(self._ids[-8:])
            if self._text.endswith(keep):
                self._base_text, self._base = self._text[: -len(keep)], len(self._ids) - 8
        return self._release(final=False)

    def finish(self) -> str:
        """What was held back, at the end."""
        if not self.stopped:
            self._text = self._base_text + self._decode(self._ids[self._base :])
        return self._release(final=True)

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _release(self, *, final: bool) -> str:
        if self.stopped:
            return ""
        end = len(self._text)
        for stop in self._stop:
            found = self._text.find(stop, max(0, self._shown - len(stop)))
            if found >= 0:
                end = min(end, found)
                self.stopped = True
        if self.stopped:
            self._text = self._text[:end]
        elif not final:
            end -= max((_overlap(self._text, stop) for stop in self._stop), default=0)
        piece = self._text[self._shown : end]
        self._shown = max(self._shown, end)
        return piece


def _overlap(text: str, stop: str) -> int:
    """Length of the longest ending of `text` that begins `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])),
                0)  # fmt: skip
