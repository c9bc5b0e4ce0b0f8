"""The prompt of a question about an image, cut where the image's embeddings go."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ragcore.types import Message

MARK = "\ufffc"  # the object replacement character: no question keeps one
CAPTION_QUESTION = "Describe the picture."

Render = Callable[[Sequence[Message]], str]


def prompt_parts(render: Render, question: str) -> tuple[str, str]:
    """(text before the image, text after it) of the rendered chat.

    The image comes before the question, so that all questions about it share what is read of
    it. The system message is left empty where the template has one: a default one of the
    template would only be more to read.
    """
    user = Message("user", f"{MARK}\n{question.replace(MARK, ' ').strip()}")
    try:
        text = render([Message("system", ""), user])
    except Exception as error:  # templates say in their own ways that they have no system role
        if "role" not in str(error).lower() and "system" not in str(error).lower():
            raise
        text = render([user])
    before, _, after = text.partition(MARK)
    return before, after
