"""All that an evaluation of a folder can measure: one probe per family, in the order of the report."""

from __future__ import annotations

from phonofilm.evaluate.paper import audiobox, clap, probes, similarity, whisper
from phonofilm.evaluate.probes import (
    emotion,
    factors,
    identity,
    keys,
    picture,
    quality,
    reconstruction,
    turns,
    voices,
    wording,
)
from phonofilm.evaluate.probes import puppets as puppet_lips
from phonofilm.evaluate.probes.probe import Pool, Probe

PROBES: tuple[Probe, ...] = (
    picture.PICTURE,
    puppet_lips.LIPS,
    puppet_lips.BALLS,
    keys.KEYS,
    turns.TURNS,
    puppet_lips.LOOK,
    puppet_lips.VOICES_HEARD,
    voices.VOICE_OF_TEN,
    voices.TURN_VOICES,
    emotion.EMOTION,
    identity.IDENTITY,
    factors.FACTORS,
    reconstruction.RECONSTRUCTION,
    wording.WORDS,
    wording.LINES,
    wording.ALIGN,
    wording.WORD_TIMES,
    quality.DNSMOS,
    quality.SPEAKER,
    quality.MOUTH,
    reconstruction.PESQ_PROBE,
    reconstruction.STOI_PROBE,
    probes.SYNC,
    whisper.WHISPER,
    clap.CLAP,
    audiobox.AUDIOBOX,
    similarity.SIM,
)


def probe_named(name: str) -> Probe:
    """The probe of ``PROBES`` that has a name."""
    return next(probe for probe in PROBES if probe.name == name)


POOLS: tuple[Pool, ...] = (factors.FACTOR_FRECHET, quality.SPEAKER_EER, quality.MOUTH_LOUDNESS)
