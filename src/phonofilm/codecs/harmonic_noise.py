"""A small vocoder: ConvNeXt blocks at the rate of the mels shape the spectra of pulses and of noise, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.codecs.mel import filterbank

LOWEST, STEPS, OCTAVES = 55.0, 60, 3.35
"""The pitch that is read: from 55 to 561 Hz, in steps of 20 cents."""
NEAR = 3
"""Steps at either side of the likeliest one over which the pitch is averaged."""
NOISE = 1 << 16
"""Samples (4 s) after which the noise repeats itself."""
MEAN, STD = -2.5, 1.3
"""Of log10 mels of the puppets, roughly."""


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution over time, and two layers over channels (Liu et al. 2022; in Vocos, Siuzdak 2023)."""

    def __init__(self, width: int, kernel: int = 7, wider: int = 3) -> None:
        super().__init__()
        self.along = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, wider * width), nn.Linear(wider * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.2))

    def forward(self, x: Float[Tensor, "B m W"]) -> Float[Tensor, "B m W"]:
        """Add what the block finds."""
        found = self.norm(self.along(x.transpose(1, 2)).transpose(1, 2))
        return x + self.scale * self.narrow(F.gelu(self.widen(found)))


class PitchReader(nn.Module):
    """The pitch of a log mel, column by column; where nothing has a pitch, any."""

    steps: Tensor

    def __init__(self, num_mels: int, width: int, depth: int) -> None:
        super().__init__()
        count = round(STEPS * OCTAVES) + 1
        self.embed = nn.Conv1d(num_mels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(depth)))
        self.norm, self.score = nn.LayerNorm(width), nn.Linear(width, count)
        self.register_buffer("steps", torch.arange(count, dtype=torch.float32), persistent=False)

    def scores(self, mel: Float[Tensor, "B bins m"]) -> Float[Tensor, "B m P"]:
        """Logits of the steps of 20 cents above 55 Hz."""
        return self.score(self.norm(self.blocks(self.embed((mel - MEAN) / STD).transpose(1, 2))))

    def forward(self, mel: Float[Tensor, "B bins m"]) -> Float[Tensor, "B m"]:
        """Octaves above 55 Hz: the mean of the likeliest step and its neighbours."""
        scores = self.scores(mel)
        far = (self.steps - scores.argmax(dim=-1, keepdim=True)).abs() > NEAR
        return (scores.masked_fill(far, -torch.inf).softmax(dim=-1) @ self.steps) / STEPS


class HarmonicNoiseVocoder(ModelMixin, ConfigMixin):
    """Log mels of ``LogMel`` to samples: each frame of the spectrum is pulses, noise and a free part, summed.

    The inverse Fourier transform of predicted magnitudes and phases is Vocos' (Siuzdak 2023); that a pitch read from
    the mel gives the phases of the harmonics is the neural source filter's (Wang et al. 2019; HiFTNet, Li et al. 2023).
    """

    basis: Tensor
    window: Tensor
    noise: Tensor

    @register_to_config
    def __init__(
        self,
        num_mels: int = 80,
        upsample_rates: Sequence[int] = (256,),
        n_fft: int = 512,
        width: int = 192,
        depth: int = 6,
        pitch_width: int = 96,
        pitch_depth: int = 3,
    ) -> None:
        """At 16 kHz; ``pitch_width`` and ``pitch_depth`` are the pitch reader's."""
        super().__init__()
        self.rate, self.n_fft, self.hop = 16000, n_fft, n_fft // 4
        self.columns = upsample_rates[0] // self.hop
        """Frames of the spectrum in a column of the mel."""
        frequencies = n_fft // 2 + 1
        self.reader = PitchReader(num_mels, pitch_width, pitch_depth)
        self.embed = nn.Conv1d(num_mels, width, 7, padding=3)
        self.look = nn.Linear(self.columns * frequencies, width)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.shape = nn.Linear(width, self.columns * 6 * frequencies)
        with torch.no_grad():
            self.shape.weight.mul_(0.3)
            bias = self.shape.bias.view(self.columns, 6, frequencies)
            bias.zero_()
            bias[:, 1], bias[:, 2] = -1.0, -3.0
        spread = filterbank(self.rate, n_fft, num_mels, self.rate / 2).T
        self.register_buffer("basis", spread / spread.sum(1, keepdim=True).clamp(min=1e-9), persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        noise = torch.rand(NOISE, generator=torch.Generator("cpu").manual_seed(0), device="cpu")
        self.register_buffer("noise", (noise - 0.5) * (12 / self.window.square().sum().item()) ** 0.5, persistent=False)

    def forward(self, mel: Float[Tensor, "B bins m"]) -> SimpleNamespace:
        """Samples "B 1 N", ``N = m * hop``, in ``.sample``; one clip at a time, so that none hears of its batch."""
        made = torch.cat([self.sound(one) for one in mel.split(1)])
        return SimpleNamespace(sample=made.clamp(-1, 1)[:, None])

    def sound(self, mel: Float[Tensor, "B bins m"]) -> Float[Tensor, "B N"]:
        """Samples of a whole batch at once."""
        count = mel.shape[-1] * self.columns * self.hop
        with torch.no_grad():
            pulses = self.spectrum(self.pulses(self.reader(mel)))
            noise = self.noise.repeat(-(-count // len(self.noise)))[:count].expand(len(mel), -1)
            noise = self.spectrum(noise)
        level = (pulses.abs() + 1e-3).log()
        x = self.embed((mel - MEAN) / STD).transpose(1, 2) + self.look(level.unflatten(1, (-1, self.columns)).flatten(2))
        shape = self.shape(self.norm(self.blocks(x))).unflatten(-1, (self.columns, 6, -1)).flatten(1, 2)
        envelope = (2.3026 * (self.basis @ mel) + 2.7).transpose(1, 2).repeat_interleave(self.columns, dim=1)
        gains = (shape[..., :3, :] + envelope[..., None, :]).clamp(max=8.0).exp()
        filters = torch.polar(gains, shape[..., 3:, :])
        return self.overlap(filters[..., 0, :] * pulses + filters[..., 1, :] * noise + filters[..., 2, :])

    def pulses(self, octaves: Float[Tensor, "B m"]) -> Float[Tensor, "B N"]:
        """All harmonics below half the sample rate as cosines of equal loudness that meet once a period."""
        step = self.columns * self.hop
        smooth = F.interpolate(octaves[:, None], scale_factor=step, mode="linear")[:, 0]
        frequency = LOWEST * torch.exp2(smooth.double())
        half = torch.pi * ((frequency / self.rate).cumsum(1) % 1)  # half the phase of the first harmonic
        count = self.rate / 2 / frequency - 0.5
        whole = count.floor()
        near = half.sin().abs() < 1e-6
        sine = torch.where(near, 1.0, half.sin())
        total = torch.where(near, whole, ((2 * whole + 1) * half).sin() / (2 * sine) - 0.5)
        last = (count - whole) * (2 * (whole + 1) * half).cos()  # fades in, so that a falling pitch does not click
        return ((total + last) / self.n_fft * 4 * 0.5).float()

    def spectrum(self, wave: Float[Tensor, "B N"]) -> Complex[Tensor, "B n F"]:
        """Frames whose middles lie evenly in the columns of the mel."""
        side = (self.n_fft - self.hop) // 2
        frames = F.pad(wave, (side, side)).unfold(1, self.n_fft, self.hop)
        return torch.fft.rfft(frames * self.window)

    def overlap(self, spectrum: Complex[Tensor, "B n F"]) -> Float[Tensor, "B N"]:
        """The signal whose windowed frames are nearest; ``spectrum`` backwards (Griffin and Lim 1984, equation 6)."""
        frames = torch.fft.irfft(spectrum, self.n_fft) * self.window
        total = self._add(frames)
        weight = self._add(self.window.square().expand(1, frames.shape[1], -1))
        side = (self.n_fft - self.hop) // 2
        return (total / weight.clamp(min=1e-9))[:, side : side + frames.shape[1] * self.hop]

    def _add(self, frames: Float[Tensor, "B n W"]) -> Float[Tensor, "B M"]:
        parts = frames.unflatten(-1, (-1, self.hop))
        last = parts.shape[2] - 1
        return sum((F.pad(parts[:, :, i], (0, 0, i, last - i)) for i in range(1, last + 1)), F.pad(parts[:, :, 0], (0, 0, 0, last))).flatten(1)
