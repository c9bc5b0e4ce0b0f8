"""See docs/explanation/architecture.md."""

from typing import TYPE_CHECKING

from ragcore.lazy import lazily

if TYPE_CHECKING:
    from ragcore.evals.answers import evaluate_answers as evaluate_answers
    from ragcore.evals.answers import question_file as question_file
    from ragcore.evals.captions import evaluate_captions as evaluate_captions
    from ragcore.evals.chat import evaluate_chat as evaluate_chat
    from ragcore.evals.dialogues import evaluate_dialogues as evaluate_dialogues
    from ragcore.evals.images import evaluate_images as evaluate_images
    from ragcore.evals.qa import evaluate_qa as evaluate_qa
    from ragcore.evals.retrieval import evaluate_retrieval as evaluate_retrieval
    from ragcore.evals.structured import evaluate_structured as evaluate_structured
else:
    __getattr__ = lazily(
        __name__,
        {
            ".answers": "evaluate_answers question_file",
            ".captions": "evaluate_captions",
            ".chat": "evaluate_chat",
            ".dialogues": "evaluate_dialogues",
            ".images": "evaluate_images",
            ".qa": "evaluate_qa",
            ".retrieval": "evaluate_retrieval",
            ".structured": "evaluate_structured",
        },
    )
