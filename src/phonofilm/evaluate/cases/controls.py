"""Clips made worse in a known way: a metric that does not see the damage measures nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from phonofilm.codecs.loading import PARTS, StoredAudio, StoredVideo, load_audio_codec, load_video_codec
from phonofilm.types import Clip

DELAY = 0.2


def delay_audio(clip: Clip, seconds: float = DELAY) -> Clip:
    """Let the sound come later (earlier where negative); its length stays, what is uncovered is silent."""
    shift = round(seconds * clip.sample_rate)
    audio = torch.zeros_like(clip.audio)
    length = clip.audio.shape[-1]
    if abs(shift) < length:
        audio[:, max(0, shift) : length + min(0, shift)] = clip.audio[:, max(0, -shift) : length - max(0, shift)]
    return replace(clip, audio=audio)


def silence(clip: Clip) -> Clip:
    """Keep the picture and mute the sound."""
    return replace(clip, audio=torch.zeros_like(clip.audio))


def freeze(clip: Clip) -> Clip:
    """Keep the sound and show the first pixel frame throughout."""
    return replace(clip, video=clip.video[:1].expand_as(clip.video).contiguous())


def add_noise(clip: Clip, *, pixels: float = 24.0, decibels: float = -10.0) -> Clip:
    """Lay seeded white noise over the picture (standard deviation in grey levels) and the sound (against its RMS)."""
    rng = torch.Generator().manual_seed(0)
    video = torch.empty_like(clip.video)
    for k, frame in enumerate(clip.video):  # one at a time: as floats a clip takes four times its memory
        video[k] = (frame + pixels * torch.randn(frame.shape, generator=rng)).round().clamp(0, 255).to(torch.uint8)
    level = clip.audio.square().mean().sqrt() if clip.audio.numel() else 0.0
    noise = level * 10 ** (decibels / 20) * torch.randn(clip.audio.shape, generator=rng)
    return replace(clip, video=video, audio=(clip.audio + noise).clamp(-1, 1))


def swap_audio(clip: Clip, other: Clip) -> Clip:
    """Show one clip with the sound of another, cut or padded with silence to the first one's length."""
    audio = torch.zeros_like(clip.audio)
    length = min(clip.audio.shape[-1], other.audio.shape[-1])
    audio[:, :length] = other.audio[:, :length]
    return replace(clip, audio=audio)


def through_codecs(clip: Clip, folder: Path) -> Clip:
    """Encode and decode a clip with the codecs of a checkpoint folder."""
    video_codec, audio_codec = _codecs(folder)
    with torch.no_grad():
        pixels = clip.video.transpose(0, 1)[None].float() / 127.5 - 1
        video = video_codec.decode(video_codec.encode(pixels))[0].transpose(0, 1)
        audio = audio_codec.decode(audio_codec.encode(clip.audio[None]))[0, :, : clip.audio.shape[-1]]
    return replace(clip, video=((video + 1) * 127.5).round().clamp(0, 255).to(torch.uint8), audio=audio.clamp(-1, 1))


@lru_cache(maxsize=1)
def _codecs(folder: Path) -> tuple[StoredVideo, StoredAudio]:
    return load_video_codec(folder).eval(), load_audio_codec(folder).eval()


def codec_files(folder: Path) -> list[Path]:
    """The files of the codecs in a checkpoint folder."""
    return sorted(file for name in PARTS for file in folder.glob(f"{name}/*"))


def shuffled_within(groups: Sequence[str], *, seed: int = 0) -> list[int]:
    """Return for each item the index of another one of its group, at random; of itself where it is alone."""
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    partner = list(range(len(groups)))
    for group in sorted(members):
        order = members[group]
        random.Random(f"{seed} {group}").shuffle(order)
        for place, index in enumerate(order):
            partner[index] = order[(place + 1) % len(order)]
    return partner
