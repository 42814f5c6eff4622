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

LARGEST = 2**22
"""Numbers in the filters of all phases; rates with small common factors would need gigabytes of them."""
CHUNK = 4096
"""Samples that are made at a time then."""


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
    if phases * step > LARGEST:
        return by_samples(wave, old, new, zeros, rolloff)
    kernel, reach = _sinc(step, phases, zeros, rolloff)
    blocks = -(-length // phases)
    flat = wave.reshape(-1, 1, wave.shape[-1])
    padded = pad(flat, (reach, reach + blocks * step))
    out = conv1d(padded, kernel.to(wave), stride=step)  # (channels, phases, blocks or more)
    return out.transpose(1, 2).flatten(1)[:, :length].reshape(*wave.shape[:-1], length)


def by_samples(wave: Float[Tensor, "*K N"], old: int, new: int, zeros: int, rolloff: float) -> Float[Tensor, "*K M"]:
    """The same with a filter for each sample instead of one for each phase: slower, and for any two rates."""
    cutoff = rolloff * min(1.0, new / old)
    reach = math.ceil(zeros / cutoff)
    length = round(wave.shape[-1] * new / old)
    padded = pad(wave, (reach, reach + 2))
    taps = torch.arange(2 * reach + 2)
    made = []
    for start in range(0, length, CHUNK):
        places = torch.arange(start, min(start + CHUNK, length)) * old  # in samples of the old rate, times the new one
        whole = places // new
        offset = (taps - reach).double() - ((places - whole * new).double() / new)[:, None]
        windows = padded[..., (whole[:, None] + taps).clamp(max=padded.shape[-1] - 1)]
        made.append((windows * _weights(offset, cutoff, zeros).to(wave)).sum(-1))
    return torch.cat(made, dim=-1)


def _weights(offset: Float[Tensor, "P W"], cutoff: float, zeros: int) -> Float[Tensor, "P W"]:
    """The windowed sinc at so many input samples from its middle."""
    inside = (offset * cutoff / zeros).clamp(-1, 1)
    return cutoff * torch.sinc(offset * cutoff) * torch.cos(inside * math.pi / 2) ** 2


def _sinc(step: int, phases: int, zeros: int, rolloff: float) -> tuple[Float[Tensor, "P 1 W"], int]:
    """One filter per output phase, for ``phases`` output samples every ``step`` input samples."""
    cutoff = rolloff * min(1.0, phases / step)  # in input samples, 1 is the input's Nyquist frequency
    reach = math.ceil(zeros / cutoff)
    taps = torch.arange(-reach, step + reach, dtype=torch.float64)
    offset = taps[None] - torch.arange(phases, dtype=torch.float64)[:, None] * step / phases
    return _weights(offset, cutoff, zeros)[:, None], reach
