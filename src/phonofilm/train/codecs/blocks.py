"""Fitting the pocket video codec: components of blocks first, then the decoder that draws what they leave out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from phonofilm.codecs.blocks import FRAMES, BlockCodec, to_blocks
from phonofilm.codecs.protocols import VideoCodec
from phonofilm.train.codecs.fit import CodecJob
from phonofilm.train.codecs.jobs import decibels, edges
from phonofilm.train.codecs.pool import Pool, box_mask, crops, to_video


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the training and the crops it sees."""

    until: float
    """Share of the training at which it ends."""
    frames: int
    size: int
    batch: int


@dataclass(frozen=True, kw_only=True)
class BlockLoss:
    """Weights of the fit."""

    components: float = 4.0
    """How much more a block with some of the mouth counts when components are found."""
    whiten: float = 0.6
    """How far components are brought to the same deviation; see ``BlockCodec.fit``."""
    mouth: float = 4.0
    """How much more a pixel inside the mouth box counts for the decoder."""
    gradient: float = 0.5
    """Of differences between neighbouring pixels, which keeps edges sharp."""


def fit_components(codec: BlockCodec, pool: Pool, loss: BlockLoss, seed: int = 0) -> None:
    """Fit the transform to one random latent frame of every training clip, in place."""
    rng = np.random.default_rng(seed)
    blocks, weights = [], []
    for clip in range(pool.training):
        latent = int(rng.integers(0, (pool.frames.shape[1] - 1) // FRAMES + 1))
        frames = slice(0, 1) if latent == 0 else slice(FRAMES * (latent - 1) + 1, FRAMES * latent + 1)
        video = to_video(pool.frames[clip, frames])[None]
        mask = box_mask(pool.boxes[clip, frames], video.shape[-1])[None].expand_as(video)
        still = (-1, -1, FRAMES, -1, -1)
        blocks.append(to_blocks(video.expand(still)).flatten(0, 3))
        touched = to_blocks(mask.expand(still)).flatten(0, 3).mean(dim=1) > 0.02
        weights.append(1 + loss.components * touched.float())
    codec.fit(torch.cat(blocks), torch.cat(weights), whiten=loss.whiten)


def block_job(codec: BlockCodec, pool: Pool, stages: tuple[Stage, ...], loss: BlockLoss, scored: int) -> CodecJob:
    """Train the decoder on crops that grow stage by stage; the transform stays as it was fitted."""

    def losses(network: nn.Module, done: float, rng: np.random.Generator) -> dict[str, Tensor]:
        stage = next(s for s in stages if done < s.until)
        video, mask = crops(pool, rng, frames=stage.frames, size=stage.size, batch=stage.batch)
        return decoder_losses(network, video, mask, loss)  # pyright: ignore[reportArgumentType]

    def score(network: nn.Module) -> dict[str, float]:
        return block_scores(network, pool, pool.heldout[:scored])  # pyright: ignore[reportArgumentType]

    return CodecJob(network=codec, losses=losses, score=score)


def decoder_losses(
    codec: BlockCodec, video: Float[Tensor, "B 3 T H W"], mask: Float[Tensor, "B 1 T H W"], loss: BlockLoss
) -> dict[str, Tensor]:
    """Absolute error, heavier in the mouth box, and error of edges."""
    error = codec.render(codec.encode(video)) - video
    weight = 1 + loss.mouth * mask
    sharp = torch.stack([(part.abs()).mean() for part in edges(error)]).sum()
    return {"l1": (error.abs() * weight).mean(), "edge": loss.gradient * sharp}


@torch.no_grad()
def block_scores(codec: VideoCodec, pool: Pool, clips: Sequence[int], *, still: bool = False) -> dict[str, float]:
    """PSNR on whole held-out clips, of the picture and inside the mouth box; means over clips of decibels.

    With ``still`` every clip is its first pixel frame, repeated.
    """
    whole, mouth = [], []
    for clip in clips:
        frames, boxes = pool.frames[clip], pool.boxes[clip]
        if still:
            frames, boxes = np.repeat(frames[:1], len(frames), 0), np.repeat(boxes[:1], len(boxes), 0)
        video = to_video(frames)[None]
        square = (codec.decode(codec.encode(video)) - video).square()
        whole.append(decibels(square.mean().item()))
        mask = box_mask(boxes, video.shape[-1])
        if mask.any():
            mouth.append(decibels(((square * mask).sum() / (3 * mask.sum())).item()))
    return {"psnr": float(np.mean(whole)), "mouth": float(np.mean(mouth)) if mouth else math.nan}
