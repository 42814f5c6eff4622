"""Training of the learned pocket video codec: encoder and decoder at once, on puppets and on other footage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from phonofilm.codecs.blocks import SIZE
from phonofilm.codecs.convolutional import ConvCodec
from phonofilm.train.codecs.blocks import Stage, block_scores
from phonofilm.train.codecs.fit import CodecJob
from phonofilm.train.codecs.pool import Pool, box_mask, corner, to_video


@dataclass(frozen=True, kw_only=True)
class ConvLoss:
    """Weights of the training."""

    square: float = 4.0
    """Of the squared error beside the absolute one: what PSNR counts."""
    mouth: float = 8.0
    """How much more a pixel inside the mouth box counts."""
    moving: float = 4.0
    """How much more a pixel counts that has just changed."""
    gradient: float = 0.25
    """Of differences between neighbouring pixels, which keeps edges sharp."""
    seam: float = 3.0
    """How much more such a difference counts across the edge of two tokens."""
    noise: float = 0.08
    """Largest deviation of the noise on latents: each clip draws its own below."""
    large: float = 0.02
    """Of a mean square of the latents above 1, with which they could drown the noise."""
    footage: float = 0.22
    """Share of the crops that show no puppets."""


MOVED = 0.04
"""Change of a pixel from one pixel frame to the next, of 2, above which it moves."""


def short_products() -> torch.autocast:
    """Products in bfloat16 where the processor has units for them, in float32 where it would be slower."""
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast("cpu", torch.bfloat16, enabled=fast)


def conv_job(
    codec: ConvCodec, pools: tuple[Pool, Pool], stages: tuple[Stage, ...], loss: ConvLoss, scored: Sequence[int]
) -> CodecJob:
    """Train on crops of puppets and of other footage that grow stage by stage; scores are of whole puppet clips."""

    def losses(network: nn.Module, done: float, rng: np.random.Generator) -> dict[str, Tensor]:
        stage = next(s for s in stages if done < s.until)
        video, mask = draw_crops(pools, rng, stage, loss.footage)
        return conv_losses(network, video, mask, loss)  # pyright: ignore[reportArgumentType]

    def score(network: nn.Module) -> dict[str, float]:
        with short_products():
            return block_scores(network, pools[0], scored)  # pyright: ignore[reportArgumentType]

    return CodecJob(network=codec, losses=losses, score=score)


def draw_crops(
    pools: tuple[Pool, Pool], rng: np.random.Generator, stage: Stage, footage: float
) -> tuple[Float[Tensor, "B 3 T S S"], Float[Tensor, "B 1 T S S"]]:
    """Random crops on the grid of tokens, where whole clips put them, and the share of mouth at every pixel.

    ``footage`` of them come from the second pool, the others from the first, four of ten of those near the mouth.
    """
    videos, masks = [], []
    for _ in range(stage.batch):
        pool = pools[int(rng.random() < footage)]
        clip = int(rng.integers(pool.training))
        start = int(rng.integers(pool.frames.shape[1] - stage.frames + 1))
        boxes = pool.boxes[clip, start : start + stage.frames]
        left, top = (at // SIZE * SIZE for at in corner(boxes[0], pool.frames.shape[-1], stage.size, rng))
        frames = pool.frames[clip, start : start + stage.frames]
        videos.append(to_video(frames[..., top : top + stage.size, left : left + stage.size]))
        masks.append(box_mask(boxes - np.array([left, top, left, top]), stage.size))
    return torch.stack(videos), torch.stack(masks)


def conv_losses(
    codec: ConvCodec, video: Float[Tensor, "B 3 T H W"], mask: Float[Tensor, "B 1 T H W"], loss: ConvLoss
) -> dict[str, Tensor]:
    """Absolute and squared error, heavier in mouths and where things move; error of edges; too large latents."""
    with short_products():
        latents = codec.encode(video)
        deviation = loss.noise * torch.rand(len(video), 1, 1, 1, 1)
        error = codec.render(latents + deviation * torch.randn_like(latents)).float() - video
    moved = (video.diff(dim=2, prepend=video[:, :, :1]).abs().mean(dim=1, keepdim=True) > MOVED).float()
    weight = 1 + loss.mouth * mask + loss.moving * moved
    large = (latents.float().square().mean() - 1).clamp_min(0)
    return {
        "l1": (error.abs() * weight).mean(),
        "l2": loss.square * (error.square() * weight).mean(),
        "edge": loss.gradient * (_differences(error, -1, loss.seam) + _differences(error, -2, loss.seam)),
        "large": loss.large * large,
    }


def _differences(error: Float[Tensor, "B 3 T H W"], dim: int, seam: float) -> Float[Tensor, ""]:
    """Mean absolute difference of neighbours, those in different tokens ``seam`` times heavier on top."""
    each = error.diff(dim=dim).abs().mean(dim=[d for d in range(error.ndim) if d != error.ndim + dim])
    heavy = torch.ones(len(each))
    heavy[SIZE - 1 :: SIZE] += seam
    return (each * heavy).sum() / heavy.sum()


@torch.no_grad()
def adopt_scale(codec: ConvCodec, pool: Pool, clips: Sequence[int]) -> None:
    """Bring the latents of these clips to a mean square of 1, in place; what is decoded stays as it is."""
    squares = [codec.encode(to_video(pool.frames[clip])[None]).square().mean() for clip in clips]
    codec.scale.mul_(torch.stack(squares).mean().sqrt())
