"""The pocket video codec: a Karhunen-Loeve transform of blocks, and a small network that draws them again.

The encoder is linear and fitted in seconds: blocks of 4 pixel frames by 16 x 16 pixels onto their principal
components. So latents are final before any training, a smooth function of the pixels, and no block looks ahead.
The decoder inverts the transform, which leaves blurred pictures, and a causal network sharpens them. Why not a
learned encoder: docs/log.md, 2026-11-21.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.codecs.folders import WEIGHTS, built, load_file_strictly, read_config
from phonofilm.errors import UserError
from phonofilm.files.stored_json import entry

FRAMES, SIZE = 4, 16
"""Pixel frames and pixels (each way) of a block."""
VALUES = FRAMES * 3 * SIZE * SIZE
CELL = 4
"""Pixels (each way) that the last layers of the decoder draw at once."""


class Causal(nn.Module):
    """Two convolutions over the latents' grid with a residual path: the first looks two latent frames back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(width, width, 3)
        self.conv2 = nn.Conv3d(width, width, (1, 3, 3), padding=(0, 1, 1))
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Float[Tensor, "B D t h w"]) -> Float[Tensor, "B D t h w"]:
        """The same shape; the future does not leak into the past."""
        return x + self.conv2(F.silu(self.conv1(F.pad(F.silu(x), (1, 1, 1, 1, 2, 0)))))


class Flat(nn.Module):
    """Two convolutions over single pictures with a residual path."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Float[Tensor, "N D h w"]) -> Float[Tensor, "N D h w"]:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class BlockCodec(nn.Module):
    """Blocks of pixels as their principal components; causal, for any size and any number of frames."""

    mean: Tensor
    basis: Tensor
    scale: Tensor
    temporal_stride = FRAMES
    spatial_stride = SIZE

    def __init__(self, *, channels: int, width: int, depth: int, fine: int, fine_depth: int) -> None:
        super().__init__()
        self.channels = channels
        self.numbers = {"channels": channels, "width": width, "depth": depth, "fine": fine, "fine_depth": fine_depth}
        self.register_buffer("mean", torch.zeros(VALUES))
        self.register_buffer("basis", torch.eye(VALUES, channels))
        self.register_buffer("scale", torch.ones(channels))
        self.enter = nn.Conv3d(channels, width, 1)
        self.layers = nn.ModuleList(Causal(width) for _ in range(depth))
        self.spread = nn.Conv3d(width, FRAMES * (SIZE // CELL) ** 2 * fine, 1)
        self.merge = nn.Conv2d(fine + 3 * CELL**2, fine, 3, padding=1)
        self.flats = nn.ModuleList(Flat(fine) for _ in range(fine_depth))
        self.leave = nn.Conv2d(fine, 3 * CELL**2, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # pyright: ignore[reportArgumentType]

    def encode(self, video: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C t h w"]:
        """Latents of about unit scale of a video in [-1, 1]. The first pixel frame counts as a block that stands still.

        Raises ValueError where the pixel frames are not ``4 k + 1`` or the sides not multiples of 16.
        """
        frames, height, width = video.shape[-3:]
        if (frames - 1) % FRAMES:
            raise ValueError(f"{frames} pixel frames; this codec takes {FRAMES} * k + 1 (1, 5, 9, ...)")
        if height % SIZE or width % SIZE:
            raise ValueError(f"{height}x{width} pixels; sides must be multiples of {SIZE}")
        still = video[:, :, :1].expand(-1, -1, FRAMES - 1, -1, -1)
        return (((to_blocks(torch.cat((still, video), dim=2)) - self.mean) @ self.basis) / self.scale).movedim(-1, 1)

    def decode(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B 3 T H W"]:
        """Video in [-1, 1]."""
        return self.render(latents).clamp(-1.0, 1.0)

    def render(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B 3 T H W"]:
        """Video, not clipped; what training needs."""
        plain = from_blocks((latents.movedim(1, -1) * self.scale) @ self.basis.T + self.mean)
        x = self.enter(latents)
        for layer in self.layers:
            x = layer(x)
        cells = self.spread(x).unflatten(1, (-1, FRAMES, SIZE // CELL, SIZE // CELL))  # (B, fine, 4, p, q, t, h, w)
        x = cells.permute(0, 5, 2, 1, 6, 3, 7, 4).flatten(6, 7).flatten(4, 5).flatten(0, 2)
        blurred = plain.transpose(1, 2).flatten(0, 1)
        x = self.merge(torch.cat((x, F.pixel_unshuffle(blurred, CELL)), dim=1))
        for flat in self.flats:
            x = flat(x)
        sharp = blurred + F.pixel_shuffle(self.leave(F.silu(x)), CELL)
        return sharp.unflatten(0, (len(latents), -1)).transpose(1, 2)[:, :, FRAMES - 1 :]

    @torch.no_grad()
    def fit(self, blocks: Float[Tensor, "N V"], weight: Float[Tensor, " N"], *, whiten: float) -> None:
        """Find the components of blocks, some of which weigh more; ``whiten`` 1 gives all the same deviation, 0 none.

        Between the two, strong components (colours) stand out of the noise before weak ones (edges), and errors of a
        weak one cost less, as in pixels.
        """
        weight = weight / weight.sum()
        self.mean.copy_((blocks * weight[:, None]).sum(dim=0))
        centred = (blocks - self.mean) * weight.sqrt()[:, None]
        variance, vectors = torch.linalg.eigh(centred.T @ centred)
        deviation = variance[-self.channels :].flip(0).sqrt()
        self.basis.copy_(vectors[:, -self.channels :].flip(1))
        left = deviation ** (1 - whiten)
        self.scale.copy_(deviation**whiten * left.square().mean().sqrt())

    @classmethod
    def load(cls, folder: str | Path) -> BlockCodec:
        """Load from the ``vae`` folder inside a checkpoint folder; missing or surplus weights are an error."""
        part = Path(folder) / "vae"
        config = {name: value for name, value in read_config(part).items() if not name.startswith("_")}
        codec = built(lambda: cls(**_checked(config, part / "config.json")), part, WEIGHTS)
        load_file_strictly(codec, part / WEIGHTS)
        return codec.eval().requires_grad_(False)

    def save(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write the ``vae`` folder inside a checkpoint folder, weights optionally in a shorter type."""
        part = Path(folder) / "vae"
        part.mkdir(parents=True, exist_ok=True)
        (part / "config.json").write_text(json.dumps({"_class_name": "BlockCodec", **self.numbers}, indent=1) + "\n")
        short = {name for name, _ in self.named_parameters()} if dtype else set()  # the transform stays exact
        state = {
            name: tensor.to(dtype if name in short else tensor.dtype).contiguous()
            for name, tensor in self.state_dict().items()
        }
        save_file(state, part / WEIGHTS, metadata={"format": "pt"})


def _checked(config: Mapping[str, object], path: Path) -> dict[str, int]:
    names = ("channels", "width", "depth", "fine", "fine_depth")
    if strange := sorted(config.keys() - {*names}):
        raise UserError(f"{path} has the unknown entry {strange[0]!r}; accepted are {', '.join(names)}")
    numbers = {name: entry(config, name, int, path) for name in names}
    for name, value in numbers.items():
        if not 1 <= value <= VALUES:
            raise UserError(f"{path}: {name} is {value}; accepted is from 1 to {VALUES}")
    return numbers


def to_blocks(video: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B t h w V"]:
    """Pixels cut into blocks; a block's values in the order frame, colour, row, column."""
    x = video.unflatten(4, (-1, SIZE)).unflatten(3, (-1, SIZE)).unflatten(2, (-1, FRAMES))
    return x.permute(0, 2, 4, 6, 3, 1, 5, 7).flatten(4)


def from_blocks(blocks: Float[Tensor, "B t h w V"]) -> Float[Tensor, "B 3 T H W"]:
    """The inverse of ``to_blocks``."""
    x = blocks.unflatten(4, (FRAMES, 3, SIZE, SIZE)).permute(0, 5, 1, 4, 2, 6, 3, 7)
    return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)
