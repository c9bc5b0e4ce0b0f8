# ruff: noqa: E501  # a rule is one line
"""Which kind of answer a question asks for, by rules over its English words.

Each kind is answered in its way (see `ragcore.answers.composer`). What no rule knows is a fact.
`benchmarks/kinds.jsonl` has questions with their kinds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "fact",
    "definition",
    "explanation",
    "yes_no",
    "where",
    "list",
    "how_to",
    "summary",
    "comparison",
    "collection",
    "table",
]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class RecognizedQuestion:
    """A question's kind and its `topic`: the words that say what it is about.

    `certain`: its form leaves no other kind, so that a single fact would not answer it. `sides`
    are the two things of a comparison, the document that a place is looked for in, or the word for
    the documents of which one is chosen. `wanted` says what is counted or chosen: for
    "collection" one of mentions, documents, pages, years, dated, longer, or an order such as newest; for "table" one of
    count, sum, mean, median, max, min, list; for "fact" author, or nothing.
    """

    kind: Kind
    topic: str
    certain: bool = True
    sides: tuple[str, ...] = ()
    wanted: str = ""


_POLITE = re.compile(
    r"^(?:(?:please|hello|hi|ok|okay|so|and)[,!]?\s+)*"
    r"(?:(?:can|could|would|will) you (?:please )?(?=(?:tell|give|list|name|show|explain|summari[sz]e|"
    r"compare|describe|define|write|make|help|outline|provide|find)\b))?"
    r"(?:i(?:'d| would) like (?:to (?:know|see|have|get)|(?=an? |the ))\s*|i (?:want|need) (?:to know\s+|(?=an? |the ))|"
    r"(?:tell|show) me\s+(?=what|which|how|where|who|when|why|if|whether|all|the steps|the differences?)|"
    r"do you know\s+|help me (?:to )?(?:understand|find)\s+)?(?:please\s+)?",
    re.IGNORECASE,
)

_DOCUMENT = (
    r"(?:documents?|files?|pdfs?|reports?|papers?|manuals?|guides?|books?|articles?|texts?|handbooks?|"
    r"standards?|invoices?|contracts?|letters?|e-?mails?|spreadsheets?|tables?|slides?|presentations?|"
    r"minutes|notes|brochures?|policies|agreements?)"
)
_SAYS = (
    r"(?:mentions?|contains?|says?|discuss(?:es)?|covers?|describes?|explains?|talks? about|deals? with|"
    r"refers? to|cites?|names?|uses? the words?|includes?|is about|are about|concerns?|states?|specif(?:y|ies)|"
    r"defines?|addresses|address|speaks? of)"
)

_ASKING = r"\b(?:how (?:many|much|long|often|far|old)|which|what|who|whom|when|where|why)\b"
_TWICE = re.compile(rf"{_ASKING}.+\band (?:in |on |at |by |from |to |for |with )?{_ASKING}", re.I)


def _rule(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_SUMMARY = (
    _rule(r"^(?:summari[sz]e|sum up|outline|recap|condense)\s*[:,]?\s*(?P<topic>.*)$"),
    _rule(
        r"^(?:give|write|make|provide|create|show|produce|i'd like)?\s*(?:me|us)?\s*(?:an?|the)?\s*"
        r"(?:(?:short|brief|quick|concise|long|detailed|executive|one-page|rough|general|high-level|\w+-word)\s+)*"
        r"(?:summary|overview|outline|abstract|synopsis|gist)\b(?:\s*(?:of|on|about|for|:))?\s*(?P<topic>.*)$"
    ),
    _rule(
        r"^(?:what (?:are|is)|list|name|give me|show me)?\s*(?:the\s+)?(?:main|key|most important|central|major|essential)\s+"
        r"(?:points?|ideas?|findings|takeaways?|messages?|topics?|themes?|contents?|statements|arguments?|conclusions?)"
        r"\s+(?:of|in|from|made (?:in|by))\s+(?P<topic>.*)$"
    ),
    _rule(
        r"^what (?:is|are)\s+(?P<topic>(?:this|that|these|those|the)?\s*(?:\S+\s+){0,7}?\S+)\s+(?:all |mainly |mostly )?about$"
    ),
    _rule(
        r"^(?:what|which) (?:topics|subjects|themes) (?:does|do|are)\s+(?P<topic>.*?)\s*(?:cover(?:ed)?|treat(?:ed)?|discuss(?:ed)?|deal with|address|contain|include)?(?:\s+(?:in|by)\s+.*)?$"
    ),
    _rule(r"^what does\s+(?P<topic>.*?)\s+(?:cover|deal with|talk about|discuss|treat)$"),
    _rule(r"^tl;?\s?dr[:,]?\s*(?P<topic>.*)$"),
    _rule(
        rf"^(?:describe|explain)\s+(?P<topic>(?:this|these|the (?:whole|entire|attached))\s+(?:\S+\s+)?{_DOCUMENT}.*)$"
    ),
)

_COMPARISON = (
    _rule(
        r"^compare\s+(?:what\s+)?(?P<one>.+?)\s+(?:and|with|to|against|versus|vs\.?)\s+(?P<two>.+?)"
        r"(?:\s+(?:say\s+)?(?:on|regarding|concerning|about|in terms of|with respect to|with regard to|as to)\s+(?P<topic>.+))?$"
    ),
    _rule(
        r"^(?:what(?: is| are)?|explain|describe|list|show|give|tell)?\s*(?:me)?\s*(?:the|any)?\s*(?:main |key |major |most important )?"
        r"(?:differences?|distinctions?|similarit(?:y|ies)|comparison)\s+(?:are\s+|is\s+)?(?:there\s+)?between\s+"
        r"(?P<one>.+?)\s+and\s+(?P<two>.+?)"
        r"(?:\s+(?:on|regarding|concerning|about|in terms of|with respect to|with regard to|as to)\s+(?P<topic>.+))?$"
    ),
    _rule(
        r"^(?:in what (?:way|respect)s?|how|where)\s+(?:do|does|did|is|are)\s+(?P<one>.+?)\s+"
        r"(?:differ|differs|different|deviate|distinguished?)\s+from\s+(?P<two>.+?)"
        r"(?:\s+(?:on|regarding|concerning|about|in terms of|with respect to|with regard to|as to|in)\s+(?P<topic>.+))?$"
    ),
    _rule(
        r"^(?:in what (?:way|respect)s?|how|where)\s+do\s+(?P<one>.+?)\s+and\s+(?P<two>.+?)\s+(?:differ|compare)"
        r"(?:\s+(?:on|regarding|concerning|about|in terms of|with respect to|with regard to|as to|in)\s+(?P<topic>.+))?$"
    ),
    _rule(
        r"^how does\s+(?P<one>.+?)\s+compare\s+(?:to|with|against)\s+(?P<two>.+?)"
        r"(?:\s+(?:on|regarding|concerning|about|in terms of|with respect to|with regard to|as to)\s+(?P<topic>.+))?$"
    ),
    _rule(
        r"^what (?:is|are)\s+(?:the\s+)?differences?\s+(?:of|in)\s+(?P<one>.+?)\s+(?:and|from|to)\s+(?P<two>.+)$"
    ),
    _rule(
        r"^(?P<one>.+?)\s+(?:versus|vs\.?|against|compared (?:to|with))\s+(?P<two>.+?)"
        r"(?:\s+(?:on|regarding|concerning|about|in terms of|with respect to|as to)\s+(?P<topic>.+))?$"
    ),
)

_ORDERS = {
    "newest": "newest|latest|most recent|last modified|youngest|newer|more recent",
    "oldest": "oldest|earliest|first published|older",
    "longest": "longest|most pages|thickest|longer|thicker",
    "shortest": "shortest|fewest pages|least pages|thinnest|shorter|thinner",
    "largest": "largest|biggest",
    "smallest": "smallest",
}
_ANY_ORDER = "|".join(_ORDERS.values())
_HERE = (
    r"(?:are|is|were)?\s*(?:there|here|stored|indexed|held|available|ingested|loaded|do (?:i|we|you) have|have (?:i|we|you)|"
    r"does (?:the|this) (?:collection|library|folder) (?:have|hold|contain)|(?:in|of) (?:the|this|my|our) (?:collection|library|folder)|"
    r"in (?:here|total|all)|does (?:the|this) \w+ hold)"
)
_MENTIONS = (
    _rule(
        rf"^(?:how many|which|what|list (?:all )?(?:the )?|name (?:all )?(?:the )?|show (?:me )?(?:all )?(?:the )?|find (?:all )?(?:the )?|count (?:the )?)\s*"
        rf"(?:of (?:the|these|my|our)\s+)?(?:different\s+)?{_DOCUMENT}\s+(?:in (?:the|this|my|our) (?:collection|library|folder)\s+)?"
        rf"(?:do |does )?(?:that |which )?{_SAYS}\s+(?P<topic>.+)$"
    ),
    _rule(
        rf"^in (?:how many|which|what) {_DOCUMENT}\s+(?:is|are|does|do|was|were)\s+(?P<topic>.+?)\s+"
        r"(?:mentioned|named|cited|discussed|described|covered|used|appear|appears|occur|occurs|found|referred to|come up|explained)$"
    ),
    _rule(
        r"^how (?:often|many times)\s+(?:is|are|does|do|was|were)\s+(?P<topic>.+?)\s+"
        r"(?:mentioned|named|cited|discussed|appear|appears|occur|occurs|referred to|come up|used)(?:\s+in (?:the|these|this|all|my|our)\s.*)?$"
    ),
)
_DOCUMENTS = (
    _rule(
        rf"^(?:how many|which|what|list (?:me )?(?:all )?(?:of )?(?:the |my |our )?|show (?:me )?(?:all )?(?:the |my |our )?|count (?:all )?(?:the |my |our )?)\s*"
        rf"(?:different\s+|kinds? of\s+|types? of\s+)?(?P<topic>{_DOCUMENT})(?:\s+{_HERE})*(?:\s+{_HERE})?$"
    ),
    _rule(
        r"^what (?:is|do(?:es)?) (?:in )?(?:the|this|my|our) (?:collection|library|folder)(?: (?:contain|hold|have))?(?P<topic>)$"
    ),
)
_ORDERED = _rule(
    rf"^(?:which|what)\s+(?:is|are|was)?\s*(?:of (?:the |these |my |our )?(?:\w+ )?)?(?:the\s+)?(?:(?:one\s+)?(?P<one>{_DOCUMENT})\s+(?:is|has|was|are)\s+(?:the\s+)?(?P<first>{_ANY_ORDER})"
    rf"|(?P<second>{_ANY_ORDER})\s+(?P<two>{_DOCUMENT}))"
    r"(?:\s+(?:in|of|here).*?)?(?:\s+(?:about|on|that mentions?|which mentions?|mentioning)\s+(?P<topic>.+))?$"
)
_PAGES = (
    _rule(
        r"^how many pages (?:does|do|has|have|is|are)\s+(?P<topic>.+?)(?:\s+(?:have|long|contain))?$"
    ),
    _rule(r"^how (?:long|many pages) is (?P<topic>(?:the|this)\s+(?:\S+\s+)*?" + _DOCUMENT + r")$"),
    _rule(r"^how many pages (?:are (?:there )?in|in)\s+(?P<topic>.+)$"),
)
_YEARS = _rule(
    rf"^(?:from|of|in) (?:which|what) years? (?:are|is|were|do|does)\s+(?:the\s+)?(?P<topic>{_DOCUMENT}.*)$"
)

_DATED = _rule(
    rf"^(?:how many|which|what|list (?:all )?(?:the )?)\s*{_DOCUMENT}\s+(?:(?:are|were|is|was)\s+)?(?:created|dated|written|published|made|issued)?\s*(?:in|from|of)\s+(?P<topic>(?:19|20)\d\d)$"
)
_LONGER = _rule(
    rf"^(?:how many|which|what|list (?:all )?(?:the )?)\s*{_DOCUMENT}\s+(?:(?:are|have|has|with)\s+)?(?:longer than|more than|over)\s+(?P<topic>\d{{1,6}}) pages(?: long)?$"
)

_WHERE = (
    _rule(
        r"^what (?:does|do|did) (?P<document>.+?) (?:say|state|tell(?: us| me)?|write|mention|specify) (?:about|on|of|regarding) (?P<topic>.+)$"
    ),
    _rule(
        r"^where (?:exactly )?(?:in .+? )?(?:does|do|did)\s+(?:it|they|the \w+(?: \w+){0,4}?)\s+"
        r"(?:say|state|mention|talk about|discuss|describe|explain|define|specify|write|cover)s?\s+(?:that |about |how |what )?(?P<topic>.+)$"
    ),
    _rule(
        r"^where (?:exactly )?(?:in .+? )?(?:is|are|was|were)\s+(?P<topic>.+?)\s+"
        r"(?:described|explained|mentioned|stated|defined|documented|discussed|covered|written(?: about| down)?|said|specified|treated|introduced|listed in the \w+)(?:\s+in .+)?$"
    ),
    _rule(
        r"^where (?:can|could|do|does|should|would) (?:i|we|you|one) (?:find|read|look up|look|learn)\s*(?:out )?(?:more )?(?:about|on|for|up)?\s*"
        r"(?:(?:the |some |more |any )?(?:information|details|documentation|passages?|text|rules?|description|explanation) (?:on|about|of|for)\s+)?(?P<topic>.+)$"
    ),
    _rule(
        r"^(?:on|in|under) (?:which|what) (?:pages?|sections?|chapters?|parts?|paragraphs?|clauses?|appendix|appendices|headings?)\s+"
        r"(?:of .+? )?(?:is|are|does|do|was|were|can i find|do i find|will i find)\s+(?:it say |there (?:something )?(?:about )?|i find |the \w+ (?:say|describe|mention) )?(?P<topic>.+?)"
        r"(?:\s+(?:described|explained|mentioned|stated|defined|documented|discussed|covered|written|found|shown|listed|specified|treated|appear|appears|begin|start))?$"
    ),
    _rule(
        r"^(?:which|what) (?:pages?|sections?|chapters?|parts?|paragraphs?|clauses?|passages?|appendix|appendices)\s+(?:of .+? )?"
        rf"(?:is |are )?{_SAYS}\s+(?:that |about )?(?P<topic>.+)$"
    ),
    _rule(
        r"^(?:show|find|quote|give)\s+(?:me\s+)?(?:the\s+|a\s+)?(?:passages?|sentences?|pages?|places?|sections?|quotes?|paragraphs?)\s+(?:on|about|where|that|which|in which|with)\s+(?P<topic>.+)$"
    ),
    _rule(r"^quote\s+(?:what .+? says? (?:on|about)\s+)?(?P<topic>.+)$"),
)

_AMOUNT = (
    r"\b(?:more than|less than|fewer than|at least|at most|over|under|above|below|greater than|"
    r"cheaper than|between)\s+(?:\S{1,3}\s*)?\d"
)
_TABLE = {
    "mean": r"\b(?:average|mean (?:of|value|price|number|weight|length)|the mean\b(?!ing))",
    "median": r"\bmedian\b",
    "sum": r"\b(?:total|sum of|in total|altogether|add up|combined (?:price|cost|weight|value))\b",
    "count": rf"^(?:how many|count|number of)\b(?=.*(?:{_AMOUNT}|\b(?:rows|entries|records|lines|in stock|are there for|fit|fits|in the (?:table|sheet|list|spreadsheet))\b))",
    "max": r"\b(?:highest|largest|most expensive|greatest|maximum|biggest|longest|heaviest|dearest|tallest|fastest|(?:has|have|had|with) the most)\b",
    "min": r"\b(?:lowest|smallest|cheapest|minimum|least expensive|shortest|lightest|slowest|(?:has|have|had|with) the (?:least|fewest))\b",
    "list": rf"{_AMOUNT}|\b(?:sorted|ordered|ranked) by\b|^(?:sort|rank|order)\b.*\bby\b",
}

_HOW_TO = (
    _rule(
        r"^how (?:do|does|did|can|could|should|would|must|may|shall) (?:i|we|you|one|people|users?|somebody|someone|a (?:user|developer|maintainer|person|visitor|customer)|"
        r"employees|maintainers|developers|programmers|staff|visitors)\s+(?:best )?(?P<topic>.+)$"
    ),
    _rule(
        r"^(?:explain |describe |show me |tell me |instructions (?:on|for) |give me instructions (?:on|for) |i want to know )?how to\s+(?P<topic>.+)$"
    ),
    _rule(
        r"^(?:(?:what|which) are|list|give me|show me|describe|explain|name|tell me|what)?\s*(?:all )?(?:the )?(?:\w+ )?(?:steps|procedure|instructions|process|recipe|stages)\s+"
        r"(?:are (?:needed|required|necessary) )?(?:that are needed )?(?:to|for|of|in)\s+(?P<topic>.+)$"
    ),
    _rule(
        r"^what (?:is|are)\s+(?:the )?(?:\w+ )?(?:steps|procedure|process|(?:right|recommended|best|usual|correct|easiest|simplest|proper) (?:way|procedure|method))\s+(?:to|for|of)\s+(?P<topic>.+)$"
    ),
    _rule(
        r"^what (?:do|must|should|shall|can|does) (?:i|we|you|one|a \w+|employees|maintainers) (?:have to |need to )?do\s+(?:to|in order to|when|if|before|after|for)\s+(?P<topic>.+)$"
    ),
    _rule(r"^(?:guide|walk) me through\s+(?P<topic>.+)$"),
)
_HOW_IS = _rule(
    r"^how (?:is|are)\s+(?P<topic>.+?\s+(?:\w+ed|built|made|set(?: up)?|written|done|run|sent|put|cut|read|split|given|found|chosen|shown|begun))(?P<rest>\s+.*)?$"
)

_LIST = (
    _rule(
        r"^(?:list|enumerate|name|give (?:me )?(?:a|the)?\s*(?:complete |full )?list of|show (?:me )?(?:a list of|all)|make a list of|a list of|what all are)\s+(?:me )?"
        r"(?:all |some |the |of |any |every |(?:two|three|four|five|six|seven|eight|nine|ten|\d+) )*(?P<topic>.+)$"
    ),
    _rule(
        r"^(?:what|which) are\s+(?:all )?(?:the|its|their|some|common|valid|possible|allowed|available|supported|typical)\s+(?P<topic>.+)$"
    ),
)
_PLURAL = r"(?!is\b|was\b|has\b|does\b|this\b|its\b|\w*(?:ss|us|is)\b)[\w-]+(?:s|ia|ices|ren)\b"
_VERB = r"(?:is|are|was|were|do|does|did|can|could|must|should|may|will|have|has)"
_MAYBE_LIST = (
    _rule(
        rf"^(?:what|which)\s+(?P<topic>(?:(?:different|other|kinds? of|types? of|sorts? of)\s+)?(?:(?!{_VERB}\b)[\w/.-]+\s+){{0,3}}?{_PLURAL}"
        r"\s+(?:are|do|does|can|could|must|should|may|will|have|need|exist|belong|make|apply|support|were|did)\b.*)$"
    ),
    _rule(
        r"^what (?:does|do|must|should|can|may)\s+(?P<topic>.+?\s+(?:include|contain|consist of|comprise|require|support|recommend)(?:\s+(?:in|for|on|to|from|by)\s.*)?)$"
    ),
    _rule(
        r"^what (?:is|are)\s+(?P<topic>(?:included|contained|required|needed|supported|allowed|forbidden|prohibited|covered)\b.*)$"
    ),
)

_DEFINITION = (
    _rule(
        r"^(?:define|definition of|(?:what is |what's )?the (?:definition|meaning) of)\s+(?:the (?:term|word|phrase|expression|concept)\s+)?(?P<topic>.+)$"
    ),
    _rule(
        r"^what (?:does|do|did)\s+(?:the (?:term|word|phrase|acronym|abbreviation|expression|letters|name|option|command)\s+)?(?P<topic>.+?)\s+(?:mean|stand for|refer to|denote|signify)(?:\s+(?:in|for|by|under)\s.*)?$"
    ),
    _rule(
        r"^what (?:is|are) (?:meant|understood) by\s+(?:the (?:term|word|phrase)\s+)?(?P<topic>.+)$"
    ),
    _rule(
        r"^(?:explain|describe|clarify) (?:the (?:term|word|concept|notion|idea|meaning|expression)\s+(?:of\s+)?)(?P<topic>.+)$"
    ),
    _rule(r"^what (?:exactly )?(?:is|are)\s+(?:exactly )?(?P<topic>(?:an?\s+)?[^?,;]+)$"),
    _rule(r"^what's\s+(?P<topic>(?:an?\s+)?[^?,;]+)$"),
)
# Words after which "what is …" asks for a value or a part, not for what a thing is.
_NO_TERM = re.compile(
    r"\b(?:of|for|in|on|at|to|by|from|with|when|that|which|who|if|during|after|before|between|per|"
    r"called|used|named|required|needed|allowed|the)\b|\d{3,}",
    re.IGNORECASE,
)
_YES_NO = re.compile(
    r"^(?:is|are|was|were|am|do|does|did|can|could|may|might|must|should|shall|will|would|has|have|had|"
    r"isn't|aren't|doesn't|don't|can't|won't)\b\s+\S",
    re.IGNORECASE,
)

_EXPLANATION = (
    _rule(
        r"^(?:(?:tell|teach) (?:me|us)(?: something| a (?:little )?(?:bit|little))?(?: more)?(?: about| on)|"
        r"(?:explain|describe|elaborate on|talk about|discuss|illustrate)(?: to (?:me|us))?|"
        r"give (?:me |us )?(?:some |more |an? )?(?:basic |general |brief )?(?:information|details|background|overview|idea|explanation)(?: about| on| of)|"
        r"(?:(?:know|learn|understand|hear|find out)(?: some| a bit)?(?: more)?(?: about)?)|more about|"
        r"(?:and )?(?:what|how) about)\s+(?P<topic>.+)$"
    ),
    _rule(r"^how (?:do|does|can|is|are|would)\s+(?!i\b|we\b|you\b|one\b)(?P<topic>.+)$"),
    _rule(r"^why (?:do|does|is|are|should|can|would)\s+(?P<topic>.+)$"),
    _rule(r"^what (?:does|do)\s+(?P<topic>(?!i\b|we\b|you\b).+?)\s+do$"),
)
# A few words that ask nothing: "Data isolation", "notice period for trainees".
_SENTENCE = re.compile(
    r"\b(?:who|whom|whose|what|which|when|where|why|how|am|is|are|was|were|be|do|does|did|can|could|"
    r"will|would|should|shall|has|have|had|may|might|must|if|i|we|you|he|she|it|they|that|this|there|"
    r"not|no|yes|ok|okay|thanks?|sorry|hello|hi)\b|[.!?;]\s|'",
    re.IGNORECASE,
)
_MOST_TOPIC_WORDS = 8


_AUTHOR = _rule(
    r"^who (?:wrote|authored|is the author of|are the authors of|was the author of)\s+(?P<topic>.+)$"
)


def recognize(question: str) -> RecognizedQuestion:
    """The kind of a question. Deterministic; looks at the words only, not at the documents."""
    text = " ".join(question.split()).strip()
    text = re.sub(r"[\s?!.]+$", "", text)
    plain = _POLITE.sub("", text, count=1) or text
    return (
        _comparison(plain)
        or _simple("summary", _SUMMARY, plain)
        or _collection(plain)
        or _simple("where", _WHERE, plain)
        or _how_to(plain)
        or _table(plain)
        or _list(plain)
        or _definition(plain)
        or _author(plain)
        or _explanation(plain, question)
        or RecognizedQuestion("yes_no" if _YES_NO.match(plain) else "fact", plain)
    )


def _explanation(plain: str, question: str) -> RecognizedQuestion | None:
    found = _match(_EXPLANATION, plain)
    if found is not None:
        return RecognizedQuestion("explanation", found["topic"])
    fragment = not question.rstrip().endswith("?") and not _SENTENCE.search(plain)
    if fragment and len(plain.split()) <= _MOST_TOPIC_WORDS and re.search(r"[^\W\d_]{3}", plain):
        return RecognizedQuestion("explanation", plain)
    return None


def _author(text: str) -> RecognizedQuestion | None:
    found = _AUTHOR.match(text)
    return (
        RecognizedQuestion("fact", found["topic"], certain=False, wanted="author")
        if found
        else None
    )


def _match(rules: tuple[re.Pattern[str], ...], text: str) -> re.Match[str] | None:
    return next((found for rule in rules if (found := rule.match(text))), None)


def _simple(kind: Kind, rules: tuple[re.Pattern[str], ...], text: str) -> RecognizedQuestion | None:
    found = _match(rules, text)
    if found is None:
        return None
    groups = found.groupdict()
    sides = (groups["document"],) if groups.get("document") else ()
    return RecognizedQuestion(kind, found["topic"].strip(), sides=sides)


def _comparison(text: str) -> RecognizedQuestion | None:
    found = _match(_COMPARISON, text)
    if found is None or (
        found.re is _COMPARISON[-1] and re.match(r"(?:how|what|why|who)\b", text, re.I)
    ):
        return None
    groups = found.groupdict()
    return RecognizedQuestion(
        "comparison",
        (groups.get("topic") or "").strip(),
        sides=(_bare(found["one"]), _bare(found["two"])),
    )


def _collection(text: str) -> RecognizedQuestion | None:
    found = _ORDERED.match(text)
    if found:
        words = (found["first"] or found["second"]).lower()
        order = next(name for name, forms in _ORDERS.items() if re.fullmatch(forms, words))
        of = (found["one"] or found["two"]).lower()
        return RecognizedQuestion(
            "collection", (found["topic"] or "").strip(), sides=(of,), wanted=order
        )
    for wanted, rules in (
        ("pages", _PAGES),
        ("mentions", _MENTIONS),
        ("documents", _DOCUMENTS),
        ("years", (_YEARS,)),
        ("dated", (_DATED,)),
        ("longer", (_LONGER,)),
    ):
        if found := _match(rules, text):
            return RecognizedQuestion("collection", _bare(found["topic"]), wanted=wanted)
    return None


def _table(text: str) -> RecognizedQuestion | None:
    for wanted, pattern in _TABLE.items():
        if re.search(pattern, text, re.IGNORECASE):
            return RecognizedQuestion("table", text, certain=False, wanted=wanted)
    return None


def _how_to(text: str) -> RecognizedQuestion | None:
    if found := _simple("how_to", _HOW_TO, text):
        return found
    passive = _HOW_IS.match(text)
    if passive:
        return RecognizedQuestion(
            "how_to", passive["topic"] + (passive["rest"] or ""), certain=False
        )
    return None


def _list(text: str) -> RecognizedQuestion | None:
    if found := _simple("list", _LIST, text):
        return found
    maybe = _match(_MAYBE_LIST, text)
    return RecognizedQuestion("list", maybe["topic"], certain=False) if maybe else None


def _definition(text: str) -> RecognizedQuestion | None:
    found = _match(_DEFINITION, text)
    if found is None:
        return None
    topic = found["topic"].strip()
    loose = found.re in _DEFINITION[-2:]
    if found.re is _DEFINITION[1] and re.search(r"\b(?:of|when|if|that|in|on)\b", topic):
        return None  # what something means, not a word
    term = re.sub(r"^(?:an?|the)\s+", "", topic, flags=re.IGNORECASE)
    if loose and (_NO_TERM.search(term) or len(term.split()) > 5):
        return None
    certain = not loose or not re.match(r"the\b", topic, re.IGNORECASE)
    return RecognizedQuestion("definition", _bare(topic), certain=certain)


def _bare(text: str) -> str:
    """Without quotation marks and an article in front."""
    return re.sub(r"^(?:the|an?)\s+(?=\S)", "", text.strip().strip("\"'“”‘’"), flags=re.I).strip(
        "\"'“”‘’ "
    )


def asks_twice(question: str) -> bool:
    """Whether one question asks for two things: "How many came and how many left?"."""
    return _TWICE.search(question) is not None
