"""What puppets say: closed grammars of slots and templates, from which sentences and JSGF are both made."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import NamedTuple


class Grammar(NamedTuple):
    """Templates with slots in braces; every slot is a closed table."""

    name: str
    templates: tuple[str, ...]
    slots: Mapping[str, tuple[str, ...]]


GRID = Grammar(
    "grid",
    ("{command} {colour} {preposition} {letter} {digit} {adverb}",),
    {
        "command": ("bin", "lay", "place", "set"),
        "colour": ("blue", "green", "red", "white"),
        "preposition": ("at", "by", "in", "with"),
        "letter": tuple("abcdefghijklmnopqrstuvxyz"),  # without w, whose name is long
        "digit": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        "adverb": ("again", "now", "please", "soon"),
    },
)

_SLOTS = {
    name: tuple(words.split())
    for name, words in {
        "person": "mother father sister brother uncle aunt cousin teacher doctor neighbor friend daughter son "
        "baker painter farmer captain singer",
        "animal": "dog cat bird horse rabbit duck mouse fish sheep cow goat turtle",
        "food": "apple bread cheese soup rice cake pizza salad banana carrot honey pasta potato lemon cookie pie",
        "drink": "water tea coffee milk juice",
        "place": "garden kitchen park school market office library station museum river beach forest city "
        "village hotel theater harbor bridge castle farm",
        "thing": "book chair table window door lamp box key phone camera letter picture piano guitar hat coat "
        "shoe bag cup plate clock ticket map bottle pencil basket kite bicycle",
        "quality": "big small young new quiet little lovely strange tall clean warm cold bright heavy broken "
        "simple famous round perfect",
        "mood": "happy tired hungry busy angry ready late lucky proud calm",
        "hue": "red green blue yellow black white brown orange purple grey",
        "did": "found lost bought sold painted carried broke opened closed cleaned moved took made brought saw",
        "do": "find open close bring hold carry paint watch clean move take show buy sell draw",
        "go": "walk run drive fly return travel go",
        "when": "today tomorrow tonight now later soon",
        "often": "always never often sometimes",
        "day": "monday tuesday wednesday thursday friday saturday sunday",
        "how": "slowly quickly quietly gently again together alone",
        "number": "two three four five six seven eight nine ten",
        "weather": "sunny rainy windy cloudy foggy snowy",
        "whose": "my your our his her their",
        "we": "i you we they",
        "animals": "dogs cats birds horses rabbits ducks goats cows",
    }.items()
}

TALK = Grammar(
    "talk",
    (
        "where is {whose} {quality} {thing}",
        "my {person} {did} the {hue} {thing}",
        "can you {do} the {thing} {when}",
        "{we} will {go} to the {place} {when}",
        "there is a {animal} in the {place}",
        "{we} {did} {number} {animals} near the {place}",
        "would you like some {food} and {drink}",
        "please {do} that {hue} {thing} {how}",
        "it will be {weather} here on {day}",
        "why is {whose} {person} so {mood} today",
        "{whose} {person} {often} likes {food} with {drink}",
        "{we} saw a {quality} {hue} {animal}",
        "do not {do} the {quality} {thing}",
        "how was the {place} on {day}",
        "the {animal} wants more {food} {when}",
        "who {did} {whose} {quality} {thing}",
        "what a {quality} {place} this is",
        "{we} really need a {quality} {thing}",
        "let us {go} from the {place} {how}",
        "this {thing} is for {whose} {person}",
        "{number} {animals} {go} {how} by the {place}",
        "i think the {person} is {mood}",
        "could {we} {do} {number} of them",
        "thank you for the {quality} {food}",
    ),
    _SLOTS,
)

PAIRS = (
    ("who is there", "your {person}"),
    ("are you {mood}", "very {mood}"),
    ("{hue} or {hue}", "{hue} please"),
    ("{drink} or {drink}", "some {drink}"),
    ("how many {animals}", "only {number}"),
    ("what time", "at {number}"),
    ("which day", "on {day}"),
    ("is it {weather}", "not {when}"),
    ("some {food}", "no {drink}"),
    ("to the {place}", "yes {when}"),
)
"""Questions and answers for two puppets, short enough that both fit a clip of two seconds."""

TURNS = Grammar("turns", tuple(dict.fromkeys(line for pair in PAIRS for line in pair)), _SLOTS)

GRAMMARS = {grammar.name: grammar for grammar in (GRID, TALK, TURNS)}


def _slots_of(template: str) -> list[str]:
    return [part[1:-1] for part in template.split() if part.startswith("{")]


def fill(template: str, slots: Mapping[str, tuple[str, ...]], rng: random.Random) -> str:
    """One sentence of a template; a slot that comes twice gets two different entries."""
    words, used = [], set()
    for part in template.split():
        if part.startswith("{"):
            part = rng.choice([entry for entry in slots[part[1:-1]] if entry not in used])
            used.add(part)
        words.append(part)
    return " ".join(words)


def sentence(grammar: Grammar, rng: random.Random) -> str:
    """One sentence, templates and slot entries equally likely."""
    return fill(rng.choice(grammar.templates), grammar.slots, rng)


def words(grammar: Grammar) -> tuple[str, ...]:
    """All words of a grammar, sorted."""
    fixed = {part for line in grammar.templates for part in line.split() if not part.startswith("{")}
    slots = {name for line in grammar.templates for name in _slots_of(line)}
    return tuple(sorted(fixed | {word for name in slots for word in grammar.slots[name]}))


def jsgf(grammar: Grammar) -> str:
    """The grammar in JSpeech Grammar Format, as pocketsphinx reads it."""
    used = dict.fromkeys(name for line in grammar.templates for name in _slots_of(line))
    lines = [line.replace("{", "<").replace("}", ">") for line in grammar.templates]
    rules = [f"<{name}> = {' | '.join(grammar.slots[name])};" for name in used]
    return "\n".join(
        ["#JSGF V1.0;", f"grammar {grammar.name};", f"public <sentence> = {' | '.join(lines)};", *rules, ""]
    )
