"""What is sent to llama.cpp for a sampling and a constraint, and what cannot be asked of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ragcore.errors import UsageError
from ragcore.extras import require_extra
from ragcore.llm.grammar import limited
from ragcore.llm.patterns import matches_beginning
from ragcore.models import Constraint, Sampling

_MOST_INTEGER = 10**15  # without a limit a small model writes digits to the end


def sampling_fields(
    sampling: Sampling, single_tokens: Callable[[str], Sequence[int]]
) -> dict[str, Any]:
    """The request's fields for a sampling. `single_tokens` gives the token of each form of a word.

    Raises UsageError for what llama.cpp does otherwise than the contract says, or not at all.
    """
    s = sampling
    if s.repetition_penalty != 1 or s.presence_penalty or s.frequency_penalty:
        raise UsageError(
            "repetition_penalty, presence_penalty and frequency_penalty need a model of kind "
            "transformers: llama.cpp would count the prompt's words, too"
        )
    if s.no_repeat_ngram:
        raise UsageError("no_repeat_ngram needs a model of kind transformers")
    bias: dict[int, float | bool] = {}
    for word, value in s.boosted_words:
        bias |= dict.fromkeys(single_tokens(word), float(value))
    for word in s.banned_words:
        bias |= dict.fromkeys(single_tokens(word), False)
    return {
        "max_tokens": s.max_tokens,
        "temperature": s.temperature,
        "samplers": ["temperature", "top_k", "top_p"],
        "top_k": s.top_k,
        "top_p": s.top_p,
        "seed": -1 if s.seed is None else s.seed % 2**32,
        "stop": list(s.stop),
        "logit_bias": [[token, value] for token, value in bias.items()],
    }


def forced(tokens: Sequence[int]) -> str:
    """A grammar whose only answer is these tokens, none of which is a part of a character."""
    return "root ::= " + " ".join(f"<[{token}]>" for token in tokens)


def grammar_of(constraint: Constraint, max_tokens: int, *, byte_level: bool) -> str:
    """The constraint as a grammar of LLGuidance, which is inside of llama.cpp, or of its own.

    LLGuidance is for models whose tokens are `byte_level`: it mistakes words of SentencePiece for
    words without the space in front of them. Raises UsageError for what has no grammar.
    """
    if constraint.choices is not None:
        return "root ::= " + " | ".join(_quoted(choice) for choice in constraint.choices)
    if constraint.json_schema is None:
        pattern = constraint.regex or ""
        return f"%llguidance {{}}\nstart: /{_escaped(pattern)}/" if byte_level else _gbnf(pattern)
    schema = limited(constraint.json_schema, max_tokens)
    _limit_integers(schema)
    if not byte_level:
        return _gbnf(schema)
    # White space between parts would be free, and small models never stop writing it. What
    # LLGuidance does not know of a schema is left to the check of the answer.
    schema["x-guidance"] = {"whitespace_flexible": False, "lenient": True}
    return f"%llguidance {{}}\nstart: %json {json.dumps(schema)}"


def _gbnf(wanted: str | dict[str, Any]) -> str:
    """A pattern or schema in llama.cpp's own form of grammars, by way of xgrammar's."""
    require_extra("grammar", "answers of a given form")
    import xgrammar

    try:
        if isinstance(wanted, str):
            made = str(xgrammar.Grammar.from_regex(wanted))
        else:
            text = json.dumps(wanted)
            made = str(xgrammar.Grammar.from_json_schema(text, any_whitespace=False))
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1][:200]
        raise UsageError(f"this constraint cannot be made a grammar: {reason}") from error
    if "Regex(" in made:
        raise UsageError("this model takes no schema with a pattern or format: leave it out")
    return _EBNF.sub(_renamed, made)


# A literal, a class of characters, a name, what must follow a rule, and a count without an end.
_EBNF = re.compile(
    r'(?P<literal>"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\])|(?P<name>\w+)'
    r"|(?P<follows> \(=.*$)|(?P<endless>, -1\})", re.MULTILINE
)  # fmt: skip


def _renamed(part: re.Match[str]) -> str:
    """Names without "_", and escapes and counts as llama.cpp has them."""
    if part["literal"]:
        return re.sub(r"\\(.)", _escape, part[0])
    if part["name"]:
        return part[0].replace("_", "-")
    return ",}" if part["endless"] else ""


def _escape(found: re.Match[str]) -> str:
    """An escape that llama.cpp does not know, as one that it does."""
    return {"0": "\\x00", "-": "\\x2d", "^": "\\x5e"}.get(found[1], found[0])


def check_beginning(text: str, constraint: Constraint) -> None:
    """Raises UsageError if `text` cannot become a match of the constraint's pattern.

    Llama.cpp leaves out in silence a pattern that it cannot read.
    """
    if constraint.regex is not None and not matches_beginning(constraint.regex, text):
        raise UsageError(
            f"llama.cpp cannot follow the pattern {constraint.regex[:60]!r}: write it without "
            "looking ahead or back, and without references"
        )


def _limit_integers(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _limit_integers(item)
    if not isinstance(node, dict):
        return
    if node.get("type") == "integer" and not {"enum", "const"} & set(node):
        if "exclusiveMinimum" not in node:
            node.setdefault("minimum", min(-_MOST_INTEGER, _top(node)))
        if "exclusiveMaximum" not in node:
            node.setdefault("maximum", max(_MOST_INTEGER, _bottom(node)))
    for key, value in node.items():
        if key not in ("enum", "const", "default", "examples"):
            _limit_integers(value)


def _top(node: Mapping[str, Any]) -> int:
    return int(node.get("maximum", node.get("exclusiveMaximum", 0)))


def _bottom(node: Mapping[str, Any]) -> int:
    return int(node.get("minimum", node.get("exclusiveMinimum", 0)))


def _escaped(pattern: str) -> str:
    """A pattern between slashes: those inside escaped, line breaks written as such."""
    parts = []
    backslash = False
    for char in pattern:
        if char == "/" and not backslash:
            char = "\\/"
        parts.append("\\n" if char == "\n" else char)
        backslash = char == "\\" and not backslash
    return "".join(parts)


def _quoted(text: str) -> str:
    """A text as a literal of llama.cpp's grammars, which have fewer escapes than JSON."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    shown = (escapes.get(c, f"\\x{ord(c):02x}" if c < " " else c) for c in text)
    return f'"{"".join(shown)}"'
