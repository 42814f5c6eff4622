"""Distance between the factors read from clips and those of their truths, as sets: mode collapse shows here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.paper.frechet import frechet
from phonofilm.evaluate.probes.probe import Examined, Found, Measure, Pool, Probe, Unmeasured
from phonofilm.evaluate.probes.puppets import ESPEAK
from phonofilm.evaluate.readers import pitch

FRECHET = Measure(
    name="exact.factor_frechet",
    title="Frechet distance of factors read (looks, voice high or low) from those of the truths, one clip as good as "
    "another: says nothing of single prompts",
    better="down",
    unit="squared distance",
    preparation="20 numbers a clip: one-hot words of looks, high voice; 1e-6 on the diagonals",
)


def factor_vector(look: Mapping[str, Any], *, high: bool) -> tuple[float, ...]:
    """Looks and the voice's height as numbers."""
    from phonofilm.puppets import looks

    tables = {"background": looks.BACKGROUNDS, "hair": looks.HAIRS, "skin": looks.SKINS, "cut": looks.CUTS}
    found = [float(look[name] == word) for name, table in tables.items() for word in table]
    return (*found, float(look["glasses"]), float(look["beard"]), float(high))


def _read(entry: Entry, clip: Examined) -> Found:
    from phonofilm.puppets.voice import VOICES

    assert entry.truth is not None
    tone = pitch.median(clip.pitches)
    if tone is None:
        raise Unmeasured("less than 0.1 s is voiced")
    seen = factor_vector(clip.look, high=tone > pitch.HIGH)
    true = factor_vector(entry.truth.looks[0], high=VOICES[entry.truth.voices[0]].height == "high")
    return Found(vectors={"factors.seen": seen, "factors.true": true})


def _prepare(
    names: Sequence[str], vectors: Mapping[str, Sequence[tuple[float, ...]]]
) -> Callable[[Sequence[int]], float]:
    del names
    seen, true = np.array(vectors["factors.seen"]), np.array(vectors["factors.true"])

    def figure(indices: Sequence[int]) -> float:
        some = list(indices)
        return frechet(seen[some], true[some])

    return figure


def _wants(entry: Entry) -> bool:
    truth = entry.truth
    return truth is not None and truth.stage == "speaker" and len(truth.looks) == len(truth.voices) == 1


FACTORS = Probe("factors", (), _wants, _read, ("espeakng_loader",), ESPEAK)
FACTOR_FRECHET = Pool(FRECHET, ("factors.seen", "factors.true"), _prepare)
