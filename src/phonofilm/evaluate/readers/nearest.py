"""Which of the puppets' ten voices, saying the same words, a sound is nearest to by the speaker vector."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.encoders.speaker import PitchAndCepstrum
from phonofilm.types import Audio


def nearest(words: str, wave: Float[Tensor, "1 N"], *, rate: int, emotion: str) -> str:
    """The name of the voice whose rendering of a sentence is nearest to a sound at 16 kHz.

    Raises ``UserError`` where too little of the sound is voiced.
    """
    from phonofilm.puppets.sounds import level
    from phonofilm.puppets.voice import SAMPLE_RATE, VOICES, speak

    encoder = PitchAndCepstrum()
    heard = encoder(Audio(wave, SAMPLE_RATE))
    said = [speak(words, voice, rate=rate, emotion=emotion) for voice in VOICES]
    vectors = torch.stack([encoder(Audio(level(one.wave)[None], SAMPLE_RATE)) for one in said])
    return list(VOICES)[int((vectors - heard).norm(dim=1).argmin())]
