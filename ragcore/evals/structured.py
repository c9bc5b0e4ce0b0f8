"""Answers in JSON measured: fields that are right, wrong values, and nulls."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.answers import Answerer, Composer, check_form
from ragcore.catalog import Catalog, FileState, NewDocument, store_document
from ragcore.errors import Cancelled, UsageError
from ragcore.ingest import passage_input, split_document
from ragcore.models import Models
from ragcore.readers import read
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    from ragcore.search import SearchEngine
    from ragcore.settings import Settings

SCHEMA = "schema.json"


@dataclass(slots=True)
class Case:
    """A document of a kind with what its answer should be.

    The schema's description is the question.
    """

    kind: str
    file: Path
    schema: Mapping[str, Any]
    expected: Any


@dataclass(slots=True)
class Score:
    """Counts of fields. `filled` and `empty` are those with and without an expected value."""

    fields: int = 0
    right: int = 0
    wrong: int = 0  # another value than expected, or a value where none is
    filled: int = 0
    missed: int = 0  # null, where there is a value
    empty: int = 0
    empty_right: int = 0
    details: list[dict[str, Any]] = field(default_factory=list)

    def add(self, path: str, expected: Any, found: Any) -> None:
        """One field; None: no value."""
        self.fields += 1
        right = _equal(expected, found)
        self.right += right
        self.wrong += not right and found is not None
        if expected is None:
            self.empty += 1
            self.empty_right += right
        else:
            self.filled += 1
            self.missed += found is None
        if not right:
            self.details.append({"path": path, "expected": expected, "found": found})

    def metrics(self) -> dict[str, Any]:
        return {
            "accuracy": round(self.right / max(1, self.fields), 4),
            "wrong": round(self.wrong / max(1, self.fields), 4),
            "fields": self.fields,
            "values_missed": self.missed,
            "nulls": self.empty,
            "nulls_right": self.empty_right,
        }


def evaluate_structured(
    directory: Path,
    *,
    settings: Settings,
    models: Models | None = None,
    details: Path | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Ask each document of `directory` for its kind's schema, and compare with what is expected.

    `directory` has a folder for each kind: `schema.json`, and documents with their answers
    (`NAME.txt` or `.md`, `NAME.json`). All documents stand in one collection; each is asked by
    itself. `details` is written as JSONL, one document a line. `models` defaults to those of the
    settings.

    Returns accuracy, wrong (shares of all fields), fields, values_missed, nulls, nulls_right,
    seconds_per_document, and the same by kind under "kinds".
    Raises UsageError for a folder of another layout, Cancelled.
    """
    from ragcore.search import SearchEngine, Stores

    cases = list(read_cases(Path(directory).expanduser()))
    models = models or Models(settings)
    with tempfile.TemporaryDirectory(prefix="ragcore-eval-") as home:
        own = settings.model_copy(update={"home": Path(home), "database_url": "", "vectors": ""})
        own.__dict__.pop("catalog_url", None)
        catalog = Catalog(f"sqlite:///{Path(home) / 'catalogue.db'}")
        stores = Stores(catalog, own)
        engine = SearchEngine(catalog, stores, own, models=models)
        try:
            numbers = _index(catalog, cases, models)
            answerer = _answerer(own, models, catalog, engine)
            return _measure(cases, numbers, answerer, details, progress, cancel)
        finally:
            engine.close()
            stores.close()
            catalog.close()


def read_cases(directory: Path) -> Iterator[Case]:
    """Raises UsageError, with the file, for what is not as it should be."""
    kinds = sorted(path.parent for path in directory.glob(f"*/{SCHEMA}"))
    if not kinds:
        raise UsageError(f"{directory} has no folder with a {SCHEMA}")
    for folder in kinds:
        schema = _json(folder / SCHEMA)
        if not isinstance(schema, Mapping) or not schema.get("description"):
            raise UsageError(f"{folder / SCHEMA} has no description: it is the question")
        check_form(schema)
        files = sorted(path for path in folder.iterdir() if path.suffix in (".txt", ".md"))
        if not files:
            raise UsageError(f"{folder} has no documents (.txt, .md)")
        for file in files:
            yield Case(folder.name, file, schema, _json(file.with_suffix(".json")))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _index(catalog: Catalog, cases: Sequence[Case], models: Models) -> list[int]:
    """The documents' numbers."""
    collection = catalog.create_collection("default", exist_ok=True)
    encoder = models.text_encoder()
    space = encoder.space
    space_id = catalog.space_id(space.name, space.modality, space.dimension)
    catalog.use_space(collection.id, space_id, space.modality)
    numbers = []
    for case in cases:
        document = read(case.file)
        passages = split_document(document)
        texts = [passage_input(p.text, p.heading, document.title) for p in passages]
        vectors = {space_id: encoder.encode(texts, kind="passage")}
        state = FileState(str(case.file), case.file.name, case.file.stat().st_size, 0)
        with catalog.write() as session:
            new = NewDocument(state, document, passages, vectors)
            number, _ = store_document(session, collection.id, new)
            numbers.append(number)
    return numbers


def _answerer(
    settings: Settings, models: Models, catalog: Catalog, engine: SearchEngine
) -> Answerer:
    return Answerer(
        models.llm(),
        engine.search,
        settings=settings,
        models=models,
        composer=Composer(catalog, engine.search, engine.documents, models.text_encoder().encode),
    )


def _measure(
    cases: Sequence[Case],
    numbers: Sequence[int],
    answerer: Answerer,
    details: Path | None,
    progress: ProgressCallback | None,
    cancel: CancelToken | None,
) -> dict[str, Any]:
    scores: dict[str, Score] = {}
    lines = []
    started = time.perf_counter()
    for done, (case, number) in enumerate(zip(cases, numbers, strict=True), 1):
        if cancel is not None and cancel.cancelled:
            raise Cancelled("the evaluation was cancelled")
        begun = time.perf_counter()
        answer = answerer.ask(
            str(case.schema["description"]),
            schema=case.schema,
            where={"document": str(number)},
            cancel=cancel,
        )
        found = None if answer.text.startswith("The documents") else json.loads(answer.text)
        one = Score()
        compare("", case.expected, found, one)
        scores.setdefault(case.kind, Score())
        _merge(scores[case.kind], one)
        lines.append(
            {
                "document": f"{case.kind}/{case.file.name}",
                **one.metrics(),
                "seconds": round(time.perf_counter() - begun, 2),
                "misses": one.details,
            }
        )
        if progress is not None:
            rate = done / (time.perf_counter() - started)
            progress(Progress("documents", done, len(cases), rate, (len(cases) - done) / rate))
    if details is not None:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        details.write_text(text, encoding="utf-8")
    whole = Score()
    for score in scores.values():
        _merge(whole, score)
    seconds = (time.perf_counter() - started) / len(cases)
    kinds = {kind: score.metrics() for kind, score in scores.items()}
    return {**whole.metrics(), "seconds_per_document": round(seconds, 2), "kinds": kinds}


def _merge(into: Score, other: Score) -> None:
    for name in ("fields", "right", "wrong", "filled", "missed", "empty", "empty_right"):
        setattr(into, name, getattr(into, name) + getattr(other, name))
    into.details += other.details


def compare(path: str, expected: Any, found: Any, score: Score) -> None:
    """Count the fields of an expected value.

    Each scalar, an array of scalars as one field (in any order), and each field of an array's
    objects, in their order.
    """
    if isinstance(expected, Mapping):
        there = found if isinstance(found, Mapping) else {}
        for key, value in expected.items():
            compare(f"{path}.{key}" if path else key, value, there.get(key), score)
    elif isinstance(expected, list) and _of_objects(expected, found):
        rows = found if isinstance(found, list) else []
        for n in range(max(len(expected), len(rows))):
            wanted = expected[n] if n < len(expected) else dict.fromkeys(rows[n])
            compare(f"{path}[{n}]", wanted, rows[n] if n < len(rows) else None, score)
    elif isinstance(expected, list):
        score.add(path, sorted(map(_plain, expected)) or None, _list(found))
    else:
        score.add(path, expected, found)


def _of_objects(expected: Sequence[Any], found: Any) -> bool:
    both = [*expected, *(found if isinstance(found, list) else [])]
    return any(isinstance(one, Mapping) for one in both)


def _list(found: Any) -> Any:
    return sorted(map(_plain, found)) or None if isinstance(found, list) else found


def _plain(value: Any) -> Any:
    """A text without differences of case, white space and outer punctuation."""
    return " ".join(value.split()).strip(" .,;:").lower() if isinstance(value, str) else value


def _equal(expected: Any, found: Any) -> bool:
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return abs(expected - found) < 1e-9
    return bool(_plain(expected) == _plain(found))
