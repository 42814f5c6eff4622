"""Sound at another sample rate."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv1d, pad

ZEROS = 24
"""Zero crossings of the filter at each side."""
ROLLOFF = 0.97
"""Its cut-off as a share of the lower Nyquist frequency."""


def resample(
    wave: Float[Tensor, "*K N"], old: int, new: int, *, zeros: int = ZEROS, rolloff: float = ROLLOFF
) -> Float[Tensor, "*K M"]:
    """Change the sample rate with a windowed sinc of zero phase: nothing moves in time.

    Sample j of the result sits at j / new seconds; there are ``round(N * new / old)`` of them. ``zeros`` and
    ``rolloff`` are for figures that are defined with another filter than ours.
    """
    if old <= 0 or new <= 0:
        raise ValueError(f"sample rates are positive; got {old} and {new}")
    length = round(wave.shape[-1] * new / old)
    if old == new or not wave.numel():
        return wave[..., :length]
    step, phases = old // math.gcd(old, new), new // math.gcd(old, new)
    kernel, reach = _sinc(step, phases, zeros, rolloff)
    blocks = -(-length // phases)
    flat = wave.reshape(-1, 1, wave.shape[-1])
    padded = pad(flat, (reach, reach + blocks * step))
    out = conv1d(padded, kernel.to(wave), stride=step)  # (channels, phases, blocks or more)
    return out.transpose(1, 2).flatten(1)[:, :length].reshape(*wave.shape[:-1], length)


def _sinc(step: int, phases: int, zeros: int, rolloff: float) -> tuple[Float[Tensor, "P 1 W"], int]:
    """One filter per output phase, for ``phases`` output samples every ``step`` input samples."""
    cutoff = rolloff * min(1.0, phases / step)  # in input samples, 1 is the input's Nyquist frequency
    reach = math.ceil(zeros / cutoff)
    taps = torch.arange(-reach, step + reach, dtype=torch.float64)
    offset = taps[None] - torch.arange(phases, dtype=torch.float64)[:, None] * step / phases
    inside = (offset * cutoff / zeros).clamp(-1, 1)
    kernel = cutoff * torch.sinc(offset * cutoff) * torch.cos(inside * math.pi / 2) ** 2
    return kernel[:, None], reach
