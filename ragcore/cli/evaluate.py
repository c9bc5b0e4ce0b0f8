"""`ragcore eval`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.errors import UsageError
from ragcore.library import DEFAULT_COLLECTION, Library, ProfileAnswers
from ragcore.types import Answer

_SHOWN = 300  # characters of an answer on its line


@click.group("eval")
def command() -> None:
    """Measure quality on data with known answers."""


@command.command("retrieval")
@click.argument("beir_dir", metavar="BEIR_DIR")
@click.option(
    "--rerank-queries",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="So many queries are reranked too, which is slow.",
)
@as_json_option
def retrieval(beir_dir: str, rerank_queries: int, as_json: bool) -> None:
    """Passage search on a folder in BEIR's layout.

    The folder has corpus.jsonl, queries.jsonl and qrels/test.tsv. The numbers at the top are
    those of the default search; beside them stand dense, lexical, fused and reranked search.
    """
    folder = _there(beir_dir, "folder")
    with Library() as library:
        result = library.evals.retrieval(
            folder, rerank_queries=rerank_queries, progress=progress_line()
        )
    _show(result, as_json)


@command.command("images")
@click.argument("directory", metavar="DIR")
@as_json_option
def images(directory: str, as_json: bool) -> None:
    """Image search on a folder of images with captions, labels or altered copies.

    What the folder holds is seen from its files: captions (*.jsonl beside *.zip), labels.jsonl,
    or gallery.jsonl with queries.jsonl.
    """
    folder = _there(directory, "folder")
    with Library() as library:
        result = library.evals.images(folder, progress=progress_line())
    _show(result, as_json)


@command.command("qa")
@click.argument("file", metavar="FILE.jsonl")
@click.option("-c", "--collection", help="Search this collection, instead of the file's contexts.")
@click.option(
    "--distractors",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Wrong passages beside the right one, where the file has contexts.",
)
@click.option("--limit", type=click.IntRange(1), help="Only the first questions.")
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Questions of given passages answered at once; 1: one after another, as a person asks.",
)
@click.option("--adapter", help="An adapter's name, or none for the bare model.")
@click.option("--base", is_flag=True, help="Ask the bare model too, for comparison.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="As of `ragcore ask`.")
@click.option("--details", type=click.Path(dir_okay=False), help="Write every answer as JSONL.")
@click.option(
    "--plot", type=click.Path(dir_okay=False), help="Write the reliability diagram as an image."
)
@as_json_option
def qa(
    file: str,
    adapter: str | None,
    base: bool,
    details: str | None,
    plot: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Answers on questions with known answers (*.jsonl or *.jsonl.gz)."""
    path = _there(file, "file")
    how |= {"progress": progress_line()}
    with Library() as library:
        result = library.evals.qa(
            path,
            adapter=adapter,
            details=Path(details) if details else None,
            plot=Path(plot) if plot else None,
            **how,
        )
        bare = library.evals.qa(path, adapter="none", **how) if base else None
    if bare is None:
        _show(result, as_json)
        return
    if as_json:
        print_json({**result, "base": bare})
        return
    echo(f"{'':<24} {adapter or 'tuned':>12} {'base':>12}")
    for name, value in result.items():
        echo(f"{name:<24} {_value(value):>12} {_value(bare.get(name)):>12}")


@command.command("dialogues")
@click.argument("file", metavar="FILE.jsonl")
@click.option("--limit", type=click.IntRange(1), help="Only the first conversations.")
@click.option("--adapter", help="An adapter's name, or none for the bare model.")
@as_json_option
def dialogues(file: str, limit: int | None, adapter: str | None, as_json: bool) -> None:
    """Conversations over given passages: what is answered, and what is declined.

    A line of FILE has turns, contexts, targets and answerability, as in MTRAG.
    """
    path = _there(file, "file")
    with Library() as library:
        result = library.evals.dialogues(
            path, limit=limit, adapter=adapter, progress=progress_line()
        )
    _show(result, as_json)


@command.command("answers")
@click.argument("directory", metavar="DIR")
@click.option(
    "--questions",
    type=click.Path(dir_okay=False),
    help="The questions as JSONL.  [default: DIR/questions.jsonl]",
)
@click.option("-c", "--collection", help="Ask this collection, which has the files already.")
@click.option("--limit", type=click.IntRange(1), help="Only the first questions.")
@click.option("--details", type=click.Path(dir_okay=False), help="Write every answer as JSONL.")
@as_json_option
def answers(
    directory: str,
    questions: str | None,
    collection: str | None,
    limit: int | None,
    details: str | None,
    as_json: bool,
) -> None:
    """Questions of every kind, asked of the files in DIR (in DIR/files where it is there).

    A line of the questions has a question, and any of kind, answers (one has to stand in the
    answer; none: it has to be declined), contains (all have to), doc, pages (one has to be cited).
    """
    folder = _there(directory, "folder")
    with Library() as library:
        result = library.evals.answers(
            folder,
            questions=Path(questions) if questions else None,
            collection=collection,
            limit=limit,
            details=Path(details) if details else None,
            on_result=None if as_json else _show_answer,
            progress=progress_line(),
        )
    if as_json:
        print_json(result)
        return
    kinds = result.pop("kinds")
    del result["results"]
    _show(result, False)
    for kind, counts in kinds.items():
        echo(f"  {kind:<12} " + ", ".join(f"{name} {count}" for name, count in counts.items()))


def _show_answer(one: dict[str, Any]) -> None:
    """A result on one line: checks, kind, question, answer, pages, what was expected."""
    mark = {True: "right", False: "WRONG", None: "-"}[one["right"]]
    failed = ",".join(name for name, passed in one["checks"].items() if not passed)
    pages = dict.fromkeys(
        c["document"] + ("" if c["page"] is None else f" p. {c['page']}") for c in one["citations"]
    )
    expected = {
        name: value for name, value in one["expected"].items() if value not in (None, (), False)
    }
    answer = " ".join(one["answer"].split())
    echo(
        f"{mark}{f' ({failed})' if failed else ''}  [{one['kind']}] {one['question']}  ->  "
        f"{answer[:_SHOWN]}{' …' if len(answer) > _SHOWN else ''}"
        + (f"  |  {'; '.join(pages)}" if pages else "")
        + (f"  |  expected: {expected}" if expected else "")
        + f"  |  {one['seconds']} s"
    )


@command.command("profiles")
@click.argument("file", metavar="FILE.txt")
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
@click.option(
    "-p", "--profile", "profiles", multiple=True, required=True,
    help="A profile's name or TOML file; may be repeated.",
)  # fmt: skip
@click.option(
    "--documents", type=click.IntRange(1, 100), default=20, show_default=True,
    help="Read the first so many documents of the collection for each profile.",
)  # fmt: skip
@as_json_option
def profiles(
    file: str, collection: str, profiles: tuple[str, ...], documents: int, as_json: bool
) -> None:
    """Your own questions, one a line of FILE, answered by the models of several profiles.

    For example: ragcore eval profiles questions.txt -c papers -p starter -p tiny
    """
    questions = _there(file, "file").read_text("utf-8-sig").splitlines()
    questions = [line.strip() for line in questions if line.strip()]
    with Library() as library:
        found = library.evals.profiles(
            profiles, questions, collection=collection, documents=documents,
            progress=progress_line(),
        )  # fmt: skip
    if as_json:
        print_json({"questions": questions, "profiles": [_profile(one) for one in found]})
        return
    for number, question in enumerate(questions):
        echo(question)
        for one in found:
            echo(f"  {one.profile}: {one.error or _answer_line(one.answers[number])}")
    for one in found:
        if not one.error:
            echo(
                f"{one.profile}: {one.seconds:.1f} s an answer, {one.passages:.1f} passages/s, "
                f"{one.documents} documents"
            )


def _profile(one: ProfileAnswers) -> dict[str, Any]:
    return {
        "profile": one.profile,
        "error": one.error,
        "seconds": round(one.seconds, 3),
        "passages_per_second": round(one.passages, 3),
        "documents": one.documents,
        "answers": [
            {
                "answer": answer.text,
                "abstained": answer.abstained,
                "citations": [
                    {"n": c.n, "document": c.document, "page": c.page, "quote": c.quote}
                    for c in answer.citations
                ],
            }
            for answer in one.answers
        ],
    }


def _answer_line(answer: Answer) -> str:
    text = " ".join(answer.text.split())
    cited = dict.fromkeys(
        c.document + ("" if c.page is None else f" p. {c.page}") for c in answer.citations
    )
    return text + (f"  [{'; '.join(cited)}]" if cited else "")


@command.command("chat")
@click.argument("file", metavar="FILE.jsonl")
@click.option("-c", "--collection", required=True, help="Where the answers stand.")
@click.option(
    "-k", "k", type=click.IntRange(1), default=4, show_default=True, help="Passages looked at."
)
@as_json_option
def chat(file: str, collection: str, k: int, as_json: bool) -> None:
    """Follow-up questions: what a search finds for them as asked, rewritten, and by hand.

    A line of FILE is {"turns": [{"question", "stands_alone", "answer", "evidence"}, ...]}.
    """
    path = _there(file, "file")
    with Library() as library:
        result = library.evals.chat(path, collection=collection, k=k, progress=progress_line())
    missed = result["missed"] if as_json else [m["rewritten"] for m in result["missed"]]
    _show({**result, "missed": missed}, as_json)


@command.command("structured")
@click.argument("directory", metavar="DIR")
@click.option("--details", type=click.Path(dir_okay=False), help="Write every document as JSONL.")
@as_json_option
def structured(directory: str, details: str | None, as_json: bool) -> None:
    """Answers in JSON on documents with known answers.

    DIR has a folder for each kind of document: schema.json, whose description is the question,
    and NAME.txt or NAME.md with NAME.json.
    """
    folder = _there(directory, "folder")
    with Library() as library:
        result = library.evals.structured(
            folder, details=Path(details) if details else None, progress=progress_line()
        )
    _show(result, as_json)


@command.command("captions")
@click.argument("directory", metavar="DIR")
@click.option("--model", default="", help="Another model than the profile's: a name or a folder.")
@click.option("--limit", type=click.IntRange(2), help="Only the first images.")
@click.option("--details", type=click.Path(dir_okay=False), help="Write every caption as JSONL.")
@as_json_option
def captions(
    directory: str, model: str, limit: int | None, details: str | None, as_json: bool
) -> None:
    """Captions by a model on a folder of images with people's captions.

    DIR has NAME.jsonl with NAME.zip (dev, test or val are measured) and perhaps train.jsonl, for
    the nearest training image's caption as a comparison.
    """
    folder = _there(directory, "folder")
    with Library() as library:
        result = library.evals.captions(
            folder,
            model=model,
            limit=limit,
            details=Path(details) if details else None,
            progress=progress_line(),
        )
    _show(result, as_json)


def _there(given: str, kind: str) -> Path:
    """Raises UsageError unless `given` is an existing folder or file."""
    path = Path(given).expanduser()
    if not (path.is_dir() if kind == "folder" else path.is_file()):
        raise UsageError(f"no such {kind}: {path}")
    return path


def _show(result: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    for name, value in result.items():
        if isinstance(value, Mapping):
            echo(f"{name}:")
            for inner, number in value.items():
                echo(f"  {inner:<22} {_value(number)}")
        else:
            echo(f"{name:<24} {_value(value)}")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "  ".join(f"{name} {_value(inner)}" for name, inner in value.items())
    return (
        f"{value:.4f}"
        if isinstance(value, float)
        else "not measured"
        if value is None
        else str(value)
    )
