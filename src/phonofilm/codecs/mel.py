"""Log mel spectrograms as MMAudio's 16 kHz front end makes them (Slaney mels, log10, no centring)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FLOOR = 1e-5
"""Magnitudes below this are silence."""


def hz_to_mel(hz: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Slaney's scale: linear below 1 kHz, logarithmic above."""
    return torch.where(hz < 1000, hz * 3 / 200, 15 + 27 * torch.log(hz.clamp_min(1e-9) / 1000) / math.log(6.4))


def mel_to_hz(mel: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The inverse of ``hz_to_mel``."""
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * math.log(6.4) / 27))


def filterbank(
    sample_rate: int, n_fft: int, bins: int, top: float, bottom: float = 0.0
) -> Float[Tensor, "bins frequencies"]:
    """Triangles from ``bottom`` to ``top`` in Hz, of equal width in mels and equal area in Hz."""
    frequencies = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    limits = torch.tensor([bottom, top], dtype=torch.float64, device="cpu")  # also where networks are built on meta
    first, last = hz_to_mel(limits).tolist()
    corners = mel_to_hz(torch.linspace(first, last, bins + 2, dtype=torch.float64))
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rise = (frequencies - low) / (middle - low)
    fall = (high - frequencies) / (high - middle)
    return (torch.minimum(rise, fall).clamp_min(0) * 2 / (high - low)).float()


class LogMel(nn.Module):
    """Waveforms to log10 mel spectrograms with one column per hop; a whole number of hops gives as many columns."""

    basis: Tensor
    window: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_fft: int = 1024,
        hop: int = 256,
        bins: int = 80,
        bottom: float = 0.0,
        top: float | None = None,
    ) -> None:
        """``bottom`` and ``top`` are the lowest and highest frequencies in Hz; half the sample rate if None."""
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        basis = filterbank(sample_rate, n_fft, bins, top or sample_rate / 2, bottom)
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, wave: Float[Tensor, "B N"]) -> Float[Tensor, "B bins n"]:
        """Log10 of mel magnitudes, floored at ``FLOOR``."""
        side = (self.n_fft - self.hop) // 2
        padded = F.pad(wave[:, None], (side, side), mode="reflect")[:, 0]
        magnitude = stft_magnitude(padded, self.window, self.hop)
        return torch.log10((self.basis @ magnitude).clamp_min(FLOOR))


def stft_magnitude(
    wave: Float[Tensor, "B N"], window: Float[Tensor, " W"], hop: int
) -> Float[Tensor, "B frequencies n"]:
    """Magnitudes of a short-time Fourier transform without centring; differentiable at silence."""
    spectrum = torch.stft(wave, len(window), hop, window=window, center=False, return_complex=True)
    return torch.sqrt(torch.view_as_real(spectrum).square().sum(-1) + 1e-9)
