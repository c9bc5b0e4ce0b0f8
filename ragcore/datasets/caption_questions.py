"""Simple questions with sure answers, made from an image's captions.

Several people described each image, so what two of them say is taken as seen, and what none
of them (nor a word for the same kind of thing) mentions as absent. Only captions are read: a
question is as right as they are.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = (
    "black", "white", "brown", "red", "blue", "green", "yellow", "orange", "pink", "purple",
    "gray", "tan",
)  # fmt: skip
NUMBERS = ("one", "two", "three", "four", "five", "six")
# Things to ask for, in groups: a member that is named makes its group present, so that "no" is
# not the answer for a person where the captions say "boy". Each is "singular" or "singular/plural".
GROUPS: tuple[tuple[str, ...], ...] = (
    ("person/people", "man/men", "woman/women", "boy/boys", "girl/girls", "child/children",
     "baby/babies", "lady/ladies", "guy/guys", "kid/kids", "player/players", "toddler/toddlers",
     "adult/adults", "couple/couples", "crowd/crowds", "group/groups", "someone/someone",
     "skateboarder", "snowboarder", "skier", "surfer", "biker", "cyclist", "climber", "hiker",
     "swimmer", "runner", "rider", "teenager", "friend", "team", "performer", "dancer"),
    ("dog/dogs", "puppy/puppies", "animal/animals"), ("horse/horses", "pony/ponies"),
    ("cat/cats", "kitten/kittens"), ("bird/birds", "duck/ducks", "seagull/seagulls"),
    ("ball/balls", "football", "basketball", "soccer", "tennis", "volleyball", "baseball"),
    ("bike/bikes", "bicycle/bicycles", "motorcycle/motorcycles", "motorbike/motorbikes"),
    ("car/cars", "truck/trucks", "vehicle/vehicles", "van"),
    ("boat/boats", "kayak", "canoe", "raft"),
    ("skateboard/skateboards",), ("snowboard", "snow", "ski", "skis", "sled"),
    ("water", "pool/pools", "lake/lakes", "river/rivers", "ocean", "sea", "beach/beaches",
     "wave/waves", "pond", "stream", "creek", "fountain", "puddle", "waterfall", "surf"),
    ("tree/trees", "forest", "woods", "wood", "branch"), ("grass", "field", "lawn", "yard", "park"),
    ("building/buildings", "house/houses", "city"), ("bench/benches",), ("swing/swings", "slide"),
    ("hat/hats", "cap/caps", "helmet/helmets"), ("toy/toys", "stick/sticks", "frisbee"),
    ("mountain/mountains", "hill/hills", "cliff/cliffs", "rock/rocks"), ("umbrella/umbrellas",),
    ("guitar/guitars",), ("flower/flowers",), ("table/tables",), ("camera/cameras",),
)  # fmt: skip
PLURAL = {
    plural: single
    for group in GROUPS
    for single, _, plural in (entry.partition("/") for entry in group)
    if plural and plural != single
}
GROUP_OF = {entry.partition("/")[0]: i for i, group in enumerate(GROUPS) for entry in group}
# What can be asked for: the first entries of the groups, and these besides.
ASKED = tuple(
    entry.partition("/")[0]
    for i, group in enumerate(GROUPS)
    for entry in (group[:7] if i == 0 else group[:2])
)
MASS = {"water", "snow", "grass", "soccer", "football", "basketball", "tennis", "baseball", "surf"}
SEVERAL = {"group", "crowd", "team", "couple"}  # said of people, and no answer to "what is it"
# How often a thing is asked for where it is absent, about as often as it is where it is there:
# else a model could answer by the thing alone. Others: 1.
OFTEN = {
    "dog": 10, "man": 8, "woman": 6, "person": 6, "boy": 5, "girl": 5, "water": 5, "ball": 5,
    "child": 4, "grass": 4, "snow": 4, "tree": 3, "beach": 3, "bike": 3, "field": 3,
}  # fmt: skip
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class CaptionQuestion:
    """A question about an image with its answer; `kind` is what, count, colour or is-there."""

    kind: str
    text: str
    answer: str


def words_of(caption: str) -> list[str]:
    """Lower-case words, plurals of known things kept."""
    return _WORD.findall(caption.lower().replace("grey", "gray"))


def make_questions(captions: Sequence[str], rng: random.Random) -> list[CaptionQuestion]:
    """All sure questions about one image.

    At most one each of what, count and colour, one is-there answered yes, and one answered no.
    """
    words_by_caption = [words_of(caption) for caption in captions]
    need = 2 if len(captions) > 1 else 1
    seen = Counter(
        thing
        for words in words_by_caption
        for thing in {PLURAL.get(w, w) for w in words}
        if thing in GROUP_OF
    )
    found = [
        _what(words_by_caption, rng),
        _count(words_by_caption, need, rng),
        _colour(words_by_caption, need, rng),
        _present(seen, need, rng),
        _absent(seen, rng),
    ]
    return [question for question in found if question is not None]


def with_article(thing: str) -> str:
    """A thing's name with "a" or "an", where it takes one."""
    if thing in MASS:
        return thing
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"


def _what(words_by_caption: Sequence[Sequence[str]], rng: random.Random) -> CaptionQuestion | None:
    """The thing that captions begin with, if most of them agree."""
    firsts = Counter(
        next((w for w in words if PLURAL.get(w, w) in GROUP_OF.keys() - MASS - SEVERAL), "")
        for words in words_by_caption
    )
    word, times = firsts.most_common(1)[0]
    if not word or 2 * times <= len(words_by_caption):
        return None
    text = rng.choice(("What is in the picture?", "What is it?", "What do you see?"))
    answer = word if word in PLURAL else with_article(word)
    return CaptionQuestion("what", text, f"{answer.capitalize()}.")


def _count(
    words_by_caption: Sequence[Sequence[str]], need: int, rng: random.Random
) -> CaptionQuestion | None:
    """How many of a kind, where captions give the number and none gives another."""
    counts: dict[str, Counter[str]] = {}
    for words in words_by_caption:
        for at, word in enumerate(words):
            thing = PLURAL.get(word, word)
            if thing not in GROUP_OF or thing in MASS | SEVERAL:
                continue
            before = [w for w in words[max(0, at - 3) : at] if w in (*NUMBERS, "a", "an")]
            if word in PLURAL:
                number = before[-1] if before and before[-1] in NUMBERS[1:] else "many"
            else:
                number = "one" if before else "?"
            counts.setdefault(thing, Counter())[number] += 1
    sure = [
        (PLURAL_OF[thing], numbers.most_common(1)[0][0])
        for thing, numbers in counts.items()
        if thing in PLURAL_OF and len(numbers) == 1 and numbers.total() >= need
    ]
    sure = [(things, number) for things, number in sure if number in NUMBERS]
    if not sure:
        return None
    things, number = rng.choice(sorted(sure))
    return CaptionQuestion("count", f"How many {things} are there?", f"{number.capitalize()}.")


def _colour(
    words_by_caption: Sequence[Sequence[str]], need: int, rng: random.Random
) -> CaptionQuestion | None:
    """The colour that stands before a thing, where captions agree on one."""
    colours: dict[str, Counter[str]] = {}
    for words in words_by_caption:
        for at, word in enumerate(words[1:], 1):
            thing = PLURAL.get(word, word)
            mixed = at > 2 and words[at - 2] == "and"
            if words[at - 1] in COLOURS and not mixed and (thing in GROUP_OF or thing in CLOTHES):
                colours.setdefault(thing, Counter())[words[at - 1]] += 1
    sure = [
        (thing, seen.most_common(1)[0][0])
        for thing, seen in colours.items()
        if len(seen) == 1 and seen.total() >= need
    ]
    if not sure:
        return None
    thing, colour = rng.choice(sorted(sure))
    verb = "are" if thing.endswith("s") and thing != "grass" else "is"
    spelt = rng.choice(("color", "colour"))
    return CaptionQuestion("colour", f"What {spelt} {verb} the {thing}?", f"{colour.capitalize()}.")


def _present(seen: Counter[str], need: int, rng: random.Random) -> CaptionQuestion | None:
    sure = sorted(t for t in ASKED if seen[t] >= need)
    return _is_there(rng.choice(sure), "Yes.") if sure else None


def _absent(seen: Counter[str], rng: random.Random) -> CaptionQuestion | None:
    """Something of which no caption names anything of the kind."""
    named = {GROUP_OF[thing] for thing in seen}
    sure = [t for t in ASKED if GROUP_OF[t] not in named]
    # man against woman, boy against girl: absent if some captions name the other and none this
    for one, other in (("man", "woman"), ("boy", "girl"), ("woman", "man"), ("girl", "boy")):
        if seen[other] >= 2 and not any(seen[w] for w in (one, *ALIKE[one])):
            sure.append(one)
    weights = [OFTEN.get(thing, 1) for thing in sure]
    return _is_there(rng.choices(sure, weights)[0], "No.") if sure else None


def _is_there(thing: str, answer: str) -> CaptionQuestion:
    return CaptionQuestion("is-there", f"Is there {with_article(thing)}?", answer)


PLURAL_OF = {single: plural for plural, single in PLURAL.items()}
CLOTHES = {
    "shirt", "shirts", "jacket", "dress", "coat", "hat", "pants", "shorts", "collar", "uniform",
    "helmet", "sweater", "outfit", "suit", "jersey", "uniforms",
}  # fmt: skip
ALIKE = {
    "man": ("guy", "men", "person", "adult", "people"),
    "woman": ("lady", "person", "adult", "people"),
    "boy": ("child", "kid", "toddler", "baby"),
    "girl": ("child", "kid", "toddler", "baby"),
}
