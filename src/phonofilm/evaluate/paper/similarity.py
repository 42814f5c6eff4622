"""Speaker similarity as Seed-TTS-eval computes it: WavLM large with an ECAPA-TDNN behind it, cosine of two vectors.

The checkpoint is the user's own ``wavlm_large_finetune.pth`` of microsoft/UniSpeech (CC BY-SA 3.0); nothing is
downloaded. Shown to give the vectors and cosines of BytedanceSpeech/seed-tts-eval 752f429 for the same random weights
(``tests/evaluate_similarity_test.py``). ECAPA-TDNN: Desplanques et al. 2020.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, instance_norm, layer_norm

from phonofilm.checkpoints.importing import renamed
from phonofilm.codecs.folders import load_strictly
from phonofilm.errors import UserError
from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.paper.wavlm import LARGE, RATE, at_16_khz, layers, our_name
from phonofilm.evaluate.probes.probe import AUDIO, LIMITS, Found, Measure, Probe, Unmeasured
from phonofilm.files.media import Limits, read_wave
from phonofilm.recipes.wan_names import Rules
from phonofilm.types import Clip

SHORTEST = 720
"""Samples of two frames: the spread over frames needs two."""
ENCODER = LARGE
CHANNELS, WIDE, SQUEEZED, SCALES, NUMBERS = 512, 1536, 128, 8, 256
"""Of the blocks, of what is pooled, inside gates and attention; groups of a block; of the vector."""
TINY, LEAST = 1e-6, 1e-9
"""Added to what WavLM says; the least variance [code: models/ecapa_tdnn.py]."""
INSIDE = "feature_extract.model."
"""What the checkpoint puts before the names of WavLM."""
LOSS = "loss_calculator."
"""What was only needed to train the released network."""
SIMILARITY = Measure(
    name="paper.sim@wavlm_large_finetune",
    title="SIM as Seed-TTS-eval takes it: cosine of the clip's voice and of the recording that the prompt brought",
    better="up",
    unit="cosine",
    evaluator="WavLM large with ECAPA-TDNN by the user's checkpoint, procedure of seed-tts-eval 752f429",
    package="transformers",
    preparation="16 kHz (windowed sinc, 6 zero crossings), the clip's channels averaged, the recording's first one",
    reads=AUDIO,
)


def _heard(inside: int, outside: int, size: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution, ReLU and batch norm, in this order."""
    conv = nn.Conv1d(inside, outside, size, padding=size // 2 * dilation, dilation=dilation)
    return nn.Sequential(OrderedDict(conv=conv, relu=nn.ReLU(), bn=nn.BatchNorm1d(outside)))


class Scales(nn.Module):
    """Groups of channels, each heard with what the one before became; the last stays as it is (Gao et al. 2019)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        width = channels // SCALES
        self.groups = nn.ModuleList(_heard(width, width, 3, dilation) for _ in range(SCALES - 1))

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C T"]:
        *parts, last = x.chunk(SCALES, dim=1)
        found = [self.groups[0](parts[0])]
        for part, group in zip(parts[1:], self.groups[1:], strict=True):
            found.append(group(part + found[-1]))
        return torch.cat([*found, last], dim=1)


class Gate(nn.Module):
    """Channels made louder or softer by what all frames say together (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(channels, SQUEEZED), nn.Linear(SQUEEZED, channels)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C T"]:
        return x * self.linear2(self.linear1(x.mean(2)).relu()).sigmoid()[..., None]


class Block(nn.Sequential):
    """An SE-Res2Block."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__(
            OrderedDict(
                before=_heard(channels, channels),
                scales=Scales(channels, dilation),
                after=_heard(channels, channels),
                gate=Gate(channels),
            )
        )

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C T"]:
        """What comes in, and what is made of it."""
        return x + super().forward(x)


class Pooling(nn.Module):
    """Mean and deviation over frames, each channel weighing frames in its own way."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Conv1d(channels, SQUEEZED, 1), nn.Conv1d(SQUEEZED, channels, 1)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B D"]:
        weights = self.linear2(self.linear1(x).tanh()).softmax(2)
        mean = (weights * x).sum(2)
        variance = (weights * x**2).sum(2) - mean**2
        return torch.cat([mean, variance.clamp(min=LEAST).sqrt()], dim=1)


class Speaker(nn.Module):
    """A voice as a vector: a weighted mean of WavLM's layers, and an ECAPA-TDNN."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import WavLMConfig, WavLMModel

        config = WavLMConfig(**ENCODER)
        self.wavlm = WavLMModel(config)
        self.feature_weight = nn.Parameter(torch.zeros(config.num_hidden_layers + 1))
        self.layer1 = _heard(config.hidden_size, CHANNELS, 5)
        self.layer2, self.layer3, self.layer4 = (Block(CHANNELS, dilation) for dilation in (2, 3, 4))
        self.conv = nn.Conv1d(3 * CHANNELS, WIDE, 1)
        self.pooling, self.bn = Pooling(WIDE), nn.BatchNorm1d(2 * WIDE)
        self.linear = nn.Linear(2 * WIDE, NUMBERS)

    def forward(self, wave: Float[Tensor, " N"]) -> Float[Tensor, " E"]:
        """The vector of sound at 16 kHz. Raises ValueError for less than two frames, 45 ms."""
        if len(wave) < SHORTEST:
            raise ValueError(f"{len(wave) / RATE:.3f} s of sound: a voice needs {SHORTEST / RATE:g} s")
        states = layers(self.wavlm, layer_norm(wave, wave.shape))
        mixed = torch.einsum("l,ltc->ct", self.feature_weight.softmax(0), states)
        first = self.layer1(instance_norm(mixed[None] + TINY))
        second = self.layer2(first)
        third = self.layer3(second)
        joined = torch.cat([second, third, self.layer4(third)], dim=1)
        return self.linear(self.bn(self.pooling(self.conv(joined).relu())))[0]


RENAMES: Rules = (
    (r"\.Conv1dReluBn1\.", ".before."),
    (r"\.Res2Conv1dReluBn\.convs\.(\d+)\.", r".scales.groups.\1.conv."),
    (r"\.Res2Conv1dReluBn\.bns\.(\d+)\.", r".scales.groups.\1.bn."),
    (r"\.Conv1dReluBn2\.", ".after."),
    (r"\.SE_Connect\.", ".gate."),
)
"""The checkpoint's names of a block's parts, to ours."""


@lru_cache(maxsize=1)
def load_speaker(path: Path) -> Speaker:
    """Load the authors' checkpoint. Raises ``UserError`` for a file that is none, or another network's."""
    try:
        tensors: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["model"]
        state = {_our_name(name): tensor for name, tensor in tensors.items() if not name.startswith(LOSS)}
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; name the authors' wavlm_large_finetune.pth") from error
    except Exception as error:  # torch raises a dozen kinds for what is no checkpoint
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a speaker checkpoint ({reason}); name wavlm_large_finetune.pth") from error
    net = Speaker()
    load_strictly(net, state, where=str(path))
    return net.eval().requires_grad_(False)


def _our_name(name: str) -> str:
    return renamed(our_name(name, INSIDE), RENAMES)


def similarity(net: Speaker, one: Float[Tensor, " N"], two: Float[Tensor, " M"]) -> float:
    """Cosine of two voices at 16 kHz. Raises ValueError for less than 45 ms of either."""
    return float(cosine_similarity(net(one), net(two), dim=0))


def _read(entry: Entry, clip: Clip) -> Found:
    if clip.seconds > LIMITS.seconds - 1 / clip.fps:
        raise Unmeasured(f"only its first {LIMITS.seconds:g} s were read, and the figure is of the whole sound")
    try:
        samples, rate = read_wave(entry.voices[0], limits=Limits(memory=2.0**30))
    except (UserError, OSError) as error:
        raise Unmeasured(f"the recording of its voice cannot be read: {error}") from error
    said, asked = at_16_khz(clip.audio.mean(0), clip.sample_rate), at_16_khz(samples[0], rate)
    net = load_speaker(entry.weights["speaker"])
    try:
        cosine = similarity(net, said, asked)
    except ValueError as error:
        raise Unmeasured(str(error)) from error
    return Found(values={SIMILARITY.name: (cosine, 1.0)})


SIM = Probe("similarity", (SIMILARITY,), lambda entry: len(entry.voices) == 1, _read, weights="speaker")
"""Runs with ``--weights speaker=FILE``, for clips whose prompt brings one recording of a voice."""
