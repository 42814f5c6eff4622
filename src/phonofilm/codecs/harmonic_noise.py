"""A small trained vocoder: ConvNeXt blocks at the rate of the mels filter pulses and noise, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.codecs.mel import LogMel, filterbank

LOWEST = 55.0
"""Hz; the lowest pitch that is heard."""
STEPS = 60
"""Steps of pitch to an octave, 20 cents each."""
OCTAVES = 3.35
"""From the lowest pitch to the highest, 561 Hz."""
NEAR = 3
"""Steps at either side of the likeliest one over which the pitch is averaged."""
NOISE = 1 << 16
"""Samples (4 s at 16 kHz) after which the noise repeats itself."""
MEAN, STD = -2.5, 1.3
"""Of the puppets' log10 mels, roughly."""
LOUDEST = 8.0
"""Natural logarithm of the largest magnitude of a frame, so that weights gone wrong do not make infinities."""


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution over time, then two layers over channels (Liu et al. 2022, as Vocos has it)."""

    def __init__(self, width: int, kernel: int = 7, expansion: int = 3) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand, self.project = nn.Linear(width, expansion * width), nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.2))

    def forward(self, x: Float[Tensor, "B m W"]) -> Float[Tensor, "B m W"]:
        mixed = self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2))
        return x + self.scale * self.project(F.gelu(self.expand(mixed)))


class PitchEstimator(nn.Module):
    """The fundamental frequency that a log mel implies, column by column; some frequency where there is none."""

    steps: Tensor

    def __init__(self, num_mels: int, width: int, depth: int) -> None:
        super().__init__()
        count = round(STEPS * OCTAVES) + 1
        self.embed = nn.Conv1d(num_mels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, count)
        self.register_buffer("steps", torch.arange(count, dtype=torch.float32), persistent=False)

    def logits(self, mel: Float[Tensor, "B bins m"]) -> Float[Tensor, "B m P"]:
        """Of each step of 20 cents above ``LOWEST``."""
        return self.head(self.norm(self.blocks(self.embed((mel - MEAN) / STD).transpose(1, 2))))

    def forward(self, mel: Float[Tensor, "B bins m"]) -> Float[Tensor, "B m"]:
        """Octaves above ``LOWEST``: the mean of the likeliest step and its neighbours."""
        logits = self.logits(mel)
        far = (self.steps - logits.argmax(dim=-1, keepdim=True)).abs() > NEAR
        return (logits.masked_fill(far, -torch.inf).softmax(dim=-1) @ self.steps) / STEPS


class HarmonicNoiseVocoder(ModelMixin, ConfigMixin):
    """Log mels of ``LogMel`` to samples through one inverse short-time Fourier transform, as Vocos (Siuzdak 2023).

    A frame is a filtered spectrum of pulses, one of noise, and a part of its own, all with predicted magnitudes and
    phases. The pulses follow a pitch estimated from the mel, so that harmonics are in phase from frame to frame without
    being learned (neural source filters, Wang et al. 2019; in the Fourier domain HiFTNet, Li et al. 2023).
    """

    basis: Tensor
    window: Tensor
    noise: Tensor

    @register_to_config
    def __init__(
        self,
        num_mels: int = 80,
        upsample_rates: Sequence[int] = (256,),
        width: int = 192,
        depth: int = 6,
        pitch_width: int = 96,
        pitch_depth: int = 3,
    ) -> None:
        """For sound at 16 kHz, with two frames of two hops of the mel each in a column of the mel."""
        super().__init__()
        self.sample_rate = 16000
        self.hop = upsample_rates[0]
        self.stride = self.hop // 2
        """Samples from frame to frame."""
        self.n_fft = 4 * self.stride
        bins = self.n_fft // 2 + 1
        self.mel = LogMel(sample_rate=self.sample_rate, n_fft=4 * self.hop, hop=self.hop, bins=num_mels)
        self.pitch_estimator = PitchEstimator(num_mels, pitch_width, pitch_depth)
        self.embed_mel = nn.Conv1d(num_mels, width, 7, padding=3)
        self.embed_pulses = nn.Linear(2 * bins, width)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 2 * 6 * bins)
        self._register_signals(num_mels)
        self._initialise()

    def _register_signals(self, num_mels: int) -> None:
        triangles = filterbank(self.sample_rate, self.n_fft, num_mels, self.sample_rate / 2).T
        self.register_buffer("basis", triangles / triangles.sum(1, keepdim=True).clamp(min=1e-9), persistent=False)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        power = self.window.square().sum().item() / 12
        uniform = torch.rand(NOISE, generator=torch.Generator("cpu").manual_seed(0), device="cpu")
        self.register_buffer("noise", (uniform - 0.5) / math.sqrt(power), persistent=False)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Start near the mel's own envelope: pulses loudest, then noise, little of the free part."""
        self.head.weight.mul_(0.3)
        bias = self.head.bias.zero_().view(2, 6, -1)
        bias[:, 1], bias[:, 2] = -1.0, -3.0

    def forward(self, mel: Float[Tensor, "B bins m"]) -> SimpleNamespace:
        """Samples "B 1 N" in [-1, 1], ``N = m * hop``, in ``.sample`` as diffusers' vocoders return them.

        Clips are made one at a time, so that a clip's samples do not depend on its batch.
        """
        made = torch.cat([self.synthesise(one) for one in mel.split(1)])
        return SimpleNamespace(sample=made.clamp(-1, 1)[:, None])

    def synthesise(self, mel: Float[Tensor, "B bins m"]) -> Float[Tensor, "B N"]:
        """Samples of a whole batch at once, not yet cut off at -1 and 1: what is trained."""
        with torch.no_grad():
            pulses = self.stft(self.pulse_train(self.pitch_estimator(mel)))
            noise = self.stft(self._noise(mel.shape[-1] * self.hop))
        level = (pulses.abs() + 1e-3).log().unflatten(1, (-1, 2)).flatten(2)
        x = self.embed_mel((mel - MEAN) / STD).transpose(1, 2) + self.embed_pulses(level)
        shape = self.head(self.norm(self.blocks(x))).unflatten(-1, (2, 6, -1)).flatten(1, 2)
        gains = shape[..., :3, :] + self._envelope(mel)[..., None, :]
        filters = torch.polar(gains.clamp(max=LOUDEST).exp(), shape[..., 3:, :])
        made = filters[..., 0, :] * pulses + filters[..., 1, :] * noise + filters[..., 2, :]
        return self._corrected(self.istft(made), mel)

    def _corrected(self, wave: Float[Tensor, "B N"], mel: Float[Tensor, "B bins m"]) -> Float[Tensor, "B N"]:
        """The sound, its frames louder or softer by what its mel lacks of the mel that was asked for."""
        missing = (mel - self.mel(wave)).clamp(-1, 1)
        return self.istft(self.stft(wave) * (math.log(10) * self._to_bins(missing)).exp())

    def _noise(self, count: int) -> Float[Tensor, "1 N"]:
        return self.noise.repeat(math.ceil(count / NOISE))[None, :count]

    def _envelope(self, mel: Float[Tensor, "B bins m"]) -> Float[Tensor, "B n F"]:
        """Natural logarithm of about the magnitudes whose mel this is; a mel of magnitude 1 is 1 / 15.6 Hz."""
        return math.log(10) * self._to_bins(mel) + math.log(self.sample_rate / 1024)

    def _to_bins(self, mel: Float[Tensor, "B bins m"]) -> Float[Tensor, "B n F"]:
        return (self.basis @ mel).transpose(1, 2).repeat_interleave(2, dim=1)

    def pulse_train(self, octaves: Float[Tensor, "B m"]) -> Float[Tensor, "B N"]:
        """One pulse a period: equally loud cosines at all harmonics below half the sample rate, summed in closed form.

        The pitch is in octaves above ``LOWEST`` in the middle of each column. In double precision, as phases add up.
        """
        between = F.interpolate(octaves[:, None], scale_factor=self.hop, mode="linear")[:, 0]
        frequency = LOWEST * torch.exp2(between.double())
        half = torch.pi * ((frequency / self.sample_rate).cumsum(dim=1) % 1)  # of the fundamental's phase
        count = self.sample_rate / 2 / frequency - 0.5
        whole = count.floor()
        sine = half.sin()
        at_pulse = sine.abs() < 1e-6
        total = ((2 * whole + 1) * half).sin() / (2 * torch.where(at_pulse, 1.0, sine)) - 0.5  # Dirichlet's kernel
        fading = (count - whole) * (2 * (whole + 1) * half).cos()  # a falling pitch brings harmonics in without a click
        return ((torch.where(at_pulse, whole, total) + fading) * 2 / self.n_fft).float()

    def stft(self, wave: Float[Tensor, "B N"]) -> Complex[Tensor, "B n F"]:
        """Windowed frames' spectra; two frames lie evenly in each column of the mel."""
        side = (self.n_fft - self.stride) // 2
        return torch.fft.rfft(F.pad(wave, (side, side)).unfold(1, self.n_fft, self.stride) * self.window)

    def istft(self, spectrum: Complex[Tensor, "B n F"]) -> Float[Tensor, "B N"]:
        """The signal whose ``stft`` is nearest (Griffin and Lim 1984, equation 6)."""
        frames = torch.fft.irfft(spectrum, self.n_fft) * self.window
        weight = self._overlap_add(self.window.square().expand(1, frames.shape[1], -1))
        side = (self.n_fft - self.stride) // 2
        return (self._overlap_add(frames) / weight.clamp(min=1e-9))[:, side : side + frames.shape[1] * self.stride]

    def _overlap_add(self, frames: Float[Tensor, "B n W"]) -> Float[Tensor, "B M"]:
        quarters = frames.unflatten(-1, (4, self.stride)).unbind(2)
        return torch.stack([F.pad(part, (0, 0, i, 3 - i)) for i, part in enumerate(quarters)]).sum(0).flatten(1)
