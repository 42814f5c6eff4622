"""Prompts out of text: one line in which quoted words are the speech, or lines that say who speaks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from phonofilm.errors import UserError
from phonofilm.types import Prompt

APOSTROPHES = "'’‘ʼ՚＇"
"""All mean the same within a word; the first is how words are kept."""
INVISIBLE = dict.fromkeys(map(ord, "\u200b\ufeff\u00ad\u2060"))
"""Zero-width space, byte-order mark, soft hyphen and word joiner: typesetting, no part of words."""
STRAIGHT = str.maketrans(dict.fromkeys(APOSTROPHES, "'")) | INVISIBLE
QUOTES = {
    '"': '"',
    "“": "”",
    "”": "”",
    "„": '“”‟"',
    "‟": "”“",
    "«": "»",
    "»": "«»",
    "‹": "›",
    "›": "‹›",
    "＂": "＂",
    "「": "」",
    "『": "』",
    "｢": "｣",
    "〝": "〞〟",
    "❝": "❞",
}
"""What opens words that are said, and what may close them, in the world's languages."""
SINGLE = {"'": "'", "’": "’", "‘": "’", "‚": "‘’", "＇": "＇"}
"""The same for marks that may also be apostrophes."""
ANY_SINGLE = re.compile(f"[{APOSTROPHES}]")
LONGEST = 500
"""Characters between such marks, at most."""
STRAY = "".join({*QUOTES, *"".join(QUOTES.values())})
TAGS = {"<S>": "<E>", "<AUDCAP>": "<ENDAUDCAP>"}
"""Ovi's marks of speech and of other sound."""
OPENING = re.compile("|".join([*TAGS, f"[{re.escape(''.join([*QUOTES, *SINGLE]))}]"]))
TELLING = frozenset(
    ("and", "who", "she", "he", "it", "they", "then") + ("say", "says", "saying", "said", "speak", "speaks", "speaking")
)
"""The words before a quotation that introduce it; they are no part of the scene."""
COLONS = re.compile("[:：]")
JOINING = "-_'’·・\u200c\u200d"
"""What a name may hold besides letters, their marks and digits."""


def straight(text: str) -> str:
    """Words as they are kept: composed letters, typewriter apostrophes, nothing invisible."""
    return unicodedata.normalize("NFC", text).translate(STRAIGHT)


class Quotation(NamedTuple):
    """Words between two marks, and where the marks stand."""

    start: int
    words: str
    end: int
    mark: str


def quotations(line: str) -> Iterator[Quotation]:
    """What is said in a line, from left to right; raises ``UserError`` for a mark that is not closed."""
    place = 0
    while found := OPENING.search(line, place):
        mark, inside = found[0], found.end()
        if mark in SINGLE:
            end = _end_of_single(line, found.start(), SINGLE[mark])
            if end is None:
                place = inside
                continue
            close = line[end]
        else:
            closers = TAGS.get(mark) or f"[{re.escape(QUOTES[mark])}]"
            closed = re.compile(closers).search(line, inside)
            if closed is None:
                raise UserError(f"a quote is not closed in {_short(line)!r}; put the spoken words between two quotes")
            end, close = closed.start(), closed[0]
        place = end + len(close)
        yield Quotation(found.start(), line[inside:end], place, mark)


def _end_of_single(line: str, start: int, closers: str) -> int | None:
    """Where single quotes close that open at ``start``, None where the mark there is an apostrophe.

    They open behind a space and close behind a word: those of don't, of dogs', of 'tis and of rock 'n' roll do not.
    """
    after = line[start + 1 : start + 2]
    if line[max(0, start - 1) : start].isalnum() or not after.strip():
        return None
    for found in ANY_SINGLE.finditer(line, start + 1, start + LONGEST):
        place = found.start()
        before, after = line[place - 1], line[place + 1 : place + 2]
        if (before.isalnum() and after.isalnum()) or _around_n(line, place):
            continue
        if not before.strip():  # another one opens
            return None
        if found[0] in closers:
            return place
    return None


def _around_n(line: str, place: int) -> bool:
    """Whether a mark is one of the two in 'n'."""
    ahead, behind = line[place + 1 : place + 3], line[max(0, place - 2) : place]
    return (ahead[:1] == "n" and ahead[1:] in (*APOSTROPHES,)) or (behind[1:] == "n" and behind[:1] in (*APOSTROPHES,))


def prompt_of_line(line: str, *, sound: str = "", negative: str = "") -> Prompt:
    """Quoted words become speech, one entry per quotation; what is left is the scene.

    ``a man with a beard says "hello you"`` is the scene "a man with a beard". Quotes are those of any language, and
    Ovi's <S> and <E>; what stands between <AUDCAP> and <ENDAUDCAP> is the sound. Raises ``UserError`` for an open
    quote.
    """
    parts, speech, sounds, place = [], [], [sound.strip()], 0
    for quotation in quotations(line):
        parts.append(line[place : quotation.start])
        place = quotation.end
        if quotation.mark == "<AUDCAP>":
            sounds.append(" ".join(quotation.words.split()))
        else:
            parts[-1] = _without_telling(parts[-1])
            speech.append(("", " ".join(straight(quotation.words).split())))
    parts.append(line[place:])
    if any(mark in part for part in parts for mark in (*STRAY, *TAGS.values())):
        raise UserError(f"a quote is not closed in {_short(line)!r}; put the spoken words between two quotes")
    scene = re.sub(r" (?=[,;:.])", "", " ".join(" ".join(parts).split())).strip(" ,;:.")
    heard = ", ".join(filter(None, sounds))
    return Prompt(scene=scene, sound=heard, speech=tuple(s for s in speech if s[1]), negative=negative)


def _without_telling(part: str) -> str:
    """The text before a quotation without the words that introduce it."""
    while True:
        part = part.rstrip(" \t\r\n\f\v,;:：")
        word = re.search(r"\w+$", part[-12:])
        if word is None or word[0] not in TELLING or part[-len(word[0]) - 1 : -len(word[0])].isalnum():
            return part
        part = part[: -len(word[0])]


def _short(line: str) -> str:
    return line if len(line) <= 80 else f"{line[:77]}..."


def is_name(text: str) -> bool:
    """Whether text can name a speaker: one word in any script that begins with a letter, such as left, Ängela, 小明."""
    kinds = [unicodedata.category(character)[0] for character in text]
    return (
        bool(kinds) and kinds[0] == "L" and all(k in "LM" or c.isdigit() or c in JOINING for k, c in zip(kinds, text))
    )


def speaker_of(line: str) -> tuple[str, str] | None:
    """The name before a line's first colon and the words behind it; None for a line that names nobody.

    A colon before all words says that what follows has no name. What stands before "//" is an address.
    """
    colon = COLONS.search(line)
    if colon is None:
        return None
    who, words = straight(line[: colon.start()]).strip(), line[colon.end() :]
    if not who:
        return ("", words.strip()) if not words[:1].strip() else None
    return (who, words.strip()) if is_name(who) and not words.startswith("//") else None


def speech_of(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Who says what: "left: set white now" is said by left, a line without a name by the only speaker.

    One word before a colon is a name, in any script. A sentence that itself begins with a word and a colon is written
    behind one more colon: ": Note: the sea is calm". Raises ``UserError`` for a name without words, for a name of
    several words, and where only some of the lines have names.
    """
    speech = []
    for line in filter(None, (" ".join(straight(line).split()) for line in lines)):
        who, words = speaker_of(line) or ("", line)
        if not words:
            raise UserError(f"--say {_short(line)!r}: {who or 'nobody'} says nothing; put the words behind the name")
        if not who and words == line and (title := _title(line)):
            raise UserError(
                f"--say {_short(line)!r}: is {title!r} a speaker? Names are one word, {title.replace(' ', '_')} for "
                f"one; if it is to be said, write ': {_short(line)}'"
            )
        speech.append((who, words))
    named = sum(bool(who) for who, _ in speech)
    if named not in (0, len(speech)):
        nameless = next(words for who, words in speech if not who)
        raise UserError(
            f"--say {_short(nameless)!r}: who says it? with several speakers every line begins with a name of one word"
        )
    return tuple(speech)


def _title(line: str) -> str:
    """What looks like a name of two or three words before a colon: Mr. Smith, Speaker 1; "" for anything else."""
    colon = COLONS.search(line[:60])
    words = line[: colon.start()].split() if colon else []
    like = all(word[0].isupper() or word.isdigit() for word in words) and words[:1] and words[0][0].isupper()
    return " ".join(words) if 2 <= len(words) <= 3 and like else ""


def line_of(words: str) -> str:
    """A line that ``speech_of`` reads as these very words of the only speaker."""
    words = " ".join(words.split())
    return f": {words}" if speaker_of(words) or _title(words) else words


def voice_of(text: str) -> tuple[str, str]:
    """The name, "" for none, and the file of ``NAME=FILE`` or ``FILE``."""
    who, equals, path = text.strip().partition("=")
    named = bool(equals and path) and is_name(straight(who).strip())
    return (straight(who).strip(), path) if named else ("", text)
