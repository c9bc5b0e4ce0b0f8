"""Output that must follow a grammar: JSON Schema, regular expression, or a list of choices.

xgrammar (Dong et al. 2024) masks every token that cannot go on. Two things are added so that
the smallest model also gets to the end: strings and arrays without a limit get one, and when
most of the token budget is used up, the tokens that close something are preferred.
"""

from __future__ import annotations

import copy
import json
import math
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ragcore.errors import RagcoreError, UsageError
from ragcore.extras import require_extra
from ragcore.llm.patterns import check_pattern, matches
from ragcore.llm.schema import MAX_CHARACTERS, check_schema, verify_json

if TYPE_CHECKING:
    import torch

    from ragcore.models import Constraint

MAX_STRING = 300  # characters of a string whose schema sets no maxLength
MAX_ITEMS = 12  # items of an array whose schema sets no maxItems
MAX_CHOICES = 1_000
_MOST_CHARS_A_TOKEN = 8  # a string with more characters than this for each token is cut anyway
LANDING = 0.6  # share of the budget after which closing tokens are preferred
_CLOSING = re.compile(r'^[\s"\]}0-9]*["\]}][\s"\]}]*$')
_LIFT = 60.0  # logits added to closing tokens: more than any model's own preference


def check_constraint(constraint: Constraint, max_tokens: int | None = None) -> None:
    """Raises UsageError unless exactly one kind is given, well formed and within the limits.

    `max_tokens`: tokens that the answer may have.
    """
    require_extra("grammar", "answers of a given form")
    kinds = (constraint.json_schema, constraint.regex, constraint.choices)
    if sum(kind is not None for kind in kinds) != 1:
        raise UsageError("a constraint is exactly one of json_schema, regex, choices")
    if constraint.choices is not None:
        if not all(constraint.choices or ("",)):
            raise UsageError("choices must be given, and none may be empty")
        if len(constraint.choices) > MAX_CHOICES:
            raise UsageError(f"at most {MAX_CHOICES:,} choices are allowed")
        if sum(map(len, constraint.choices)) > MAX_CHARACTERS:
            raise UsageError(f"choices may have {MAX_CHARACTERS:,} characters together")
    if constraint.regex is not None:
        check_pattern(constraint.regex)
    if constraint.json_schema is not None:
        check_schema(constraint.json_schema, max_tokens)


def limited(schema: Mapping[str, Any], max_tokens: int | None = None) -> dict[str, Any]:
    """The schema with limits on strings and arrays that have none, or more than fits.

    Strings with a pattern or format are left alone: their grammar says when they end.
    """
    result: dict[str, Any] = copy.deepcopy(dict(schema))
    most = math.inf if max_tokens is None else max_tokens

    def bound(node: dict[str, Any], kind: str, usual: int, fits: float) -> None:
        least = node.get(f"min{kind}", 0)
        given = node.get(f"max{kind}", max(usual, least))
        node[f"max{kind}"] = given if given <= fits else max(int(fits), least)

    def visit(node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                visit(item)
        if not isinstance(node, dict):
            return
        kind = node.get("type")
        if kind == "string" and not {"enum", "const", "pattern", "format"} & set(node):
            bound(node, "Length", MAX_STRING, _MOST_CHARS_A_TOKEN * most)
        if kind == "array":
            bound(node, "Items", MAX_ITEMS, most)
        for key, value in node.items():
            if key not in ("enum", "const", "default", "examples"):
                visit(value)

    visit(result)
    return result


def verify(text: str, constraint: Constraint) -> None:
    """Raises RagcoreError unless `text` is what the constraint asks for, whole."""
    if constraint.json_schema is not None:
        verify_json(text, constraint.json_schema)
    elif constraint.regex is not None:
        if not matches(constraint.regex, text, whole=True):
            raise RagcoreError("the answer was cut before it matched; raise max_tokens")
    elif text not in (constraint.choices or ()):
        raise RagcoreError("the answer was cut before a choice was complete; raise max_tokens")


class GrammarCompiler:
    """Compiles constraints for one tokenizer; compiled ones are kept."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        import xgrammar

        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary)
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=2)
        self._vocabulary = vocabulary
        self._tokenizer = tokenizer
        self._kinds: tuple[torch.Tensor, torch.Tensor] | None = None
        self._lock = threading.Lock()

    def start(self, constraint: Constraint, max_tokens: int) -> Grammar:
        """A fresh matcher. Raises UsageError for what cannot be compiled."""
        check_constraint(constraint, max_tokens)
        try:
            with self._lock:
                compiled = self._compile(constraint, max_tokens)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1][:200]
            raise UsageError(f"this constraint cannot be made a grammar: {reason}") from error
        closing, control = self._token_kinds()
        never = control if constraint.json_schema is not None else None
        return Grammar(compiled, self._vocabulary, closing, never, max_tokens)

    def _compile(self, constraint: Constraint, max_tokens: int) -> Any:
        if constraint.json_schema is not None:
            schema = json.dumps(limited(constraint.json_schema, max_tokens))
            return self._compiler.compile_json_schema(schema, any_whitespace=False)
        if constraint.regex is not None:
            return self._compiler.compile_regex(constraint.regex)
        options = " | ".join(json.dumps(c, ensure_ascii=False) for c in constraint.choices or ())
        return self._compiler.compile_grammar(f"root ::= {options}")

    def _token_kinds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Float [V]: what is added to tokens that close something.

        Bool [V]: tokens with a control character, which JSON forbids and xgrammar lets into strings
        with a maxLength.
        """
        import torch

        with self._lock:
            if self._kinds is None:
                count = min(self._vocabulary, len(self._tokenizer))
                texts = [self._tokenizer.decode([token]) for token in range(count)]
                lift, control = torch.zeros(self._vocabulary), torch.zeros(self._vocabulary).bool()
                lift[:count] = torch.tensor([_LIFT * bool(_CLOSING.match(t)) for t in texts])
                control[:count] = torch.tensor([any(c < " " for c in t) for t in texts])
                lift[self._tokenizer.eos_token_id] = _LIFT
                self._kinds = lift, control
            return self._kinds


class Grammar:
    """State of one constrained answer."""

    def __init__(
        self,
        compiled: Any,
        vocabulary: int,
        closing: torch.Tensor,
        never: torch.Tensor | None,
        max_tokens: int,
    ) -> None:
        import xgrammar

        self._matcher = xgrammar.GrammarMatcher(compiled)
        self._mask = xgrammar.allocate_token_bitmask(1, vocabulary)
        self._closing = closing
        self._never = never
        self._landing = int(max_tokens * LANDING)
        self._accepted = 0

    @property
    def done(self) -> bool:
        """The end token was accepted."""
        return bool(self._matcher.is_terminated())

    def apply(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores [V] with -inf for every token that cannot come next."""
        import xgrammar

        row = scores.float()[None].clone()
        if self._accepted >= self._landing:
            row += self._closing.to(row.device)
        if self._never is not None:
            row[0, self._never.to(row.device)] = float("-inf")
        self._matcher.fill_next_token_bitmask(self._mask, 0)
        xgrammar.apply_token_bitmask_inplace(row, self._mask.to(row.device))
        return row[0]

    def accept(self, token: int) -> None:
        if not self._matcher.accept_token(token):
            raise RagcoreError("the model left its grammar; this is a bug, please report it")
        self._accepted += 1
