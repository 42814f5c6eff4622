"""MMAudio's codecs out of the pickles that it publishes, as folders that ``phonofilm import --codecs`` takes.

Layouts, normed weights and logarithms are those of github.com/hkchengrex/MMAudio (mmaudio/ext/autoencoder, bigvgan,
bigvgan_v2, mel_converter.py).
"""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phonofilm.checkpoints.importing import renamed
from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.folders import load_strictly
from phonofilm.errors import UserError
from phonofilm.files.atomic import appearing
from phonofilm.files.plain import check_name
from phonofilm.recipes.wan_names import Rules

VOCODER: Rules = (
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
)
"""PyTorch's newer names for the lengths and directions of normed weights, to its older ones. The other names of the
vocoders, and all of the VAE, are those that diffusers has kept."""
EPSILON = 1e-4
"""Beside the root mean square of a filter [code: edm2_utils.py]."""


@dataclass(frozen=True)
class Pickles:
    """What the files of one codec are called, and in which unit its mels are."""

    vae: str
    vocoder: str
    unit: float = 1.0
    """How many of its mels' units are one of ours, which are decadic logarithms."""


PICKLES_16K = Pickles(vae="v1-16.pth", vocoder="best_netG.pt")
PICKLES_44K = Pickles(vae="v1-44.pth", vocoder="bigvgan_generator.pt", unit=math.log(10))
"""Natural logarithms; the vocoder is the file of nvidia/bigvgan_v2_44khz_128band_512x."""


def import_mmaudio(source: Path, folder: Path, codec: AudioCodec, pickles: Pickles) -> int:
    """Write the pickles in a folder as a codec folder; how many tensors they hold. ``codec`` gives the sizes.

    Latents stay as they are: mean 0, deviation 1. Raises ``UserError`` for a file that is not there or no pickle of
    tensors, and one that names the tensor which is missing, surplus, misshapen or not finite; nothing is left then.
    """
    paths = source / pickles.vae, source / pickles.vocoder
    vae, vocoder = pickled(paths[0]), pickled(paths[1], part="generator")
    load_strictly(codec.vae.vae, vae, where=str(paths[0]))
    load_strictly(codec.vocoder, folded(vocoder, where=str(paths[1])), where=str(paths[1]))
    adopt(codec, pickles.unit)
    with appearing(folder) as unfinished:
        codec.save(unfinished)
    return len(vae) + len(vocoder)


def pickled(path: Path, *, part: str = "") -> dict[str, Tensor]:
    """The tensors of a pickle, or of one part of it; nothing else in it is ever built.

    Raises ``UserError`` for a file that is not there, is broken or holds anything but tensors.
    """
    check_name(path)
    if not path.is_file():
        raise UserError(f"no {path.name} in {path.parent}: put the published file there")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's about kinds of pickles, which it refuses in the next moment
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{path} is broken or holds more than tensors ({reason}); fetch it again") from error
    tensors = content.get(part) if part and isinstance(content, dict) else content
    if not isinstance(tensors, dict):
        raise UserError(f"{path} holds no {part or 'tensors by name'!r}; fetch it again")
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise UserError(f"{path}: {name!r} is no tensor but of the type {type(tensor).__name__}")
    return tensors


def folded(tensors: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """Weights out of their lengths and directions: ``g v / |v|`` (Salimans and Kingma 2016, eq. 2).

    Raises ``UserError`` for a length without a direction, of another shape, or beside the weight itself.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ours = renamed(name, VOCODER)
        if ours in found:
            raise UserError(f"{where}: {ours!r} is there under two names")
        found[ours] = tensor
    lengths = [name for name in found if name.endswith(".weight_g")]
    for name in lengths:
        weight = name.removesuffix("_g")
        length, direction = found.pop(name), found.pop(f"{weight}_v", None)
        if direction is None:
            raise UserError(f"{where}: 1 missing weights, the first is {weight}_v")
        if weight in found:
            raise UserError(f"{where}: {weight!r} is there as itself and as {name!r}")
        if direction.ndim < 2 or length.shape != (len(direction), *[1] * (direction.ndim - 1)):
            raise UserError(f"{where}: 1 misshapen weights, the first is {name}")
        found[weight] = direction * (length / direction.flatten(1).norm(dim=1).view_as(length))
    return found


@torch.no_grad()
def adopt(codec: AudioCodec, unit: float) -> None:
    """What MMAudio does to loaded weights, and diffusers' classes expect done; mels in our logarithm."""
    for module in codec.vae.vae.modules():
        if isinstance(module, nn.Conv1d):
            module.weight.copy_(unit_gain(module.weight))
    for statistic in (codec.vae.vae.data_mean, codec.vae.vae.data_std):
        statistic.div_(unit)  # pyright: ignore[reportCallIssue]
    codec.vocoder.conv_pre.weight.mul_(unit)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]


def unit_gain(weight: Float[Tensor, "K C W"]) -> Float[Tensor, "K C W"]:
    """Filters of length 1, up to an epsilon (Karras et al. 2024, eq. 66, with the gain of eq. 47)."""
    norm = weight.flatten(1).norm(dim=1)[:, None, None]
    return weight / (norm + EPSILON * math.sqrt(weight[0].numel()))
