"""Audiobox aesthetics (Tjandra et al. 2025): what people would say of a sound on four axes, guessed by WavLM.

The checkpoint is the user's own, CC BY 4.0 like the authors' code, whose WavLM is MIT: ``checkpoint.pt``, or the folder
with ``config.json`` and ``model.safetensors``. Nothing is downloaded. Shown to give the scores of
facebookresearch/audiobox-aesthetics 0.0.4 for the same random weights (``tests/evaluate_audiobox_test.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from phonofilm.codecs.folders import load_strictly
from phonofilm.errors import UserError
from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.paper.wavlm import BASE, RATE, STRIDE, at_16_khz, layers, our_name
from phonofilm.evaluate.probes.probe import AUDIO, LIMITS, Found, Measure, Probe, Unmeasured
from phonofilm.types import Clip

WINDOW = 10 * RATE
ENCODER = BASE
"""[code: model/aes.py]."""
FIXED = {
    "use_weighted_layer_sum": True,
    "normalize_embed": True,
    "output_dim": 1,
    "proj_act_fn": "gelu",
}
"""Settings of the authors' network that are written into ours."""
INSIDE = "wavlm_model."
"""What the checkpoint puts before the names of WavLM."""
AXES = {"CE": "enjoyment", "CU": "usefulness", "PC": "complexity of production", "PQ": "quality of production"}
NAMES = {axis: f"paper.audiobox_{axis.lower()}@0.0.4" for axis in AXES}
MEASURES = tuple(
    Measure(
        name=NAMES[axis],
        title=f"Audiobox aesthetics, {axis}: {what}",
        # The authors call complexity a description; papers have counted it either way.
        better="" if axis == "PC" else "up",
        unit="points, about 1 to 10",
        reads=AUDIO,
        evaluator="Audiobox aesthetics with the user's checkpoint, procedure of audiobox-aesthetics 0.0.4 (2618e9d)",
        package="transformers",
        preparation="mono, 16 kHz (windowed sinc, 6 zero crossings), windows of 10 s, the last one padded and masked",
    )
    for axis, what in AXES.items()
)


@dataclass(frozen=True, kw_only=True)
class Heads:
    """What a checkpoint says about its networks behind WavLM."""

    num_layers: int
    norms: bool
    dropout: float
    scale: Mapping[str, tuple[float, float]]
    """Mean and deviation of people's scores on each axis."""


class Aesthetics(nn.Module):
    """WavLM, and for each axis a weighted mean of its layers and a small network."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        from transformers import WavLMConfig, WavLMModel

        config = WavLMConfig(**ENCODER)
        self.heads = heads
        self.wavlm = WavLMModel(config)
        self.layer_weights = nn.ParameterDict({axis: torch.zeros(config.num_hidden_layers + 1) for axis in AXES})
        self.proj_layer = nn.ModuleDict({axis: _head(heads, config.hidden_size) for axis in AXES})

    def forward(self, wave: Float[Tensor, " N"]) -> Float[Tensor, " A"]:
        """Points on each axis for one window of at most 10 s at 16 kHz."""
        # A frame is masked where all of its samples are padding [code: wavlm.py, forward_padding_mask].
        num_frames = -(-len(wave) // STRIDE)
        heard = layers(self.wavlm, pad(wave, (0, WINDOW - len(wave))), num_frames).mean(1)  # (layers, channels)
        return torch.stack([self._points(axis, heard) for axis in AXES])

    def _points(self, axis: str, heard: Float[Tensor, "L C"]) -> Float[Tensor, ""]:
        mean, deviation = self.heads.scale[axis]
        mixed = normalize(self.layer_weights[axis].softmax(0) @ heard, dim=0)
        return self.proj_layer[axis](mixed)[0] * deviation + mean


def _head(heads: Heads, width: int) -> nn.Sequential:
    """The network of one axis; its modules are numbered as in the checkpoint, dropout included."""
    found: list[nn.Module] = []
    for _ in range(heads.num_layers - 1):
        found.append(nn.Linear(width, width))
        found += [nn.LayerNorm(width)] if heads.norms else []
        found.append(nn.GELU())
        found += [nn.Dropout(heads.dropout)] if heads.dropout else []
    return nn.Sequential(*found, nn.Linear(width, 1))


def points(net: Aesthetics, wave: Float[Tensor, " N"]) -> dict[str, float]:
    """Points of a sound at 16 kHz on each axis: the mean of its windows of 10 s, each weighed by how full it is.

    Raises ValueError for no sound.
    """
    if not len(wave):
        raise ValueError("no sound")
    windows = wave.split(WINDOW)
    filled = torch.tensor([len(window) / WINDOW for window in windows])
    found = filled @ torch.stack([net(window) for window in windows]) / filled.sum()
    return dict(zip(AXES, found.tolist(), strict=True))


@lru_cache(maxsize=1)
def load_audiobox(path: Path) -> Aesthetics:
    """Load the authors' checkpoint, file or folder. Raises ``UserError`` for one that is none, or another network's."""
    tensors, settings = _read_folder(path) if path.is_dir() else _read_file(path)
    net = Aesthetics(_heads(settings, path))
    load_strictly(
        net, {our_name(n.removeprefix("model."), INSIDE): tensor for n, tensor in tensors.items()}, where=str(path)
    )
    return net.eval().requires_grad_(False)


def _read_file(path: Path) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    """Tensors and settings of a checkpoint.pt; nothing in it is run."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return content["state_dict"], {**content["model_cfg"], "target_transform": content["target_transform"]}
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; name the authors' checkpoint.pt") from error
    except Exception as error:  # torch raises a dozen kinds for what is no checkpoint
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a checkpoint of Audiobox aesthetics ({reason}); name checkpoint.pt") from error


def _read_folder(path: Path) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    """Tensors and settings of a folder in the layout of huggingface_hub."""
    try:
        return load_file(path / "model.safetensors"), json.loads((path / "config.json").read_text())
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: not a checkpoint of Audiobox aesthetics ({reason}); it holds config.json and model.safetensors"
        ) from error


def _heads(settings: Mapping[str, Any], path: Path) -> Heads:
    """What the settings say; ``precision`` is among them and without effect, here as there [code: model/aes.py]."""
    for name, wanted in {"nth_layer": ENCODER["num_hidden_layers"] + 1, **FIXED}.items():
        if settings.get(name) != wanted:
            raise UserError(f"{path}: {name} is {settings.get(name)!r}, only {wanted!r} is known here")
    try:
        scale = {
            axis: (settings["target_transform"][axis]["mean"], settings["target_transform"][axis]["std"])
            for axis in AXES
        }
        return Heads(
            num_layers=settings["proj_num_layer"],
            norms=settings["proj_ln"],
            dropout=settings["proj_dropout"],
            scale=scale,
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: its settings lack {error}; fetch the authors' checkpoint again") from error


def _read(entry: Entry, clip: Clip) -> Found:
    if clip.seconds > LIMITS.seconds - 1 / clip.fps:
        raise Unmeasured(f"only its first {LIMITS.seconds:g} s were read, and the figure is of the whole sound")
    net = load_audiobox(entry.weights["audiobox"])
    try:
        found = points(net, at_16_khz(clip.audio.mean(0), clip.sample_rate))
    except ValueError as error:
        raise Unmeasured(str(error)) from error
    return Found(values={NAMES[axis]: (value, 1.0) for axis, value in found.items()})


AUDIOBOX = Probe("audiobox", MEASURES, lambda entry: True, _read, weights="audiobox")
"""Runs with ``--weights audiobox=PATH``."""
