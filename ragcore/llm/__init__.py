"""Language models: one in this process or a server by URL, adapters, grammars, vision."""

from typing import TYPE_CHECKING

from ragcore.lazy import lazily
from ragcore.llm.schema import check_schema, verify_json

if TYPE_CHECKING:
    from ragcore.llm.adapters import AdapterInfo as AdapterInfo
    from ragcore.llm.adapters import AdapterStore as AdapterStore
    from ragcore.llm.batch import generate_branches as generate_branches
    from ragcore.llm.gguf_export import Precision as Precision
    from ragcore.llm.gguf_file import read_gguf as read_gguf
    from ragcore.llm.gguf_file import read_text_values as read_text_values
    from ragcore.llm.image_batch import answer_batch as answer_batch
    from ragcore.llm.image_batch import embed_prompt as embed_prompt
    from ragcore.llm.image_prompt import CAPTION_QUESTION as CAPTION_QUESTION
    from ragcore.llm.image_prompt import prompt_parts as prompt_parts
    from ragcore.llm.vision_llm import BEAMS as BEAMS
    from ragcore.llm.vision_llm import ImageAnswer as ImageAnswer
    from ragcore.llm.vision_llm import ProjectedLLM as ProjectedLLM
    from ragcore.llm.vision_llm import check_question as check_question
else:
    __getattr__ = lazily(
        __name__,
        {
            ".adapters": "AdapterInfo AdapterStore",
            ".batch": "generate_branches",
            ".gguf_export": "Precision",
            ".gguf_file": "read_gguf read_text_values",
            ".image_batch": "answer_batch embed_prompt",
            ".image_prompt": "CAPTION_QUESTION prompt_parts",
            ".vision_llm": "BEAMS ImageAnswer ProjectedLLM check_question",
        },
    )

__all__ = [
    "check_schema",
    "verify_json",
]
