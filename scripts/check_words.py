"""Finds private words in names and texts, and says what to write instead.

    python scripts/check_words.py [FILE ...]

Without files: all that git tracks. Names are those of Python identifiers and of files; texts are
comments, docstrings and messages, and all of other files. Exit code 1 if anything is found.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

# Word: what to write instead. In names a word is one part of it (`held_back` has two).
NAMES = {
    "anew": "again, or re…",
    "borrowed": "acquire",
    "chooser": "sampler",
    "dice": "rng",
    "door": "middleware, or listener",
    "held": "stored, present … (`held_out` is a term of training)",
    "mend": "repair or fix",
    "outermost": "…Middleware",
    "patience": "timeout, or retry policy",
    "picture": "image",
    "pictures": "images",
    "straw": "negative example",
    "taught": "trained, or known labels",
    "tell": "report, show, send …",
    "telling": "informative",
    "tells": "reports, shows …",
    "told": "what it is: reported, predicted, result …",
}
TEXTS = {
    r"anew": "again, or re-…",
    r"(?-i:\"(?:But not|Come in|Take away|What goes on)\")": "Exclude, Log in, Remove, Activity",
    r"documents? do(?:es)? not tell": "not found in the documents",
    r"mend(?:s|ed|ing)?": "repair or fix",
    r"once more": "again",
    r"pictures?": "image",
    r"straw m[ae]n": "negative example",
    r"tell(?:s|ing)? (?:them |the two )?apart": "distinguish, or identify",
    r"tells|telling": "reports, shows, says",
    r"told": "reported, logged, shown, predicted …",
}
# (word, files, why it may stand there)
ALLOWED = [
    ("*", "scripts/check_words.py", "the list itself"),
    ("*", "tests/docs/test_words.py", "the tests of this check"),
    ("*", "starter-weights/*", "cards of trained weights, with their checksums"),
    ("*", "data/*", "sample documents"),
    ("*", "benchmarks/structured/*", "sample documents"),
    ("*", "benchmarks/*.jsonl", "questions that were measured"),
    ("*", "docs/assets/*", "code of others"),
    ("*", "recipes/policy_qa.py", "training data"),
    ("*", "tests/.durations", "names of tests"),
    ("*", "docs/explanation/side-by-side.md", "shows what was written before"),
    ("*", "tests/docs/test_side_by_side.py", "shows what was written before"),
    ("mend", "tests/answers/test_structured.py", "a sample document"),
    ("tell", "ragcore/ingest/worker.py", "a method of files"),
    ("tell", "ragcore/vectors/generations.py", "a method of files"),
    ("tell", "tests/ingest/test_coverage.py", "a sample document"),
    ("patience", "ragcore/tuning/*", "early stopping's own term"),
    ("patience", "tests/tuning/*", "early stopping's own term"),
    ("picture", "CHANGELOG.md", "names the earlier names"),
    ("picture", "ragcore/encoders/zero_shot.py", "a prompt that models were trained with"),
    ("picture", "ragcore/datasets/caption_questions.py", "training data"),
    ("picture", "ragcore/llm/image_prompt.py", "a prompt that models were trained with"),
    ("picture", "ragcore/llm/hub_vision.py", "a prompt that models were trained with"),
    ("picture", "app/views/ask.py", "a question that models were trained with"),
    ("picture", "ragcore/api/routes/seeing.py", "a question that models were trained with"),
    ("picture", "tests/image_models.py", "a prompt that models were trained with"),
    ("picture", "tests/tuning/test_projector.py", "a prompt that models were trained with"),
    ("picture", "ragcore/evals/captions.py", "keys of the JSON that the evaluation prints"),
    ("picture", "tests/evals/test_captions.py", "keys of the JSON that the evaluation prints"),
    ("picture", "docs/*/evals.md", "keys of the JSON that the evaluation prints"),
    ("picture", "ragcore/readers/metadata/exif.py", "text that cameras write"),
    ("picture", "ragcore/library/diffusion.py", "a folder of existing homes"),
    ("picture", "tests/security/test_library_scopes.py", "a folder of existing homes"),
    ("picture", "tests/ingest/*", "python-docx's add_picture; expectations of ../shared"),
]  # fmt: skip
_BINARY = {".gguf", ".jpg", ".lock", ".npz", ".onnx", ".pdf", ".png", ".safetensors", ".webp"}
_TERMS = re.compile("held_?out", re.I)  # terms of the field with a private word in them
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_TEXT = [(re.compile(rf"(?<![\w-])(?:{words})(?!\w)", re.I), use) for words, use in TEXTS.items()]


def findings(path: str, text: str) -> Iterator[str]:
    """One line for each private word in a file; `path` is relative to the repository."""
    lines = text.lower().splitlines() or [""]
    for line, word, kind, use in sorted({*_names(path, text), *_texts(path, text)}):
        if "deprecat" not in lines[line - 1] and not _allowed(word, path):
            yield f"{path}:{line}: {word!r} in a {kind}: write {use} (scripts/check_words.py)"


def _allowed(word: str, path: str) -> bool:
    return any(
        (name == "*" or word.lower().startswith(name)) and fnmatch(path, files)
        for name, files, _ in ALLOWED
    )


def _names(path: str, text: str) -> Iterator[tuple[int, str, str, str]]:
    """(line, word, kind, replacement) of identifiers and of the file's own name."""
    names = [(1, Path(path).stem)]
    if path.endswith(".py"):
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        names += [(one.start[0], one.string) for one in tokens if one.type == tokenize.NAME]
    for line, name in names:
        parts = {part.lower() for part in _PARTS.findall(_TERMS.sub("", name))}
        for part in parts & NAMES.keys():
            yield line, part, "name", NAMES[part]


def _texts(path: str, text: str) -> Iterator[tuple[int, str, str, str]]:
    """The same of comments and strings, or of all of a file that is not Python."""
    pieces = [(1, text)]
    if path.endswith(".py"):
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        kinds = (tokenize.COMMENT, tokenize.STRING)
        pieces = [(one.start[0], one.string) for one in tokens if one.type in kinds]
    for start, piece in pieces:
        for pattern, use in _TEXT:
            for found in pattern.finditer(piece):
                yield start + piece.count("\n", 0, found.start()), found[0], "text", use


def main(files: list[str]) -> int:
    root = Path(__file__).resolve().parents[1]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True)
    paths = files or listed.stdout.decode().strip("\0").split("\0")
    found = []
    for path in paths:
        if Path(path).suffix not in _BINARY and (root / path).is_file():
            found += findings(path, (root / path).read_text("utf-8", "replace"))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
