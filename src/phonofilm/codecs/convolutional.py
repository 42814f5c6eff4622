"""The learned pocket video codec: a causal convolutional autoencoder that starts from a linear transform.

Convolutions see single latent frames (four pixel frames as channels, or one by one where pixels are fine), which a CPU
is fast at; a few of them see the latent frame before as well, which is all that time needs. The encoder adds what it
learns to the principal components of blocks (``BlockCodec``), so that it never does worse on footage that it was not
trained on than they can. The decoder is learned wholly: its convolutions reach across the edges of tokens, so that
no seam has to be drawn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_type_hints

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.codecs.blocks import CELL, FRAMES, SIZE, VALUES, BlockCodec, to_blocks
from phonofilm.codecs.folders import WEIGHTS, built, load_file_strictly, read_config
from phonofilm.errors import UserError
from phonofilm.files.stored_json import entry

NORM_FLOOR = 0.1
"""Mean square below which features are not brought to unit scale, so that flat areas stay flat."""


@dataclass(frozen=True, kw_only=True)
class ConvConfig:
    """Widths of a codec, from 4 pixels per feature to 16 in the encoder and from 16 to 2 in the decoder."""

    channels: int = 64
    encoder: tuple[int, int, int] = (64, 160, 320)
    encoder_depths: tuple[int, int, int] = (1, 2, 2)
    decoder: tuple[int, int, int, int] = (320, 192, 64, 32)
    decoder_depths: tuple[int, int, int, int] = (2, 2, 2, 1)


class Residual(nn.Module):
    """Two convolutions over latent frames beside a path that skips them; at first they add nothing.

    With ``causal`` the first sees the latent frame before as well, zeros before the first. With ``scaled`` features
    come in at unit scale, where they are not pixels any more.
    """

    def __init__(self, width: int, *, causal: bool = False, scaled: bool = True) -> None:
        super().__init__()
        self.causal = causal
        self.scaled = scaled
        self.conv1 = nn.Conv2d(width * (2 if causal else 1), width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Float[Tensor, "N D h w"], clips: int) -> Float[Tensor, "N D h w"]:
        """The same shape; ``N`` holds the latent frames of ``clips`` clips one after the other."""
        y = x * (x.square().mean(dim=1, keepdim=True) + NORM_FLOOR).rsqrt() if self.scaled else x
        if self.causal:
            by_clip = y.unflatten(0, (clips, -1))
            before = torch.cat((torch.zeros_like(by_clip[:, :1]), by_clip[:, :-1]), dim=1)
            y = torch.cat((y, before.flatten(0, 1)), dim=1)
        return x + self.conv2(F.relu(self.conv1(y), inplace=True))


def residuals(width: int, depth: int, *, causal: bool = False, scaled: bool = True) -> nn.ModuleList:
    """``depth`` residual layers, the first of them causal where asked."""
    return nn.ModuleList(Residual(width, causal=causal and i == 0, scaled=scaled) for i in range(depth))


def spread(x: Float[Tensor, "N FssD h w"], *, frames: int = 1, size: int = 2) -> Float[Tensor, "NF D sh sw"]:
    """Channels in the order frame, row, column, feature to frames and pixels; one copy of whole features."""
    places = x.permute(0, 2, 3, 1).unflatten(3, (frames, size, size, -1))
    return places.permute(0, 3, 1, 4, 2, 5, 6).flatten(4, 5).flatten(2, 3).flatten(0, 1).permute(0, 3, 1, 2)


def gather(x: Float[Tensor, "N D H W"], *, size: int = 2) -> Float[Tensor, "N ssD h w"]:
    """The inverse of ``spread`` for single frames."""
    places = x.permute(0, 2, 3, 1).unflatten(2, (-1, size)).unflatten(1, (-1, size))
    return places.permute(0, 1, 3, 2, 4, 5).flatten(3).permute(0, 3, 1, 2)


class Encoder(nn.Module):
    """Four pixel frames to one latent frame; adds nothing at first."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        fine, middle, coarse = config.encoder
        depths = config.encoder_depths
        self.enter = nn.Conv2d(FRAMES * 3 * CELL**2, fine, 3, padding=1)
        self.fine = residuals(fine, depths[0], scaled=False)
        self.down1 = nn.Conv2d(4 * fine, middle, 1)
        self.middle = residuals(middle, depths[1])
        self.down2 = nn.Conv2d(4 * middle, coarse, 1)
        self.coarse = residuals(coarse, depths[2], causal=True)
        self.leave = nn.Conv2d(coarse, config.channels, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, cells: Float[Tensor, "N V h4 w4"], clips: int) -> Float[Tensor, "N C h w"]:
        """Latents of ``N`` latent frames, each four pixel frames by 4 x 4 pixels as channels."""
        x = F.relu(self.enter(cells), inplace=True)
        for layer in self.fine:
            x = layer(x, clips)
        x = self.down1(gather(x))
        for layer in self.middle:
            x = layer(x, clips)
        x = self.down2(gather(x))
        for layer in self.coarse:
            x = layer(x, clips)
        return self.leave(F.relu(x))


class Decoder(nn.Module):
    """One latent frame to four pixel frames; from 4 pixels per feature on frame by frame."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        coarse, middle, fine, finest = config.decoder
        depths = config.decoder_depths
        self.enter = nn.Conv2d(config.channels, coarse, 3, padding=1)
        self.coarse = residuals(coarse, depths[0], causal=True)
        self.up1 = nn.Conv2d(coarse, 4 * middle, 1)
        self.middle = residuals(middle, depths[1])
        self.up2 = nn.Conv2d(middle, FRAMES * 4 * fine, 1)
        self.fine = residuals(fine, depths[2], scaled=False)
        self.up3 = nn.Conv2d(fine, 4 * finest, 1)
        self.finest = residuals(finest, depths[3], scaled=False)
        self.leave = nn.Conv2d(finest, 4 * 3, 3, padding=1)

    def forward(self, latents: Float[Tensor, "N C h w"], clips: int) -> Float[Tensor, "N4 3 H W"]:
        """Four pixel frames, one after the other, of every latent frame."""
        x = self.enter(latents)
        for layer in self.coarse:
            x = layer(x, clips)
        x = spread(self.up1(x))
        for layer in self.middle:
            x = layer(x, clips)
        x = spread(self.up2(x), frames=FRAMES)
        for layer in self.fine:
            x = layer(x, clips)
        x = spread(self.up3(x))
        for layer in self.finest:
            x = layer(x, clips)
        return spread(self.leave(x))


class ConvCodec(nn.Module):
    """A causal convolutional autoencoder for any size and any number of frames."""

    mean: Tensor
    basis: Tensor
    scale: Tensor
    temporal_stride = FRAMES
    spatial_stride = SIZE

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        self.config = config
        self.channels = config.channels
        self.register_buffer("mean", torch.zeros(VALUES))
        self.register_buffer("basis", torch.eye(VALUES, config.channels))
        self.register_buffer("scale", torch.ones(()))
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, video: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C t h w"]:
        """Latents of about unit scale of a video in [-1, 1]. The first pixel frame counts as four that stand still.

        Raises ValueError where the pixel frames are not ``4 k + 1`` or the sides not multiples of 16.
        """
        frames, height, width = video.shape[-3:]
        if (frames - 1) % FRAMES:
            raise ValueError(f"{frames} pixel frames; this codec takes {FRAMES} * k + 1 (1, 5, 9, ...)")
        if height % SIZE or width % SIZE:
            raise ValueError(f"{height}x{width} pixels; sides must be multiples of {SIZE}")
        whole = torch.cat((video[:, :, :1].expand(-1, -1, FRAMES - 1, -1, -1), video), dim=2)
        linear = ((to_blocks(whole) - self.mean) @ self.basis).movedim(-1, 1)
        cells = whole.unflatten(4, (-1, CELL)).unflatten(3, (-1, CELL)).unflatten(2, (-1, FRAMES))
        cells = cells.permute(0, 2, 4, 6, 3, 1, 5, 7).flatten(4).flatten(0, 1).permute(0, 3, 1, 2)
        learned = self.encoder(cells, len(video)).unflatten(0, (len(video), -1)).transpose(1, 2)
        return (linear + learned) / self.scale

    def decode(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B 3 T H W"]:
        """Video in [-1, 1]."""
        return self.render(latents).clamp(-1.0, 1.0)

    def render(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B 3 T H W"]:
        """Video, not clipped; what training needs."""
        pictures = self.decoder((latents * self.scale).transpose(1, 2).flatten(0, 1), len(latents))
        return pictures.unflatten(0, (len(latents), -1)).transpose(1, 2)[:, :, FRAMES - 1 :]

    @torch.no_grad()
    def start_from(self, linear: BlockCodec) -> None:
        """Adopt a linear transform, in place: as the encoder's path and as what the decoder draws before training."""
        self.mean.copy_(linear.mean)
        self.basis.copy_(linear.basis / linear.scale)
        _draw_linearly(self.decoder, linear)

    @classmethod
    def load(cls, folder: str | Path) -> ConvCodec:
        """Load from the ``vae`` folder inside a checkpoint folder; missing or surplus weights are an error."""
        part = Path(folder) / "vae"
        config = {name: value for name, value in read_config(part).items() if not name.startswith("_")}
        codec = built(lambda: cls(_checked(config, part / "config.json")), part, WEIGHTS)
        load_file_strictly(codec, part / WEIGHTS)
        return codec.to(memory_format=torch.channels_last).eval().requires_grad_(False)  # pyright: ignore[reportCallIssue]

    def save(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write the ``vae`` folder inside a checkpoint folder, parameters optionally in a shorter type."""
        part = Path(folder) / "vae"
        part.mkdir(parents=True, exist_ok=True)
        config = {"_class_name": "ConvCodec", **asdict(self.config)}
        (part / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        short = {name for name, _ in self.named_parameters()} if dtype else set()  # the transform stays exact
        state = {
            name: tensor.detach().to(dtype if name in short else tensor.dtype).contiguous()
            for name, tensor in self.state_dict().items()
        }
        save_file(state, part / WEIGHTS, metadata={"format": "pt"})


def _checked(config: Mapping[str, object], path: Path) -> ConvConfig:
    forms = get_type_hints(ConvConfig)
    if strange := sorted(config.keys() - forms.keys()):
        raise UserError(f"{path} has the unknown entry {strange[0]!r}; accepted are {', '.join(forms)}")
    numbers = {name: entry(config, name, form, path) for name, form in forms.items()}
    for name, value in numbers.items():
        if not all(1 <= number <= VALUES for number in (value if isinstance(value, tuple) else (value,))):
            raise UserError(f"{path}: {name} is {value}; accepted is from 1 to {VALUES}")
    return ConvConfig(**numbers)


@torch.no_grad()
def _draw_linearly(decoder: Decoder, linear: BlockCodec) -> None:
    """Set the decoder's path beside its residual layers to the inverse transform, nearly.

    Tokens (16 pixels) hold coefficients of quarters (8 pixels): those of the directions in which the quarters of all
    components vary most. Quarters hold pixels. What features are left keep their random weights.
    """
    count, middle = linear.channels, decoder.up2.in_channels
    quarter = (FRAMES, 3, 2, 8, 2, 8)  # frame, colour, quarter row, row, quarter column, column
    maps = (
        (linear.basis * linear.scale).T.unflatten(1, quarter).permute(3, 5, 1, 2, 4, 6, 0).flatten(2, 5).flatten(0, 1)
    )
    means = linear.mean.unflatten(0, quarter).permute(2, 4, 0, 1, 3, 5).flatten(2).flatten(0, 1)
    directions, strengths, _ = torch.linalg.svd(maps.transpose(0, 1).flatten(1), full_matrices=False)  # 768 by 4 C
    kept = min(middle, len(strengths))
    directions = directions[:, :kept]
    gains = strengths[:kept].clamp_min(1e-6) ** 0.6
    gains = gains * (strengths[:kept] / gains).square().mean().sqrt() / 2  # coefficients of about unit scale
    _set(decoder.enter, torch.eye(count)[None])
    _set(decoder.up1, directions.T @ maps / gains[:, None], means @ directions / gains)
    cell = (FRAMES, 3, 2, 2, 2, 2, 2, 2)  # frame, colour, then row and column: cell, 2 x 2 pixels, pixel
    pixels = (directions * gains).unflatten(0, cell).permute(0, 2, 5, 3, 6, 4, 7, 1, 8)
    _set(decoder.up2, pixels.flatten(3, 7).flatten(0, 2))
    _set(decoder.up3, torch.eye(48).view(4, 12, 48))
    decoder.leave.weight.mul_(0.01)
    _set(decoder.leave, torch.eye(12)[None])


def _set(conv: nn.Conv2d, maps: Float[Tensor, "P out in"], means: Float[Tensor, "P out"] | None = None) -> None:
    """Set the first outputs of a convolution, at each of P places, to linear maps of its first inputs (middle tap)."""
    assert conv.bias is not None
    middle = conv.kernel_size[0] // 2
    places, (_, outputs, inputs) = len(maps), maps.shape
    weight, bias = conv.weight.unflatten(0, (places, -1)), conv.bias.view(places, -1)
    weight[:, :outputs] = 0.0
    weight[:, :outputs, :inputs, middle, middle] = maps
    bias[:, :outputs] = 0.0 if means is None else means
