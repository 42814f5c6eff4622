"""How loud a recording is, and the level that reference voices and the puppets' stages share."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

LEVEL = 0.1
"""Root mean square of the loud parts, full scale being 1."""
PEAK = 0.9
FRAME = 0.02
"""Seconds of a part."""
FLOOR = 10 ** (-25 / 10)
"""Parts whose energy is below this share of the loudest part's do not count."""


def level(
    wave: Float[Tensor, " N"], sample_rate: int, *, loud: float = LEVEL, peak: float = PEAK
) -> Float[Tensor, " N"]:
    """Bring the loud parts (20 ms within 25 dB of the loudest) to ``loud``, peaks to no more than ``peak``.

    With ``loud`` 1 the peak alone counts, since no root mean square is above its peak. Silence stays as it is.
    """
    size = round(FRAME * sample_rate)
    count = max(len(wave) // size, 1)
    energy = wave[: count * size].reshape(count, -1).double().square().mean(1) if len(wave) else torch.zeros(1)
    if not energy.any():
        return wave
    rms = energy[energy >= energy.max() * FLOOR].mean().sqrt().item()
    return wave * min(loud / rms, peak / wave.abs().max().item())
