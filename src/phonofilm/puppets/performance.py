"""A script performed: its sound and the curves that drive the drawing, one value per pixel frame."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.files.loudness import PEAK
from phonofilm.puppets import sounds
from phonofilm.puppets.looks import NUM_KEYS, Ball
from phonofilm.puppets.mouth import opening_curve, width_curve
from phonofilm.puppets.script import SHORTEST_BOUNCE, Event, Line, Script, contact_times
from phonofilm.puppets.sounds import level
from phonofilm.puppets.voice import SAMPLE_RATE, Phoneme, Word, speak

__all__ = ["Performance", "ball_curve", "opening_curve", "perform", "width_curve"]


@dataclass(frozen=True, kw_only=True)
class Performance:
    """What the drawing needs and what evaluation knows; P puppets, T pixel frames, N samples at 16 kHz.

    Curves hold the value at the middle of each pixel frame, (k + 0.5) / fps seconds.
    """

    script: Script
    wave: Float[Tensor, "1 N"]
    """Peak below 0.95; round(num_frames / fps * 16000) samples."""
    phonemes: tuple[tuple[Phoneme, ...], ...]
    """Per puppet."""
    words: tuple[Word, ...]
    """Of all puppets, in the order of time."""
    opening: Float[Tensor, "P T"]
    """Mouth height, 0 closed to 1 wide open."""
    width: Float[Tensor, "P T"]
    """Mouth width, 0 rounded and narrow, 0.5 at rest, 1 spread."""
    speaking: Float[Tensor, "P T"]
    """1 while the puppet speaks (from its first to its last phoneme of a line), else 0."""
    blink: Float[Tensor, "P T"]
    """Eyelids, 0 open to 1 shut."""
    head: Float[Tensor, "P T 3"]
    """Offset to the right and down in heights of the picture (within 0.03), clockwise tilt in radians (0.08)."""
    brow_raise: Float[Tensor, "P T"]
    """-1 lowered to 1 raised."""
    brow_tilt: Float[Tensor, "P T"]
    """-1 angry (inner ends down) to 1 sad (inner ends up)."""
    smile: Float[Tensor, "P T"]
    """Mouth corners, -1 down to 1 up."""
    ball: Float[Tensor, "T 2"]
    """Middle of the ball in widths of the picture from the left, and height of its lowest point above the floor in
    heights of the picture (0 at a contact); zeros without a ball."""
    keys: Float[Tensor, "T 8"]
    """How brightly each key is lit, 0 to 1; zeros without a keyboard."""


EMOTION_FACES = {
    "neutral": (0.0, 0.0, 0.1),
    "happy": (0.3, 0.0, 1.0),
    "sad": (-0.1, 0.9, -0.8),
    "angry": (-0.8, -1.0, -0.5),
    "surprised": (1.0, 0.1, 0.1),
}
"""Emotion -> brow raise, brow tilt, smile."""


def perform(script: Script) -> Performance:
    """Play a script: speak or sound it and compute every curve; the same script is the same performance."""
    times = (torch.arange(script.num_frames, dtype=torch.float64) + 0.5) / script.fps
    count = round(script.seconds * SAMPLE_RATE)
    spoken = [_say(line, script.emotion) for line in script.lines]
    phonemes = tuple(
        tuple(p for line, (_, own, _) in zip(script.lines, spoken) if line.speaker == i for p in own)
        for i in range(len(script.looks))
    )
    people = [_movement(script, i, times) for i in range(len(script.looks))]
    face = torch.tensor(EMOTION_FACES[script.emotion])[:, None, None].expand(3, len(people), len(times))
    stack = [torch.stack(curves) for curves in zip(*people)] if people else [torch.zeros(0, len(times))] * 2
    return Performance(
        script=script,
        wave=_wave(script, [wave for wave, _, _ in spoken], count)[None],
        phonemes=phonemes,
        words=tuple(sorted((w for _, _, words in spoken for w in words), key=lambda word: word.start)),
        opening=_rows([opening_curve(own, times) for own in phonemes], times),
        width=_rows([width_curve(own, times) for own in phonemes], times),
        speaking=_rows([_speaking(script, i, spoken, times) for i in range(len(people))], times),
        blink=stack[0],
        head=stack[1] if people else torch.zeros(0, len(times), 3),
        brow_raise=face[0].clone(),
        brow_tilt=face[1].clone(),
        smile=face[2].clone(),
        ball=ball_curve(script.ball, times) if script.ball else torch.zeros(len(times), 2),
        keys=_lit(script.events, times),
    )


_Spoken = tuple[Tensor, tuple[Phoneme, ...], tuple[Word, ...]]


def _say(line: Line, emotion: str) -> _Spoken:
    """A line's sound, phonemes and words, in seconds of the clip."""
    said = speak(line.words, line.voice, rate=line.rate, emotion=emotion)
    start = round(line.start * SAMPLE_RATE) / SAMPLE_RATE  # where the samples go
    phonemes = tuple(Phoneme(p.ipa, p.start + start, p.end + start) for p in said.phonemes)
    return said.wave, phonemes, tuple(Word(w.text, w.start + start, w.end + start, line.speaker) for w in said.words)


def _rows(curves: list[Tensor], times: Tensor) -> Tensor:
    return torch.stack(curves) if curves else torch.zeros(0, len(times))


def _speaking(script: Script, speaker: int, spoken: list[_Spoken], times: Tensor) -> Tensor:
    spans = [(own[0].start, own[-1].end) for line, (_, own, _) in zip(script.lines, spoken) if line.speaker == speaker]
    return sum((((times >= a) & (times < b)).float() for a, b in spans), torch.zeros(len(times)))


def _wave(script: Script, said: list[Tensor], count: int) -> Float[Tensor, " N"]:
    """The clip's sound on a grid of 16 bits, so that rounding on another machine does not show."""
    wave = torch.zeros(count)
    for line, own in zip(script.lines, said):
        start = round(line.start * SAMPLE_RATE)
        own = level(own)[: count - start]
        wave[start : start + len(own)] += own
    if script.stage == "ball":
        contacts = [event.seconds for event in script.events]
        wave = level(sounds.bounces(contacts, _strengths(script.ball, len(contacts)), script.seed, count))
    elif script.stage == "keyboard":
        wave = level(sounds.notes([(event.seconds, event.index) for event in script.events], count))
    elif script.stage == "rain":
        wave = level(sounds.rain(script.seed, count, heavy=script.scenery.strength == "heavy"))
    return (wave.clamp(-PEAK, PEAK) * 32767).round() / 32767


def _strengths(ball: Ball | None, count: int) -> list[float]:
    """Loudness of each contact: the speed of the fall before it, 1 at the fastest."""
    intervals = _intervals(ball, count) if ball else []
    return [interval / max(intervals) for interval in intervals]


def _intervals(ball: Ball, count: int) -> list[float]:
    """Seconds of flight before each contact; the first is as long as if there had been a contact before."""
    after = [ball.interval]
    for _ in range(count):
        after.append(max(after[-1] * ball.restitution, SHORTEST_BOUNCE))
    return [ball.interval / ball.restitution, *after][:count]


def ball_curve(ball: Ball, times: Tensor) -> Float[Tensor, "T 2"]:
    """Parabolas between contacts: across in widths of the picture, height above the floor in its heights."""
    end = times.max().item() + 2.0
    contacts = [ball.first - ball.interval / ball.restitution, *contact_times(ball, end)]
    marks = torch.tensor(contacts, dtype=torch.float64)
    index = (torch.searchsorted(marks, times, right=True) - 1).clamp(0, len(contacts) - 2)
    height = 0.5 * ball.gravity * (times - marks[index]) * (marks[index + 1] - times)
    return torch.stack([ball.x + ball.drift * times, height.clamp(min=0)], dim=1).float()


def _lit(events: tuple[Event, ...], times: Tensor) -> Float[Tensor, "T 8"]:
    keys = torch.zeros(len(times), NUM_KEYS)
    for event in events:
        if event.kind == "key":
            since = times - event.seconds
            glow = torch.where(since >= 0, torch.exp(-since.clamp(min=0) / 0.2), 0.0).float()
            keys[:, event.index] = torch.maximum(keys[:, event.index], glow)
    return keys


def _movement(script: Script, speaker: int, times: Tensor) -> tuple[Float[Tensor, " T"], Float[Tensor, "T 3"]]:
    """Blinks and the slow motion of one head: two sines per axis with random phases."""
    rng = random.Random(f"phonofilm motion {script.seed} {speaker}")
    blink, middle = torch.zeros(len(times), dtype=torch.float64), rng.uniform(0.1, 2.0)
    while middle < script.seconds:
        blink = torch.maximum(blink, torch.cos(math.pi / 2 * ((times - middle) / 0.12).clamp(-1, 1)) ** 2)
        middle += rng.uniform(1.2, 3.0)
    axes = []
    for reach in (0.02, 0.012, 0.06):
        waves = [(rng.uniform(0.2, 0.5), 0.65), (rng.uniform(0.6, 1.0), 0.35)]
        phases = [rng.uniform(0, 2 * math.pi) for _ in waves]
        sines = [share * torch.sin(2 * math.pi * rate * times + phase) for (rate, share), phase in zip(waves, phases)]
        axes.append(reach * sum(sines[1:], sines[0]))
    return blink.float(), torch.stack(axes, dim=1).float()
