"""Words heard by PocketSphinx with a closed grammar, and how many of them are wrong.

The recogniser fails on digital silence: clean speech then reads as 3 to 49 % wrong depending on the voice. So every
input, the ground truth's too, is padded with zeros and then gets seeded white noise 60 dB below its peak.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from torch import Tensor

from phonofilm.generation.prompts import straight

SAMPLE_RATE = 16000
PADDING = 0.3
"""Seconds of zeros before and after, before the noise."""
NOISE_DB = -60.0


def words(text: str) -> list[str]:
    """Split into lower-case words without punctuation; apostrophes, also typographic ones, are kept as typewriters'."""
    return re.findall(r"[a-z0-9']+", straight(text).lower())


def word_errors(said: str, heard: str) -> tuple[int, int]:
    """Count the substitutions, deletions and insertions that turn ``said`` into ``heard``, and the words said."""
    import jiwer

    reference, hypothesis = words(said), words(heard)
    if not reference:
        return len(hypothesis), 0
    if not hypothesis:
        return len(reference), len(reference)
    found = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    return found.substitutions + found.deletions + found.insertions, len(reference)


def prepare(wave: Float[Tensor, "K N"], sample_rate: int) -> bytes:
    """Turn sound into 16-bit mono PCM for the recogniser: padded, with white noise 60 dB below the peak."""
    if sample_rate != SAMPLE_RATE:
        raise ValueError(f"the recogniser hears {SAMPLE_RATE} Hz, got {sample_rate} Hz: resample first")
    mono = wave.mean(0).double().numpy()
    pad = np.zeros(round(PADDING * SAMPLE_RATE))
    mono = np.concatenate([pad, mono, pad])
    peak = np.abs(mono).max()
    noise = np.random.default_rng(0).standard_normal(len(mono)) * peak * 10 ** (NOISE_DB / 20)
    return (np.clip(mono + noise, -1, 1) * 32767).astype("<i2").tobytes()


@lru_cache(maxsize=4)
def _decoder(jsgf: str):  # noqa: ANN202
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, loglevel="FATAL")
    terminals = re.sub(r"<[^>]*>|/[^/]*/|//.*", " ", jsgf.split(";", 2)[-1].replace("public", " "))
    missing = sorted({w for w in words(terminals) if decoder.lookup_word(w) is None})
    if missing:
        raise ValueError(f"the grammar has words that the recogniser's dictionary lacks: {', '.join(missing)}")
    # As a string: a grammar file that is missing would end the interpreter.
    decoder.add_jsgf_string("closed", jsgf)
    decoder.activate_search("closed")
    return decoder


def recognise(wave: Float[Tensor, "K N"], sample_rate: int, jsgf: str) -> str:
    """Return what is heard, "" where no sentence of the grammar fits; the same for a clip in any order of clips.

    Raises ValueError for a grammar that does not parse or has words unknown to the recogniser.
    """
    decoder = _decoder(jsgf)
    decoder.reinit_feat()  # forget the previous clip's noise and mean
    decoder.start_utt()
    decoder.process_raw(prepare(wave, sample_rate), full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""
