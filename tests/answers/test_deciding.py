"""Questions of yes or no: which words of a model the quotes bear out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ragcore.answers import Answerer
from ragcore.answers.citations import check_citations
from ragcore.answers.composing import decided, outright, with_reason
from ragcore.answers.composing.deciding import asked_words, closest_sentence
from ragcore.answers.run import Run
from ragcore.models import LLM
from ragcore.types import Citation, Hit, SearchResult

DOGS = (
    "Well-behaved dogs are allowed on Tuesdays and Thursdays in the east wing if all colleagues "
    "in the room agree. Dogs stay out of the kitchen."
)
FAQ = (
    "How do I clean the inlet?\n\nRinse it in clear water. Do not use pressure or a needle.\n\n"
    "Can I connect my own logger?\n\nYes. The gauge speaks Modbus RTU at 9600 baud."
)


def checked(llm: LLM, question: str, words: str, *hits: Hit) -> str:
    """The answer that comes of a model's words about these passages."""
    answerer = Answerer(llm, lambda _: SearchResult(hits), threshold=0.0)
    run = Run(answerer, question, None, None, 0.0, kind="yes_no")
    for _ in run.find(4):
        pass
    run.text = words
    answer = run.checked().answer
    assert answer is not None
    return answer.text


@pytest.mark.parametrize(
    ("said", "question", "quote", "near", "holds"),
    [
        ("Yes [1].", "Can I bring my dog to the office?", DOGS.split(" D")[0], 0.55, True),
        ("Yes [1].", "Can I bring my cat to the office?", DOGS.split(" D")[0], 0.38, False),
        ("Yes [1].", "Can I ride a horse to work?", DOGS.split(" D")[0], 0.14, False),
        ("Yes [1].", "Am I allowed to see my personnel file?",
         "You may read your own personnel file at any time.", 0.7, True),
        ("Yes [1].", "Do I need a certificate on the first day?",
         "A certificate is needed from the fourth calendar day on.", 0.64, False),
        ("No [1].", "Does it work without a battery?", "It works without a battery.", 0.9, False),
    ],
)  # fmt: skip
def test_a_permission_may_be_granted_in_other_words(
    said: str, question: str, quote: str, near: float, holds: bool
) -> None:
    assert (decided(said, question, [quote], near=near) == said) is holds


def test_the_heading_counts_for_its_sentences() -> None:
    question = "Can I take unused leave into the next year?"
    quote = "Up to five unused days are carried over and lapse on 31 March of the following year."
    assert decided("Yes [1].", question, [quote]) is None
    assert decided("Yes [1].", question, [quote], heading="Annual leave") == "Yes [1]."


def test_a_limit_is_neither_yes_nor_no() -> None:
    quote = "Alcohol is paid only on occasions with guests."
    cited = Citation(1, "Handbook", 1, 8, quote, 1, (0, len(quote)))
    assert with_reason("No [1].", "Is alcohol paid?", [cited]) == f"Within limits: “{quote}” [1]"
    assert with_reason("No [1].", "Is only alcohol paid?", [cited]).startswith("No: ")


def test_the_sentence_with_more_of_the_question_decides(
    llm: LLM, make_hit: Callable[..., Hit]
) -> None:
    question, words = "May I bring my dog into the kitchen?", "Yes, dogs are allowed [1]."
    answer = checked(llm, question, words, make_hit(1, DOGS))
    assert answer == "No: “Dogs stay out of the kitchen.” [1]"
    assert asked_words(question) == {"dog", "kitchen"}
    found = closest_sentence(question, [make_hit(2, "Nothing."), make_hit(1, DOGS)])
    assert found is not None
    assert (found[0], found[1].text, found[2]) == (1, "Dogs stay out of the kitchen.", 1.0)


def test_a_no_may_leave_the_not_to_its_quote(make_hit: Callable[..., Hit]) -> None:
    question = "May I clean the inlet with a needle?"
    found = check_citations("No, pressure or a needle [1].", question, [make_hit(1, FAQ)])
    assert [c.quote for c in found.citations] == ["Do not use pressure or a needle."]
    assert not check_citations(
        "Yes, pressure or a needle [1].", question, [make_hit(1, FAQ)]
    ).citations


def test_a_list_of_questions_and_answers_is_read_as_it_stands(
    make_hit: Callable[..., Hit], llm: LLM
) -> None:
    question, hit = "Can I connect my own logger to the gauge?", make_hit(1, FAQ)
    found = outright(question, [hit])
    assert found is not None
    word, place, start, end = found
    assert (word, place) == ("Yes", 0)
    assert hit.text[start:end] == "The gauge speaks Modbus RTU at 9600 baud."
    assert outright("Can I paint my own logger?", [hit]) is None
    short = make_hit(2, "Is the lamp red?\n\nNo, it blinks.\n\nIs it hot?\n\nYes.")
    (word, _, start, end) = outright("Is the lamp red?", [short]) or ("", 0, 0, 0)
    assert (word, short.text[start:end]) == ("No", "it blinks.")
    answerer = Answerer(llm, lambda _: SearchResult((hit,)), threshold=0.0)
    answer = answerer.ask(question)
    assert answer.text == "Yes: “The gauge speaks Modbus RTU at 9600 baud.” [1]"
