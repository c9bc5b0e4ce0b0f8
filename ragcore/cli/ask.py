"""`ragcore ask`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ragcore.cli.output import as_json_option, echo, print_json
from ragcore.cli.search import parse_where, where_option
from ragcore.errors import UsageError
from ragcore.library import DEFAULT_COLLECTION, Library
from ragcore.serialize import answer_json
from ragcore.types import Answer, AnswerStyle, Citation

F = TypeVar("F", bound=Callable[..., Any])
_STYLE = {
    "instruction": "A sentence added to the model's instruction.",
    "tone": "How the model writes, in a word or a few: formal.",
    "language": "What the model writes in: German.",
}
NEAREST_LENGTH = 300  # characters of a passage that comes near


def read_schema(path: str) -> dict[str, Any]:
    """Raises UsageError unless the file holds a JSON object."""
    try:
        schema = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the schema {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"the schema {path} is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise UsageError(f"the schema {path} must be a JSON object")
    return schema


def style_options(command: F) -> F:
    """The options that say how answers are worded."""
    for name, text in reversed(_STYLE.items()):
        command = click.option(f"--{name}", help=text)(command)
    return command


@click.command("ask")
@click.argument("question")
@click.option(
    "-c",
    "--collection",
    "collections",
    multiple=True,
    default=(DEFAULT_COLLECTION,),
    show_default=True,
    help="May be repeated: several are asked as one; * asks all.",
)
@click.option(
    "--document",
    "documents",
    multiple=True,
    metavar="NAME",
    help="Only this document: title, file name, a part of one, or number. May be repeated.",
)
@click.option("-k", "k", type=int, default=4, show_default=True, help="Passages to read.")
@click.option("--image", help="An image: the question is about it, not about the documents.")
@click.option("--model", default="", help="With --image: another model, by name or folder.")
@click.option("--schema", help="A JSON Schema file: each field is answered, as JSON.")
@where_option
@click.option(
    "--length",
    type=click.IntRange(20, 2000),
    help="Words of the answer.  [default: one sentence, a summary about 150]",
)
@style_options
@click.option("--adapter", help="An adapter's name, or none for the bare model.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Answer only with this confidence or more.  [default: the setting answer_threshold]",
)
@click.option("--show-prompt", is_flag=True, help="Print what the model was given, on stderr.")
@as_json_option
def command(
    question: str,
    collections: tuple[str, ...],
    documents: tuple[str, ...],
    k: int,
    image: str | None,
    model: str,
    schema: str | None,
    where: tuple[str, ...],
    length: int | None,
    instruction: str | None,
    tone: str | None,
    language: str | None,
    adapter: str | None,
    threshold: float | None,
    show_prompt: bool,
    as_json: bool,
) -> None:
    """Answer a question from the documents, with citations, or abstain."""
    if image is not None:
        _ask_image(image, question, model, as_json)
        return
    if model:
        raise UsageError("--model goes with --image")
    form = read_schema(schema) if schema else None
    with Library() as library:
        answer = library.ask(
            question,
            collection=collections,
            documents=documents,
            k=k,
            schema=form,
            where=parse_where(where),
            length=length,
            style=AnswerStyle(
                instruction=instruction or "",
                tone=tone or "",
                language=language or "",
                length=length or 0,
            ),
            adapter=adapter,
            threshold=threshold,
        )
    if show_prompt:
        echo(answer.prompt, err=True)
    if as_json:
        print_json(answer_json(answer))
        return
    echo(answer.text)
    for line in evidence_lines(answer):
        echo(line)


def evidence_lines(answer: Answer) -> list[str]:
    """What stands below an answer.

    Quotes with their pages, the nearest passages, or what to ask instead of a question that fits
    several things.

    The text of a composed answer is its quotes: its numbers are given their pages only. Of an
    answer in JSON, each field has its quote. The questions of an answer in steps come first.
    """
    if answer.fields:
        return [
            f'  {field.path}: [{c.n}] {_place(c)}: "{" ".join(c.quote.split())}"'
            for field in answer.fields
            if (c := field.citation) is not None
        ]
    steps = [f"  step {n}: {step.question}" for n, step in enumerate(answer.steps, 1)]
    return [*steps, *_evidence(answer)]


def _evidence(answer: Answer) -> list[str]:
    if answer.candidates:
        return [
            f"  {one.text}: ragcore ask {shlex.quote(one.question)} --document {one.document_id}"
            for one in answer.candidates
        ]
    if answer.composed:
        places: dict[str, list[int]] = {}
        for c in answer.citations:
            places.setdefault(_place(c), []).append(c.n)
        return [f"  {_numbers(ns)} {place}" for place, ns in places.items()]
    if answer.abstained and answer.nearest:
        lines = [f"These passages come nearest to “{answer.question}”:"]
        for hit in answer.nearest:
            page = f", page {hit.page}" if hit.page is not None else ""
            lines.append(f"  {hit.document}{page}: {' '.join(hit.text.split())[:NEAREST_LENGTH]}")
        return lines
    text = " ".join(answer.text.split())
    return [
        f"  [{c.n}] {_place(c)}"
        + (f': "{c.quote}"' if " ".join(c.quote.split()) not in text else "")
        for c in answer.citations
    ]


def _place(citation: Citation) -> str:
    page = f", page {citation.page}" if citation.page is not None else ""
    return f"{citation.document}{page}{', image' if citation.image_id else ''}"


def _numbers(numbers: list[int]) -> str:
    """The marks of some numbers: "[1]-[4], [7]"."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(f"[{r[0]}]" if len(r) == 1 else f"[{r[0]}]-[{r[-1]}]" for r in runs)


def _ask_image(image: str, question: str, model: str, as_json: bool) -> None:
    """The answer as it is written, then by which model."""
    with Library() as library:
        for piece in library.images.ask_stream(Path(image).expanduser(), question, model=model):
            if not isinstance(piece, str):
                answer = piece
            elif not as_json:
                echo(piece, nl=False)
    if as_json:
        print_json({"answer": answer.text, "model": answer.model, "seconds": answer.seconds})
        return
    echo(f"\n  by {answer.model}, from the image alone")
