"""A vocoder without weights: magnitudes from the mels by non-negative least squares, phases by Griffin and Lim."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from phonofilm.codecs.mel import FLOOR, filterbank

MOMENTUM = 0.99
"""Of the fast Griffin-Lim algorithm (Perraudin et al. 2013)."""
MOST = 1000
"""Iterations; more take minutes and change nothing."""
UPDATES = 30
"""Multiplicative updates (Lee and Seung 2001) that turn mels into magnitudes."""


class GriffinLimVocoder(ModelMixin, ConfigMixin):
    """Log mels of ``LogMel`` to samples; deterministic, and as good as a spectrogram without phases can sound."""

    basis: Tensor
    window: Tensor

    @register_to_config
    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 1024,
        num_mels: int = 80,
        upsample_rates: Sequence[int] = (256,),
        iterations: int = 48,
    ) -> None:
        super().__init__()
        if len(upsample_rates) != 1 or not 1 <= iterations <= MOST:
            raise ValueError(
                f"upsample_rates {upsample_rates} and {iterations} iterations: wanted are one rate and 1 to {MOST}"
            )
        self.hop = upsample_rates[0]
        self.iterations = iterations
        self.register_buffer("basis", filterbank(sample_rate, n_fft, num_mels, sample_rate / 2))
        self.register_buffer("window", torch.hann_window(n_fft))

    def forward(self, mel: Float[Tensor, "B bins m"]) -> SimpleNamespace:
        """Samples "B 1 N", ``N = m * hop``, in ``.sample`` as diffusers' vocoders return them.

        Clip by clip, so that the sound of one depends on itself alone, to the last bit.
        """
        return SimpleNamespace(sample=torch.cat([self.sound(one[None]) for one in mel]))

    def sound(self, mel: Float[Tensor, "1 bins m"]) -> Float[Tensor, "1 1 N"]:
        """Samples of one clip."""
        columns = mel.shape[-1]
        magnitude = self.magnitudes(torch.where(mel <= torch.log10(torch.tensor(FLOOR)), -10.0, mel))
        wave = self.search(magnitude)
        # A column of the mels is centred half a window after its hop begins less the padding; here it is centred on it.
        early = self.hop // 2
        wave = F.pad(wave, (early, 0))[:, : columns * self.hop]
        return F.pad(wave, (0, columns * self.hop - wave.shape[-1])).clamp(-1, 1)[:, None]

    def magnitudes(self, mel: Float[Tensor, "B bins m"]) -> Float[Tensor, "B F m"]:
        """Non-negative magnitudes whose mels are nearest."""
        wanted = self.basis.T @ 10**mel
        square = self.basis.T @ self.basis
        found = wanted.clamp(min=1e-8)
        for _ in range(UPDATES):
            found = found * wanted / (square @ found).clamp(min=1e-10)
        return found

    def search(self, magnitude: Float[Tensor, "B F m"]) -> Float[Tensor, "B N"]:
        """A signal whose spectrogram has about these magnitudes; every clip begins with the same phases."""
        n_fft = len(self.window)
        angle = torch.rand(magnitude.shape[1:], generator=torch.Generator().manual_seed(0)).to(magnitude.device)
        turned = 2 * torch.pi * angle.expand_as(magnitude)
        phase, last = torch.polar(torch.ones_like(magnitude), turned), torch.zeros((), dtype=torch.cfloat)
        for _ in range(self.iterations):
            wave = torch.istft(magnitude * phase, n_fft, self.hop, window=self.window)
            rebuilt = torch.stft(wave, n_fft, self.hop, window=self.window, return_complex=True)
            ahead = rebuilt + MOMENTUM * (rebuilt - last)
            phase, last = ahead / ahead.abs().clamp(min=1e-16), rebuilt
        return torch.istft(magnitude * phase, n_fft, self.hop, window=self.window)
