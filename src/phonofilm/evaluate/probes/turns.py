"""Who speaks when, for two puppets side by side: whose mouth moves while whose turn is heard."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.probes.probe import AUDIO, Examined, Found, Measure, Probe, Unmeasured
from phonofilm.evaluate.probes.puppets import ESPEAK
from phonofilm.evaluate.readers import pitch

HOP = 0.01
QUIET_DB = -35.0
"""Below the loudest 10 ms, nobody speaks."""
SHORTEST_GAP = 0.06
"""Seconds of quiet that may part two turns."""
CLOSED = 0.1
"""Share of its pixel frames in which a mouth is at its most closed: an opening that is read there is noise."""
STILL = 0.02
"""A mouth whose opening has a standard deviation below this does not move."""
SMOOTH = 0.25
"""Seconds over which a mouth's opening is averaged."""
PREPARATION = "sound at 16 kHz mono; each half's head cut out and read as a close-up"
SPEAKING = Measure(
    name="exact.turns",
    title="two puppets: the mouth that is open is the one whose turn is heard",
    better="up",
    unit="share of spoken time",
    how="ratio",
    worst=0.0,
    preparation=PREPARATION,
)
SWITCH = Measure(
    name="exact.turn_switch_ms",
    title="two puppets: the second begins to be heard after its mouth begins to move",
    better="zero",
    unit="ms, positive: sound late",
    how="median",
    preparation=PREPARATION,
)
VOICES_RIGHT = Measure(
    name="exact.turn_voices",
    title="two puppets: each turn in a high or low voice as its speaker has",
    better="up",
    unit="share of turns",
    how="ratio",
    worst=0.0,
    preparation=PREPARATION,
    reads=AUDIO,
)


class Turns(NamedTuple):
    """Two turns heard: their borders in seconds."""

    start: float
    end_of_first: float
    start_of_second: float
    end: float


def hear_turns(wave: Float[Tensor, "1 N"], sample_rate: int) -> Turns | None:
    """Two turns parted by the longest quiet in the middle of the sound; None where there is no such quiet."""
    hop = round(HOP * sample_rate)
    count = wave.shape[-1] // hop
    power = wave[0, : count * hop].reshape(count, hop).double().square().mean(1).numpy()
    spoken = np.flatnonzero(power > power.max() * 10 ** (QUIET_DB / 10) + 1e-12)
    if len(spoken) < 2:
        return None
    first, last = spoken[0], spoken[-1]
    gaps = np.diff(spoken)
    # Within the middle three fifths: a breath in a sentence may be as long as the pause between two.
    inside = (spoken[:-1] > first + 0.2 * (last - first)) & (spoken[1:] < last - 0.2 * (last - first))
    gaps = np.where(inside, gaps, 0)
    place = int(gaps.argmax())
    if gaps[place] * HOP < SHORTEST_GAP:
        return None
    return Turns(first * HOP, (spoken[place] + 1) * HOP, spoken[place + 1] * HOP, (last + 1) * HOP)


def see_openings(video: UInt8[Tensor, "T 3 H W"]) -> Float[np.ndarray, "2 T"]:
    """How much more open than at its most closed each of two mouths is, left then right."""
    from phonofilm.puppets import readback
    from phonofilm.puppets.stage import PAIR

    height = video.shape[-2]
    unit = height / 128
    found = []
    for place in PAIR:
        side = round(128 * place.scale * unit)
        left, top = round(place.x * unit), round(place.y * unit)
        before, after = max(0, -left), max(0, left + side - video.shape[-1])
        below = max(0, top + side - height)
        part = video[..., top : top + side, max(0, left) : left + side]
        padded = torch.nn.functional.pad(part.float(), (before, after, 0, below), mode="replicate").to(torch.uint8)
        found.append(readback.read_opening(padded).numpy())
    openings = np.stack(found)
    return openings - np.quantile(openings, CLOSED, axis=1, keepdims=True)


def _read(entry: Entry, clip: Examined) -> Found:
    from phonofilm.puppets.voice import SAMPLE_RATE

    truth = entry.truth
    assert truth is not None
    wave = clip.wave
    heard = hear_turns(wave, SAMPLE_RATE)
    if heard is None:
        raise Unmeasured("no pause parts the sound into two turns")
    seen = see_openings(clip.video)
    moves = seen.std(1) >= STILL
    voices = _voices(truth.voices, wave, heard, SAMPLE_RATE)
    values = {VOICES_RIGHT.name: voices} if voices else {}
    if moves.any():
        values[SPEAKING.name] = _speaking(seen, heard, clip.fps)
    if moves.all():  # from one mouth alone nothing is taken over
        values[SWITCH.name] = (1000 * (heard.start_of_second - _begin(seen, clip.fps)), 1.0)
    return Found(values=values)


def _speaking(seen: Float[np.ndarray, "2 T"], heard: Turns, fps: float) -> tuple[float, float]:
    """Pixel frames in which the more open mouth is the one whose turn is heard, and those in which a turn is heard."""
    size = max(1, round(SMOOTH * fps))
    smooth = np.stack([np.convolve(row, np.ones(size) / size, "same") for row in seen])
    middles = (np.arange(seen.shape[1]) + 0.5) / fps
    one = (middles > heard.start) & (middles < heard.end_of_first)
    two = (middles > heard.start_of_second) & (middles < heard.end)
    right = (smooth[0] > smooth[1])[one].sum() + (smooth[1] > smooth[0])[two].sum()
    return float(right), float(one.sum() + two.sum())


def _begin(seen: Float[np.ndarray, "2 T"], fps: float) -> float:
    """Seconds at which the right mouth takes over: the border that puts most of each opening on its own side."""
    left = np.concatenate([[0.0], np.cumsum(seen[0])])
    right = np.concatenate([[0.0], np.cumsum(seen[1])])
    best = left + right[-1] - right  # left before the border, right after it
    top = np.flatnonzero(best >= best.max() - 0.05)
    return float(top[-1]) / fps


def _voices(voices: tuple[str, ...], wave: Tensor, heard: Turns, sample_rate: int) -> tuple[float, float] | None:
    """Turns in a voice of the right height, and turns; None where one has no pitch, which is neither high nor low."""
    from phonofilm.puppets.voice import VOICES

    spans = ((heard.start, heard.end_of_first), (heard.start_of_second, heard.end))
    parts = [wave[:, round(start * sample_rate) : round(end * sample_rate)] for start, end in spans]
    tones = [tone for part in parts if (tone := pitch.median_pitch(part, sample_rate)) is not None]
    if len(tones) < len(voices):
        return None
    right = sum(
        (tone > pitch.HIGH) == (VOICES[voice].height == "high") for tone, voice in zip(tones, voices, strict=True)
    )
    return float(right), float(len(voices))


def _wants(entry: Entry) -> bool:
    return entry.truth is not None and entry.truth.stage == "dialogue" and len(entry.truth.voices) == 2


TURNS = Probe("turns", (SPEAKING, SWITCH, VOICES_RIGHT), _wants, _read, ("espeakng_loader",), ESPEAK)
