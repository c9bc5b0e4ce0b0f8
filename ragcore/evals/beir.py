"""Reading a retrieval test collection in BEIR's layout.

corpus.jsonl      {"_id", "title", "text"} a line
queries.jsonl     {"_id", "text"} a line
qrels/test.tsv    query-id, corpus-id, score, tab separated, with a header
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragcore.errors import UsageError


@dataclass(frozen=True, slots=True)
class BeirSet:
    """`corpus`: (title, text) by id.

    `queries` by id, judged ones only; `judgements`: query id to document id to gain.
    """

    corpus: dict[str, tuple[str, str]]
    queries: dict[str, str]
    judgements: dict[str, dict[str, int]]


def read_beir(folder: Path) -> BeirSet:
    """Raises UsageError, with file and line, for anything that is not the layout above."""
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        if not (folder / name).is_file():
            raise UsageError(f"{folder} is no BEIR collection: it has no {name}")
    judgements = _judgements(folder / "qrels" / "test.tsv")
    corpus = {
        str(row["_id"]): (str(row.get("title") or ""), str(row["text"]))
        for row in _lines(folder / "corpus.jsonl")
    }
    queries = {str(row["_id"]): str(row["text"]) for row in _lines(folder / "queries.jsonl")}
    judged = {key: text for key, text in queries.items() if key in judgements and text.strip()}
    if not corpus or not judged:
        raise UsageError(f"{folder} holds no documents, or no query that is judged")
    return BeirSet(corpus, judged, judgements)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                row["_id"], row["text"]
            except (ValueError, KeyError, TypeError):
                raise UsageError(
                    f'{path}, line {number}: not a JSON object with "_id" and "text"'
                ) from None
            yield row


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    result: dict[str, dict[str, int]] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            parts = line.split()
            if not parts or (number == 1 and not parts[-1].lstrip("-").isdigit()):
                continue
            try:
                query, document, gain = parts
                result.setdefault(query, {})[document] = int(gain)
            except ValueError:
                raise UsageError(
                    f"{path}, line {number}: not a query id, a document id and a whole number"
                ) from None
    if not result:
        raise UsageError(f"{path} holds no judgements")
    return result
