"""Prompts of well-known text encoders, for servers and files that do not carry them."""

from __future__ import annotations

import re

_QUERY_SENTENCE = "Represent this sentence for searching relevant passages: "
_QWEN = (
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)

# By a part of the model's name: what its model card says to put before a query and a passage.
_PROMPTS: tuple[tuple[str, str, str], ...] = (
    (r"nomic-embed-text", "search_query: ", "search_document: "),
    (r"embeddinggemma", "task: search result | query: ", "title: none | text: "),
    (r"qwen3-embedding", _QWEN, ""),
    (r"harrier-oss", _QWEN.replace("\nQuery:", "\nQuery: "), ""),
    (r"mxbai-embed", _QUERY_SENTENCE, ""),
    (r"snowflake-arctic-embed", _QUERY_SENTENCE, ""),
    (r"bge-(small|base|large)-en", _QUERY_SENTENCE, ""),
    (r"(^|[/_-])(multilingual-)?e5-(small|base|large)(?!.*instruct)", "query: ", "passage: "),
)


def known_prompts(name: str) -> dict[str, str]:
    """The options query_prompt and passage_prompt of the encoder called `name`; empty: none known.

    Example:
        >>> known_prompts("nomic-embed-text:latest")
        {'query_prompt': 'search_query: ', 'passage_prompt': 'search_document: '}
    """
    for pattern, query, passage in _PROMPTS:
        if re.search(pattern, name.lower()):
            prompts = {"query_prompt": query, "passage_prompt": passage}
            return {option: text for option, text in prompts.items() if text}
    return {}
