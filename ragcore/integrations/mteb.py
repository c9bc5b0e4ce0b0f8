"""MTEB: the text encoder of a profile as an encoder to be measured.

import mteb
from ragcore import Library
from ragcore.integrations.mteb import RagcoreEncoder

mteb.evaluate(RagcoreEncoder(Library()), mteb.get_tasks(["NFCorpus"]))
"""

from __future__ import annotations

from typing import Any

from ragcore.extras import require_extra
from ragcore.library import Library

require_extra("mteb", "MTEB adapters")

from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.types import PromptType


class RagcoreEncoder(AbsEncoder):
    """A library's text encoder, with the prompts that ragcore uses for queries and passages."""

    def __init__(self, library: Library) -> None:
        self._library = library
        space = library.models.text_space
        name, _, revision = space.name.partition("@")
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"ragcore/{name.replace('/', '__')}",
                "revision": revision,
                "embed_dim": space.dimension,
                "framework": ["PyTorch"],
            }
        )

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> Any:
        """Unit vectors [n, d] of a data loader's batches of texts, in order."""
        texts = [text for batch in inputs for text in batch["text"]]
        asked = prompt_type == PromptType.query
        return self._library.models.embed(texts, kind="query" if asked else "passage")
