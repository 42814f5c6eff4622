"""What happens in a clip of the synthetic corpus, decided from a seed before anything is spoken or drawn."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from phonofilm.puppets import captions, grammars, looks
from phonofilm.puppets.looks import Ball, Look, Scenery
from phonofilm.puppets.voice import RATES, VOICES, speak
from phonofilm.types import Prompt

SPLITS = ("train", "val", "test")
STAGES = ("speaker", "dialogue", "ball", "keyboard", "rain")
EMOTIONS = ("neutral", "happy", "sad", "angry", "surprised")
MIX = {"speaker": 0.85, "ball": 0.15}
"""Stages of the shipped model's training set and their shares."""
GRID_SHARE = 0.6
"""Share of the GRID grammar among the clips of one speaker; the rest is talk."""
LEAD, TAIL, GAP = 0.1, 0.1, 0.12
"""Seconds of silence aimed at before and after the speech, and between two speakers."""
SLACK = 0.03
"""Seconds by which speech may run into the silence after it."""
MAX_TRIES = 200
SHORTEST_BOUNCE = 0.2
TEMPO = {"neutral": 1.0, "happy": 1.03, "sad": 0.97, "angry": 1.05, "surprised": 1.04}
"""How an emotion changes the rate."""


class Line(NamedTuple):
    """Words that one puppet says."""

    speaker: int
    """Index into the script's looks."""
    words: str
    voice: str
    """A name in ``voice.VOICES``."""
    rate: int
    """Words per minute, as espeak-ng counts them."""
    start: float
    """Seconds."""


class Event(NamedTuple):
    """Something that is seen and heard at the same instant."""

    kind: str
    """Either "bounce" or "key"."""
    seconds: float
    index: int = 0
    """Which key, from 0 at the left; the number of the bounce."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """Everything that decides a clip in words and numbers: the same script is the same clip on any machine."""

    seed: int
    stage: str
    grammar: str
    """The name in ``grammars.GRAMMARS``; empty where nobody speaks."""
    looks: tuple[Look, ...]
    """One puppet (speaker), two (dialogue, left then right) or none."""
    lines: tuple[Line, ...]
    emotion: str
    scenery: Scenery
    events: tuple[Event, ...]
    ball: Ball | None
    num_frames: int
    fps: float
    prompt: Prompt

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return self.num_frames / self.fps


class Saying(NamedTuple):
    """A sentence, by whom and how."""

    words: str
    voice: str
    emotion: str


class _Frame(NamedTuple):
    """What all stages need to write a clip."""

    seed: int
    split: str
    num_frames: int
    fps: float
    rng: random.Random

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps

    @property
    def sound_share(self) -> float:
        return 0.7 if self.split == "train" else 1.0


class _Part(NamedTuple):
    """What the stages decide; what a stage has not stays empty."""

    stage: str
    scenery: Scenery
    grammar: str = ""
    looks: tuple[Look, ...] = ()
    lines: tuple[Line, ...] = ()
    emotion: str = "neutral"
    events: tuple[Event, ...] = ()
    ball: Ball | None = None


def split_of(text: str) -> str:
    """The split that a sentence or a combination of looks belongs to: 90 % train, 5 % val, 5 % test."""
    bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 100
    return "train" if bucket < 90 else "val" if bucket < 95 else "test"


def combination(look: Look) -> str:
    """The part of a look that splits hold out; eyes and clothes are free."""
    worn = f"{'glasses ' if look.glasses else ''}{'beard ' if look.beard else ''}"
    return f"{look.person} {look.skin} {look.hair} {look.cut} {worn}{look.background}"


def write_script(
    seed: int,
    *,
    split: str = "train",
    stage: str | None = None,
    stages: Mapping[str, float] = MIX,
    num_frames: int = 49,
    fps: float = 24.0,
) -> Script:
    """Decide a clip: who, what is said, how it looks; the same arguments give the same script on any machine.

    ``stage`` fixes the stage, otherwise it is drawn by the weights in ``stages``. The val and test splits say
    sentences and show combinations of looks that train never has. Raises ValueError for unknown names and for
    clips too short for any sentence.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: the splits are {', '.join(SPLITS)}")
    for name in [stage] if stage is not None else stages:
        if name not in CHOICES:
            raise ValueError(f"unknown stage {name!r}: the stages are {', '.join(CHOICES)}")
    if stage is None and not (all(weight >= 0 for weight in stages.values()) and sum(stages.values()) > 0):
        raise ValueError(f"{dict(stages)} are no weights of stages: give numbers from 0, at least one above")
    if num_frames < 1 or fps <= 0:
        raise ValueError(f"{num_frames} pixel frames at {fps} per second are no clip: both must be positive")
    rng = random.Random(f"phonofilm puppets {split} {seed}")
    drawn = stage if stage is not None else rng.choices(list(stages), weights=list(stages.values()))[0]
    return _WRITERS[drawn](_Frame(seed, split, num_frames, fps, rng))


def _look(frame: _Frame, person: str, background: str | None = None) -> Look:
    rng = frame.rng
    while True:
        look = Look(
            person=person,
            skin=rng.choice(looks.SKINS),
            hair=rng.choice(looks.HAIRS),
            cut=rng.choice(looks.CUTS),
            glasses=rng.random() < 0.35,
            beard=person == "man" and rng.random() < 0.45,
            eyes=rng.choice(looks.EYES),
            clothing=rng.choice(looks.CLOTHES),
            background=background or rng.choice(looks.BACKGROUNDS),
        )
        if split_of(combination(look)) == frame.split:
            return look


def _rate(saying: Saying, room: float) -> int:
    """The rate at which the words fill ``room`` seconds, within ``RATES``; 0 where even the fastest does not fit."""
    words, voice, emotion = saying
    middle = sum(RATES) // 2
    natural = speak(words, voice, rate=middle, emotion=emotion).seconds * middle / room
    if natural > RATES[1] * 1.05:
        return 0
    rate = round(min(max(max(natural, RATES[0]) * TEMPO[emotion], RATES[0]), RATES[1]))
    for faster in dict.fromkeys((rate, min(rate + 8, RATES[1]), RATES[1])):
        if speak(words, voice, rate=faster, emotion=emotion).seconds <= room + SLACK:
            return faster
    return 0


def _fits(draw: Callable[[], tuple[Saying, ...]], frame: _Frame, room: float) -> tuple[tuple[Saying, int], ...]:
    """Draw until the exchange belongs to the split and each part fits in ``room`` seconds; with the rates."""
    tries = 0
    while room > 0 and tries < MAX_TRIES:
        sayings = draw()
        if split_of(" / ".join(saying.words for saying in sayings)) != frame.split:
            continue
        tries += 1
        rates = [_rate(saying, room) for saying in sayings]
        if all(rates):
            return tuple(zip(sayings, rates))
    raise ValueError(
        f"no sentence fits in {frame.num_frames} pixel frames at {frame.fps:g} per second, which leave "
        f"{max(room, 0):.2f} s for it: ask for a longer clip"
    )


def draw_emotion(rng: random.Random) -> str:
    """Neutral in half of the cases, else any other."""
    return rng.choice(EMOTIONS[1:]) if rng.random() < 0.5 else EMOTIONS[0]


def _speaker(frame: _Frame) -> Script:
    return _saying(frame, grammars.GRID if frame.rng.random() < GRID_SHARE else grammars.TALK)


def _saying(frame: _Frame, grammar: grammars.Grammar) -> Script:
    rng = frame.rng
    voice, emotion = rng.choice(list(VOICES.values())), draw_emotion(rng)
    start = LEAD + rng.uniform(-0.02, 0.02)
    room = frame.seconds - start - TAIL + rng.uniform(-0.02, 0.02)
    ((saying, rate),) = _fits(lambda: (Saying(grammars.sentence(grammar, rng), voice.name, emotion),), frame, room)
    line = Line(0, saying.words, voice.name, rate, start)
    look = _look(frame, voice.person)
    scenery = Scenery(look.background)
    part = _Part("speaker", scenery, grammar=grammar.name, looks=(look,), lines=(line,), emotion=emotion)
    return _script(frame, part)


def _dialogue(frame: _Frame) -> Script:
    rng = frame.rng
    voices, emotion = rng.sample(list(VOICES.values()), 2), draw_emotion(rng)
    background = rng.choice(looks.BACKGROUNDS)
    room = (frame.seconds - LEAD - TAIL - GAP) / 2

    def draw() -> tuple[Saying, ...]:
        pair = rng.choice(grammars.PAIRS)
        return tuple(
            Saying(grammars.fill(template, grammars.TURNS.slots, rng), voice.name, emotion)
            for template, voice in zip(pair, voices)
        )

    lines, start = [], LEAD
    for speaker, (saying, rate) in enumerate(_fits(draw, frame, room)):
        lines.append(Line(speaker, saying.words, saying.voice, rate, start))
        start += speak(saying.words, saying.voice, rate=rate, emotion=emotion).seconds + GAP
    pair = tuple(_look(frame, voice.person, background) for voice in voices)
    part = _Part("dialogue", Scenery(background), "turns", looks=pair, lines=tuple(lines), emotion=emotion)
    return _script(frame, part)


def _ball(frame: _Frame) -> Script:
    rng = frame.rng
    while True:
        scenery = Scenery(rng.choice(looks.BACKGROUNDS), rng.choice(looks.BALLS), rng.choice(looks.FLOORS))
        distinct = len(set(scenery[:3])) == 3
        if distinct and split_of(" ".join(scenery[:3])) == frame.split:
            break
    drift = rng.uniform(-0.2, 0.2)
    interval, restitution = rng.uniform(0.45, 0.7), rng.uniform(0.8, 0.95)
    ball = Ball(
        x=0.5 + rng.uniform(-0.15, 0.15) - drift * frame.seconds / 2,
        drift=drift,
        first=rng.uniform(0.1, 0.5),
        interval=interval,
        restitution=restitution,
        gravity=8 * rng.uniform(0.35, 0.55) / (interval / restitution) ** 2,  # an apex of 0.35 to 0.55
    )
    contacts = contact_times(ball, frame.seconds)
    events = tuple(Event("bounce", seconds, i) for i, seconds in enumerate(contacts))
    return _script(frame, _Part("ball", scenery, events=events, ball=ball))


def contact_times(ball: Ball, seconds: float) -> tuple[float, ...]:
    """When the ball touches the floor before ``seconds``; intervals shrink until 0.2 s, then stay."""
    times, interval = [ball.first], ball.interval
    while times[-1] + interval < seconds:
        times.append(times[-1] + interval)
        interval = max(interval * ball.restitution, SHORTEST_BOUNCE)
    return tuple(time for time in times if time < seconds)


def _keyboard(frame: _Frame) -> Script:
    rng = frame.rng
    scenery = Scenery(rng.choice(looks.BACKGROUNDS))
    seconds, key, events = rng.uniform(0.05, 0.25), rng.randrange(looks.NUM_KEYS), []
    beat = rng.uniform(0.22, 0.32)
    while seconds < frame.seconds - 0.05:
        events.append(Event("key", seconds, key))
        steps = [step for step in (-3, -2, -1, 1, 2, 3) if 0 <= key + step < looks.NUM_KEYS]
        key += rng.choice(steps)
        seconds += beat * rng.choice((1, 1, 2))
    return _script(frame, _Part("keyboard", scenery, events=tuple(events)))


def _rain(frame: _Frame) -> Script:
    scenery = Scenery(frame.rng.choice(looks.BACKGROUNDS), strength=frame.rng.choice(looks.STRENGTHS))
    return _script(frame, _Part("rain", scenery))


def _script(frame: _Frame, part: _Part) -> Script:
    """Close a script: its prompt, and what the stage has not is empty."""
    rng, share = frame.rng, frame.sound_share
    if part.looks:
        said = tuple(line.words for line in part.lines)
        prompt = captions.speaking(part.looks, said, part.emotion, rng, sound_share=share)
    else:
        prompt = captions.showing(part.stage, part.scenery, rng, sound_share=share)
    return Script(seed=frame.seed, num_frames=frame.num_frames, fps=frame.fps, prompt=prompt, **part._asdict())


_WRITERS = {"speaker": _speaker, "dialogue": _dialogue, "ball": _ball, "keyboard": _keyboard, "rain": _rain} | {
    grammar.name: partial(_saying, grammar=grammar) for grammar in (grammars.GRID, grammars.TALK)
}
CHOICES = tuple(_WRITERS)
"""What a corpus may be mixed of: stages, and a speaker who keeps to one grammar."""
