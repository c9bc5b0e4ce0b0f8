"""How long a collection's passages are: as long as its text encoder reads, or as was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ragcore.catalog import Catalog
from ragcore.errors import UsageError
from ragcore.ingest.split import approximate_tokens
from ragcore.models import SizedTextEncoder, TextEncoder
from ragcore.types import DEFAULT_PASSAGES, PassageSize

MOST = 512  # tokens that a model is given unless more are asked for: answers quote passages
BESIDE = 36  # tokens of what an encoder reads that are left to the heading and special tokens
_LEAST = 32
_SAME = 0.2  # counts that differ less than this are the same: the estimate is no better
_REACH = "text_encoder_reach"  # in the settings of a collection

# Prose, numbers and names, to compare a tokenizer's count with the splitter's estimate.
_SAMPLE = """
The committee met on 14 March 2019 to consider the results of the survey. Of the 1,250 households
that were asked, 873 returned the questionnaire, which is a higher share than in any earlier year.
Most people said that they use the library at least once a month, chiefly to borrow books and to
read newspapers. A smaller group comes for courses, for the computers in the reading room, or to
meet friends. The report recommends longer opening hours on Saturdays, a quieter place for those
who study, and repairs to the roof above the archive, where rain came in during two storms. The
costs are estimated at 42,500 euros. Dr. Helena Whitfield, who chairs the committee, thanked the
staff for their patience and their careful work.
"""


@dataclass(frozen=True, slots=True)
class Reach:
    """How much a text encoder reads.

    `limit` tokens (0: it does not say), `factor` of which make one of the splitter's estimate.
    """

    limit: int = 0
    factor: float = 1.0


def reach_of(encoder: TextEncoder) -> Reach:
    """Measured with the encoder's tokenizer, if it has one. Loads the model."""
    if not isinstance(encoder, SizedTextEncoder):
        return Reach()
    factor = encoder.count_tokens(_SAMPLE) / approximate_tokens(_SAMPLE)
    return Reach(
        max(0, encoder.token_limit()),
        1.0 if abs(factor - 1) <= _SAME or factor <= 0 else round(factor, 2),
    )


class Sizes:
    """The size of one collection's passages: `wanted`, as far as is known without the model.

    What was found of the model is kept with the collection, under the name of its space.
    """

    def __init__(
        self,
        catalog: Catalog,
        collection: str,
        declared: int = 0,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """`declared` is what the profile says of its text encoder: tokens of a passage, or 0.

        `changes` stand for what the collection's settings say. Raises UsageError as `decide`.
        """
        self._catalog = catalog
        self._name = collection
        self._declared = declared
        row = catalog.collection(collection)
        self._settings: dict[str, Any] = {**row.settings, **(changes or {})}
        self.wanted: PassageSize | None = None
        active = catalog.active_space(row.id, "text")
        stored = self._settings.get(_REACH, {})
        if active is not None and stored.get("space") == active.name:
            self.wanted = self._size(Reach(stored["limit"], stored["factor"]))

    def decide(self, space: str, reach: Reach) -> PassageSize:
        """The size for a model of this space, which is remembered.

        Raises UsageError if the model reads less than what was asked for.
        """
        stored = {"space": space, **asdict(reach)}
        if self._settings.get(_REACH) != stored:
            self._catalog.update_collection_settings(self._name, **{_REACH: stored})
        self.wanted = self._size(reach)
        return self.wanted

    def _size(self, reach: Reach) -> PassageSize:
        asked = self._settings.get("passage_tokens") or self._declared
        read = reach.limit - BESIDE if reach.limit else 0
        if asked and read and asked > read:
            raise UsageError(
                f"collection {self._name!r} is to have passages of {asked} tokens, and its text "
                f"encoder reads {reach.limit} with the heading: `ragcore collections set "
                f"{self._name} --passage-tokens {read}`"
            )
        default = min(MOST - BESIDE, read) if read else DEFAULT_PASSAGES.tokens
        tokens = asked or max(default, _LEAST // 2)
        overlap = min(self._settings.get("overlap", 0), tokens // 2)
        return PassageSize(tokens, overlap, reach.factor)


def check_sizes(tokens: int | None, overlap: int | None) -> None:
    """Raises UsageError for sizes that passages cannot have; 0 tokens are the model's default."""
    if tokens is not None and tokens != 0 and not _LEAST <= tokens <= 8192:
        raise UsageError(f"passages have from {_LEAST} to 8192 tokens (0: what the model reads)")
    if overlap is not None and not 0 <= overlap <= 2048:
        raise UsageError("passages overlap by 0 to 2048 tokens")
