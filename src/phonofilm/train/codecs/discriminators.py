"""Small discriminators of sound: by periods (HiFi-GAN, Kong et al. 2020) and by spectra (UnivNet, Jang et al. 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.codecs.mel import stft_magnitude

PERIODS = (2, 3, 5, 7, 11)
SPECTRA = ((256, 64), (512, 128), (1024, 256))
SLOPE = 0.1

Judged = tuple[list[Tensor], list[Tensor]]
"""The verdicts, one map for each discriminator, above 0 for true; and what the layers before saw."""


class PeriodDiscriminator(nn.Module):
    """Sees a sound folded at a period: neighbours in a column are a period apart."""

    def __init__(self, period: int, width: int = 16) -> None:
        super().__init__()
        self.period = period
        sizes = (1, width, 2 * width, 4 * width, 4 * width)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, (5, 1), stride=(3, 1), padding=(2, 0)) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.verdict = nn.Conv2d(sizes[-1], 1, (3, 1), padding=(1, 0))

    def forward(self, wave: Float[Tensor, "B N"]) -> Judged:
        """One verdict for about every 81 periods."""
        x = F.pad(wave, (0, -wave.shape[-1] % self.period)).unflatten(1, (-1, self.period))[:, None]
        seen = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            seen.append(x)
        return [self.verdict(x)], seen


class SpectrumDiscriminator(nn.Module):
    """Sees the magnitudes of a short-time Fourier transform, compressed by a root, as a picture."""

    window: Tensor

    def __init__(self, size: int, hop: int, width: int = 16) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        sizes = (1, width, width, width, width)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, (7, 3), stride=(2, 1), padding=(3, 1)) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.verdict = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, wave: Float[Tensor, "B N"]) -> Judged:
        """One verdict for every frame and 16 frequencies."""
        x = stft_magnitude(wave, self.window, self.hop)[:, None].pow(0.3)
        seen = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            seen.append(x)
        return [self.verdict(x)], seen


class Discriminators(nn.Module):
    """All of them."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.each = nn.ModuleList(
            [
                *(PeriodDiscriminator(period, width) for period in PERIODS),
                *(SpectrumDiscriminator(size, hop, width) for size, hop in SPECTRA),
            ]
        )

    def forward(self, wave: Float[Tensor, "B N"]) -> Judged:
        """What each of them says and sees."""
        found = [one(wave) for one in self.each]
        return [v for verdicts, _ in found for v in verdicts], [s for _, seen in found for s in seen]


def told_apart(true: list[Tensor], made: list[Tensor]) -> Float[Tensor, ""]:
    """The hinge loss of the discriminators (Lim and Ye 2017), mean over them."""
    losses = [F.relu(1 - t).mean() + F.relu(1 + m).mean() for t, m in zip(true, made, strict=True)]
    return torch.stack(losses).mean()


def taken_for_true(made: list[Tensor]) -> Float[Tensor, ""]:
    """What the vocoder loses by verdicts on what it made."""
    return -torch.stack([m.mean() for m in made]).mean()


def features_apart(true: list[Tensor], made: list[Tensor]) -> Float[Tensor, ""]:
    """Mean absolute difference of what the layers see, against how much they see (Larsen et al. 2016)."""
    losses = [(t - m).abs().mean() / t.abs().mean().clamp(min=1e-3) for t, m in zip(true, made, strict=True)]
    return torch.stack(losses).mean()
