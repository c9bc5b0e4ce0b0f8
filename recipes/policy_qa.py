"""House rules and questions about them: "are we allowed to ...?", answered yes, no, or not at all.

Reading comprehension sets hardly contain such questions, and a small model untuned says yes to
all of them. A rule names a category ("Pets are not allowed in the office."), the question an
instance ("May I bring a dog?"), so the step from one to the other has to be learnt.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ragcore.answers.prompt import ABSTENTION, PromptDocument
from ragcore.tuning.lora.packing import GroundedExample


@dataclass(frozen=True, slots=True)
class _Topic:
    noun: str  # subject of the rule, "Pets"
    verb: str  # "is" or "are"
    acts: tuple[str, ...]  # instances, "bring a dog to the office"


def _topic(line: str) -> _Topic:
    rule, *acts = line.split(" | ")
    noun, _, verb = rule.rpartition(" ")
    return _Topic(noun, verb, tuple(acts))


# The rule's subject and verb, then instances.
_TOPICS = tuple(
    _topic(line)
    for line in """\
Pets are | bring a dog | keep a hamster here | take a cat along
Hot meals are | eat a bowl of soup | have a pizza | heat up a curry
Alcoholic drinks are | drink a beer | have a glass of wine | open some whisky
Smoking is | smoke a cigarette | light a pipe | have a cigar
Private telephone calls are | call a friend | ring up my sister | phone my bank
Loud music is | play rock songs on a speaker | turn up the radio
Social media are | scroll through Facebook | post on Instagram
Personal visitors are | invite my parents | show a friend around
Open flames are | light a candle | burn incense | use a gas burner
Bicycles are | bring a mountain bike inside | park my bike in the hall
Photographs are | take a selfie | snap a picture of the machines
Casual clothes are | wear jeans | come in shorts | wear a hoodie
Naps are | sleep for twenty minutes | doze in the armchair
Online shopping is | order shoes on the web | buy a present online
Water sports are | swim in the lake | go rowing | surf here
Ball games are | kick a football around | play tennis | throw a basketball
Card games are | play poker | have a round of bridge | play rummy
Gambling is | bet on horses | play roulette
Musical instruments are | practise the violin | play the drums
Video streaming is | watch a series | look at a film on my laptop
Remote work is | work from home | work from a café
Overtime is | work longer than eight hours | stay until ten at night
Private parcels are | have a package delivered | receive my mail here
Electric heaters are | plug in a fan heater | use an electric radiator
Power tools are | use a drill | run a circular saw
Drones are | fly a quadcopter
Tents are | camp overnight | put up a tent
Fireworks are | set off a rocket | light firecrackers
Skateboards and scooters are | ride a skateboard | use a kick scooter
Sandals are | wear flip-flops | come in open shoes
Personal software is | install a game | set up my own editor
USB sticks are | plug in a memory stick | copy files to a USB drive
Food and drink are | eat a sandwich | drink coffee | have some crisps
Fishing is | catch trout | put out a fishing line
Barbecues are | grill sausages | have a cookout
Collections of money are | raise funds for charity | sell raffle tickets
Political posters are | hang up a campaign poster | put up election placards
Late arrivals are | come in after ten | arrive an hour late
Fitness exercises are | do push-ups | lift weights | stretch on a mat
Board games are | play chess | play Monopoly | have a game of draughts
""".splitlines()
)
# Categories in words of many kinds: a fixed list would be learnt by heart and recited.
_LEISURE_QUALITIES = ("Leisure", "Fun", "Social", "Idle", "Playful", "Private", "Free-time",
                      "Spare-time", "Personal", "Non-work", "Sociable", "Merry")  # fmt: skip
_LEISURE_KINDS = ("activities", "hobbies", "pastimes", "pursuits", "amusements", "diversions",
                  "entertainments", "games and hobbies", "contests")  # fmt: skip
_LEISURE_ACTS = (
    "play darts", "play table tennis", "do a jigsaw puzzle", "watch a match", "knit a scarf",
    "go bowling", "play billiards", "read a comic", "paint a picture", "do a crossword",
    "fly a kite", "sing karaoke", "dance", "toss a frisbee", "juggle", "play bingo",
    "build a model train", "have a round of mini golf", "play air hockey", "shoot some pool",
    "play a video game", "play dominoes", "have a snowball fight", "play pinball",
)  # fmt: skip


def _leisure(rng: random.Random) -> _Topic:
    noun = f"{rng.choice(_LEISURE_QUALITIES)} {rng.choice(_LEISURE_KINDS)}"
    return _Topic(noun, "are", _LEISURE_ACTS)


_WHERE = (
    "in the office", "on the premises", "in the reading room", "during the night shift",
    "in the laboratory", "at the front desk", "during meetings", "in the workshop",
    "on weekdays", "in company cars", "in the dormitory", "on school grounds",
    "during opening hours", "in shared rooms", "before noon", "during lessons",
    "while on duty", "in the warehouse", "during the working day", "at any time",
)  # fmt: skip
_FORBID = (
    "{noun} {verb} not permitted {where}",
    "{noun} {verb} not allowed {where}",
    "{noun} {verb} prohibited {where}",
    "{noun} {verb} strictly forbidden {where}",
    "{noun} {verb} not to be tolerated {where}",
    "{noun} {verb} banned {where}",
)
_ALLOW = (
    "{noun} {verb} permitted {where}",
    "{noun} {verb} allowed {where}",
    "{noun} {verb} welcome {where}",
    "{noun} {verb} fine {where}",
    "{noun} {verb} expressly allowed {where}",
)
_ASK = (
    "Are we allowed to {act} {where}?", "Can I {act} {where}?", "May employees {act}?",
    "Is it OK to {act} {where}?", "Am I permitted to {act} {where}?", "Is it allowed to {act}?",
    "Could I {act} {where}?", "Can we {act}?", "Is it fine to {act} {where}?",
    "May I {act} {where}?", "Would it be possible to {act} {where}?", "Do the rules let us {act}?",
    "Is there any rule against it if I {act}?", "I want to {act} {where}. Is that allowed?",
)  # fmt: skip
_FACTS = (
    ("Full-time staff have {n} days of paid leave a year", "{n} days",
     ("How many days of leave do full-time staff have?", "How long is the yearly holiday?")),
    ("Expenses must be handed in within {n} days", "Within {n} days",
     ("By when must expenses be handed in?", "How soon do I have to submit expenses?")),
    ("The probation period lasts {n} months", "{n} months",
     ("How long is probation?", "How long does the probation period last?")),
    ("The notice period is {n} weeks", "{n} weeks",
     ("What is the notice period?", "How many weeks of notice are required?")),
    ("Passwords have to be changed every {n} days", "Every {n} days",
     ("How often must passwords be changed?",)),
    ("The assembly point in case of fire is {place}", "{place}",
     ("Where do we meet if there is a fire?", "Where is the assembly point?")),
    ("Lost badges are reported to {who}", "{who}",
     ("Who should be told about a lost badge?", "I lost my badge. Whom do I tell?")),
    ("Rooms are booked through {who}", "{who}", ("Who books rooms?", "How do I get a room?")),
    ("Sick notes are due on day {n}", "On day {n}", ("When is a sick note due?",)),
    ("The canteen closes at {n} o'clock", "At {n} o'clock", ("When does the canteen close?",)),
    ("A parking permit costs {n} euros a month", "{n} euros a month",
     ("What does a parking permit cost?", "How much do I pay for parking?")),
    ("First aid boxes hang beside {place}", "Beside {place}",
     ("Where are the first aid boxes?", "Where can I find a plaster?")),
)  # fmt: skip
_PLACES = ("the north gate", "the car park", "the main stairs", "the bus stop", "the old oak",
           "the loading ramp", "the kitchen door", "the fountain")  # fmt: skip
_WHO = ("the security desk", "the personnel office", "Ms Okafor", "the caretaker", "Mr Lindgren",
        "the IT help desk", "the reception", "the site manager")  # fmt: skip
_FILLER = (
    "Please read this section with care.", "Questions go to your manager.",
    "The rules are reviewed every spring.", "Everybody is expected to help.",
    "Exceptions are granted in writing only.", "This applies to all sites.",
    "Breaches are dealt with case by case.", "We want this to be a good place to work.",
    "Thank you for your help.", "Details can be found on the notice board.",
)  # fmt: skip
_TITLES = ("Staff rules", "House rules", "Employee guide", "Visitor information", "Site manual",
           "Library regulations", "Code of conduct", "Camp rules", "Works agreement",
           "Welcome pack", "safety.pdf", "guide_2023.docx", "")  # fmt: skip


def _lower(sentence: str) -> str:
    return sentence if sentence[:3] == "USB" else sentence[0].lower() + sentence[1:]


def _ask(topic: _Topic, where: str, rng: random.Random) -> str:
    return rng.choice(_ASK).format(act=rng.choice(topic.acts), where=where)


def _document(
    topics: Sequence[_Topic], number: int, rng: random.Random
) -> tuple[PromptDocument, list[tuple[str, str]]]:
    """One document of rules and facts, with (question, answer) pairs that cite `number`."""
    sentences: list[str] = []
    pairs: list[tuple[str, str]] = []
    for topic in topics:
        allowed = rng.random() < 0.42
        where = rng.choice(_WHERE)
        rule = rng.choice(_ALLOW if allowed else _FORBID)
        rule = rule.format(noun=topic.noun, verb=topic.verb, where=where)
        sentences.append(rule + ".")
        reply = f"{'Yes' if allowed else 'No'}, {_lower(rule)} [{number}]."
        pairs += [(_ask(topic, where, rng), reply) for _ in range(2 if rng.random() < 0.4 else 1)]
    for fact, answer, questions in rng.sample(_FACTS, rng.randint(0, 2)):
        slots = {"n": rng.randint(2, 40), "place": rng.choice(_PLACES), "who": rng.choice(_WHO)}
        sentences.append(fact.format(**slots) + ".")
        reply = answer.format(**slots)
        pairs.append((rng.choice(questions), f"{reply[0].upper()}{reply[1:]} [{number}]."))
    sentences += rng.sample(_FILLER, rng.randint(1, 4))
    rng.shuffle(sentences)
    page = rng.randint(1, 60) if rng.random() < 0.7 else None
    return PromptDocument(" ".join(sentences), rng.choice(_TITLES), page), pairs


def policy_group(rng: random.Random, *, branches: int = 12) -> list[GroundedExample]:
    """Questions about one to three documents of rules; about a quarter are not mentioned there."""
    count = rng.choice((1, 2, 2, 3))
    topics = rng.sample(_TOPICS, len(_TOPICS))
    sources: list[PromptDocument] = []
    pairs: list[tuple[str, str, int]] = []
    for number in range(1, count + 1):
        chosen = [topics.pop() for _ in range(rng.randint(1, 4))]
        if number == 1 and rng.random() < 0.6:
            chosen[0] = _leisure(rng)
        source, found = _document(chosen, number, rng)
        sources.append(source)
        pairs += [(q, a, number) for q, a in found]
    rng.shuffle(pairs)
    documents = tuple(sources)
    examples = [
        GroundedExample(q, documents, a, (a,), (n,)) for q, a, n in pairs[: branches * 3 // 4]
    ]
    for _ in range(max(2, len(examples) // 3)):
        question = _ask(topics.pop(), rng.choice(_WHERE), rng)
        examples.append(GroundedExample(question, documents, ABSTENTION))
    rng.shuffle(examples)
    return examples
