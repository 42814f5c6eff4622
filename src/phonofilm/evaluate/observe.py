"""What a clip shows, what it sounds like, and what both mean for the case that asked for it.

Picture and sound are observed apart, so that a control which harms one of them costs nothing for the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from phonofilm.errors import UserError
from phonofilm.evaluate import events, lips, pitch, speech
from phonofilm.evaluate.heldout import Case
from phonofilm.evaluate.metrics import TOLERANCE, Observation
from phonofilm.evaluate.nearest import nearest
from phonofilm.files.resample import resample
from phonofilm.puppets import bounces, grammars, readback
from phonofilm.puppets.mouth import opening_curve
from phonofilm.puppets.performance import Performance, perform
from phonofilm.puppets.script import Script
from phonofilm.puppets.stage import draw
from phonofilm.puppets.voice import SAMPLE_RATE, Phoneme
from phonofilm.types import Clip

HIGH = 150.0
"""Hz between low and high voices: over all emotions the puppets' men speak at 72 to 130 Hz, the women from 176 Hz."""
REACH = 0.3
"""Seconds between a contact and an onset that may still count for the offset."""
LOOKED_AT = 8
"""Pixel frames from which the looks are read, evenly spread: they do not change within a clip."""


@dataclass(frozen=True, kw_only=True)
class VideoObservation:
    """What the pixels of a clip show; None where the case has nothing of the kind."""

    opening: Float[np.ndarray, " T"] | None = None
    look: dict[str, str | bool] | None = None
    contacts: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class AudioObservation:
    """What the samples of a clip say; None where the case has nothing of the kind or it could not be measured."""

    heard: str | None = None
    opening: Float[np.ndarray, " T"] | None = None
    """The mouth opening that the words imply at the times at which they are heard."""
    onsets: tuple[float, ...] | None = None
    pitch: float | None = None
    nearest: str | None = None
    """Name of the voice that is the nearest of ten."""


@lru_cache(maxsize=64)
def _performed(script: Script) -> Performance:
    return perform(script)


def true_clip(case: Case, *, size: int = 128) -> Clip:
    """Make the clip that the case's script describes: the ground truth."""
    performance = _performed(case.script)
    video = draw([performance], size=size).video[0]
    return Clip(video=video, audio=performance.wave, fps=case.script.fps, sample_rate=SAMPLE_RATE)


def see(case: Case, video: UInt8[Tensor, "T 3 H W"], fps: float) -> VideoObservation:
    """Read from the pixels what the case asks for."""
    if case.group == "ball":
        return VideoObservation(contacts=bounces.read_contacts(video, fps))
    look = readback.read_look(video[:: max(1, len(video) // LOOKED_AT)])
    return VideoObservation(opening=readback.read_opening(video).numpy(), look=look)


def hear(case: Case, clip: Clip) -> AudioObservation:
    """Read from the sound what the case asks for, words among it."""
    sound = hear_exactly(case, clip)
    if case.group == "ball":
        return sound
    grammar = grammars.jsgf(grammars.GRAMMARS[case.script.grammar])
    return replace(sound, heard=speech.recognise(_mono(clip), SAMPLE_RATE, grammar))


def hear_exactly(case: Case, clip: Clip) -> AudioObservation:
    """Read from the sound what signal processing alone tells: everything but the words, so without PocketSphinx."""
    wave = _mono(clip)
    if case.group == "ball":
        return AudioObservation(onsets=events.hear_onsets(wave, SAMPLE_RATE))
    opening = implied_opening(case, wave, num_frames=len(clip.video), fps=clip.fps)
    name = nearest_voice(case, wave) if case.group == "voice" else None
    return AudioObservation(opening=opening, pitch=pitch.median_pitch(wave, SAMPLE_RATE), nearest=name)


def nearest_voice(case: Case, wave: Float[Tensor, "1 N"]) -> str | None:
    """Return the name of the voice that, saying the case's words, is nearest to a sound; None if too little is voiced.

    A clip without one counts as wrong.
    """
    try:
        return nearest(case.words, wave, rate=case.script.lines[0].rate, emotion=case.script.emotion)
    except UserError:
        return None


def _mono(clip: Clip) -> Float[Tensor, "1 N"]:
    return resample(clip.audio.mean(0, keepdim=True), clip.sample_rate, SAMPLE_RATE)


def implied_opening(
    case: Case, wave: Float[Tensor, "K N"], *, num_frames: int, fps: float
) -> Float[np.ndarray, " T"] | None:
    """Return the opening of a puppet's mouth that says the case's words when they are heard; None where none are.

    espeak-ng's rendering of the sentence by the case's voice is warped onto the sound, and its phonemes with it.
    """
    if wave.abs().amax() < lips.SILENCE or wave.shape[-1] < SAMPLE_RATE // 4:
        return None
    truth = _performed(case.script)
    times = lips.align(truth.wave, wave, SAMPLE_RATE)
    if times.likeness < lips.LEAST_LIKENESS:
        return None
    moved = [Phoneme(p.ipa, times.to_sound(p.start), times.to_sound(p.end)) for p in truth.phonemes[0]]
    middles = (torch.arange(num_frames, dtype=torch.float64) + 0.5) / fps
    return opening_curve(moved, middles).numpy()


def judge(case: Case, picture: VideoObservation, sound: AudioObservation, *, condition: str, fps: float) -> Observation:
    """Compare what is seen and heard with each other and with what the case asked for."""
    blank = Observation(id=case.id, group=case.group, voice=case.voice, condition=condition, said=case.words)
    if case.group == "ball":
        if picture.contacts is None or sound.onsets is None:
            return blank
        seen, heard = picture.contacts, sound.onsets
        found = events.match(seen, heard, TOLERANCE)
        # Offsets are looked for further away, so that a delay shows as what it is.
        offsets = events.match(seen, heard, REACH).offsets
        return replace(
            blank,
            events=(found.pairs, found.seen, found.heard),
            event_offset=float(np.median(offsets)) if offsets else None,
        )
    lip = None
    if picture.opening is not None and sound.opening is not None:
        lip = lips.compare(picture.opening, sound.opening, fps)
    high = None if sound.pitch is None else sound.pitch > HIGH
    return replace(
        blank,
        heard=sound.heard,
        errors=None if sound.heard is None else speech.word_errors(case.words, sound.heard)[0],
        correlation=lip.correlation if lip else None,
        offset=lip.offset if lip else None,
        look=picture.look,
        right=right(case, picture.look),
        pitch=sound.pitch,
        voice_right=None if high is None else high == case.high,
        voice_of_ten=None if sound.nearest is None else sound.nearest == case.voice,
    )


def right(case: Case, look: dict[str, str | bool] | None) -> dict[str, bool] | None:
    """Tell for each attribute whether it is the one asked for."""
    if look is None:
        return None
    asked = case.script.looks[0]._asdict()
    return {name: value == asked[name] for name, value in look.items()}
