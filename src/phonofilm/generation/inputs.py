"""Given pictures and sound: fitted to the model's size and rates, and put back into the clip bit by bit."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from phonofilm.codecs.protocols import AudioCodec
from phonofilm.diffusion.tasks import Task
from phonofilm.diffusion.tokens import Geometry
from phonofilm.errors import UserError
from phonofilm.files.resample import resample
from phonofilm.generation.request import ENOUGH, audio_of, count, span_of, speakers_of
from phonofilm.recipes.lookup import recipes_with_voices
from phonofilm.types import Audio, Clip, Layout, Request, Span

FADE = 0.02
"""Seconds over which given sound fades into made sound, inside the made part."""

ENLARGED = 32
"""Times that given pictures are enlarged at most."""


class Fitted(NamedTuple):
    """Given pictures and sound in the model's size and rates; None where there are none."""

    video: UInt8[Tensor, "T 3 h w"] | None
    """Pixel frames of the clip itself, from its start."""
    audio: Float[Tensor, "1 N"] | None
    """Samples of the clip itself, from its start."""
    image: UInt8[Tensor, "1 3 h w"] | None = None
    """A portrait, which is no part of the clip."""
    voice: Float[Tensor, "1 N"] | None = None
    """The recording behind a task's reference tokens."""


def fit(request: Request, geometry: Geometry, task: Task, codec: AudioCodec) -> Fitted:
    """What a request gives: of the clip itself no more than the clip holds, its portrait, and its reference voice."""
    sample_rate, reference = codec.sample_rate, task.reference
    video = request.video or request.clip
    audio = request.audio if request.clip is None else audio_of(request.clip)
    return Fitted(
        video=None if video is None else scaled(at_rate(video, geometry.fps)[: geometry.num_frames], geometry),
        audio=None if audio is None else clamped_mono(audio, sample_rate)[:, : geometry.num_samples(sample_rate)],
        image=None if request.image is None else scaled(request.image[None], geometry),
        voice=None
        if reference is None
        else reference.wave(mono(request.voice[0][1], sample_rate), sample_rate, codec.hop),
    )


def at_rate(clip: Clip, fps: float) -> UInt8[Tensor, "T 3 H W"]:
    """The pixel frames on show at the middles of frames of another rate."""
    middles = (torch.arange(count(clip, fps), dtype=torch.float64) + 0.5) / fps
    if clip.times is not None:
        picks = torch.searchsorted(clip.times[:-1].contiguous(), middles.to(clip.times), right=True) - 1
        return clip.video[picks.clamp(min=0)]
    return clip.video[(middles * clip.fps).long().clamp(max=len(clip.video) - 1)]


def clamped_mono(audio: Audio, sample_rate: int) -> Float[Tensor, "1 N"]:
    """The mean of all channels at another rate, within [-1, 1]."""
    return mono(audio, sample_rate).clamp(-1, 1)


def mono(audio: Audio, sample_rate: int) -> Float[Tensor, "1 N"]:
    """The mean of all channels at another rate, as loud as it is."""
    return resample(audio.samples.float().mean(dim=0, keepdim=True), audio.sample_rate, sample_rate)


def scaled(video: UInt8[Tensor, "T 3 H W"], geometry: Geometry) -> UInt8[Tensor, "T 3 h w"]:
    """Pictures cut to the clip's shape around their middle and scaled to its size."""
    height, width = video.shape[-2:]
    scale = min(height / geometry.height, width / geometry.width)
    rows, columns = max(1, round(geometry.height * scale)), max(1, round(geometry.width * scale))
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = video[:, :, top : top + rows, left : left + columns]
    size = (geometry.height, geometry.width)
    if cut.shape[-2:] == size:
        return cut
    return F.interpolate(cut.float(), size, mode="bilinear", antialias=True).round().clamp(0, 255).to(torch.uint8)


def signed(video: UInt8[Tensor, "T 3 h w"]) -> Float[Tensor, "1 3 T h w"]:
    """Pixels in [-1, 1], as a codec takes them."""
    return (video.float() / 127.5 - 1).transpose(0, 1)[None]


class Kept(NamedTuple):
    """Pixel frames and samples of a clip that are those of the request."""

    video: Bool[Tensor, " T"]
    audio: Bool[Tensor, " N"]


def kept(task: Task, layout: Layout, geometry: Geometry, stride: int, sample_rate: int) -> Kept:
    """What a task gives back untouched: all that its known latent frames cover. A portrait is no part of the clip."""
    video = torch.zeros(geometry.num_frames, dtype=torch.bool)
    audio = torch.zeros(geometry.num_samples(sample_rate), dtype=torch.bool)
    if task.needs & {"video", "clip"}:
        known = task.video(layout.video)
        video = torch.cat((known[:1], known[1:].repeat_interleave(stride)))
    if task.needs & {"audio", "clip"}:
        hop = round(layout.audio.step * sample_rate)
        audio = task.audio(layout.audio).repeat_interleave(hop)[: len(audio)]
    return Kept(video, audio)


def restored(clip: Clip, given: Fitted, keep: Kept) -> Clip:
    """A made clip with its given pixels and samples in their places, bit by bit; given sound that is short is silent.

    At the edges of what was made, the given sound, mirrored, fades out over the made one.
    """
    video, audio = clip.video, clip.audio
    if given.video is not None and len(video):
        whole = F.pad(given.video, (0, 0, 0, 0, 0, 0, 0, len(video) - len(given.video)))
        video = torch.where(keep.video[:, None, None, None], whole, video)
    if given.audio is not None and audio.shape[-1]:
        whole = F.pad(given.audio, (0, audio.shape[-1] - given.audio.shape[-1])).expand_as(audio)
        audio = faded(whole, audio, keep.audio, round(FADE * clip.sample_rate))
    return Clip(video=video, audio=audio, fps=clip.fps, sample_rate=clip.sample_rate)


def faded(
    given: Float[Tensor, "K N"], made: Float[Tensor, "K N"], keep: Bool[Tensor, " N"], length: int
) -> Float[Tensor, "K N"]:
    """Given samples where they are kept, made ones elsewhere, and between them a fade of so many samples."""
    mixed = torch.where(keep, given, made)
    for start, end in gaps(keep):
        sides = (start > 0) + (end < len(keep))
        for edge, step, inside in ((start, 1, start > 0), (end - 1, -1, end < len(keep))):
            size = min(length, (end - start) // sides if sides else 0, edge if step > 0 else len(keep) - end)
            if inside and size:
                places = edge + step * torch.arange(size)
                mirrored = given[:, places - step * (2 * torch.arange(size) + 1)]
                share = 1 - (torch.arange(size) + 0.5) / size
                mixed[:, places] = share * mirrored + (1 - share) * made[:, places]
    return mixed


def gaps(keep: Bool[Tensor, " N"]) -> list[tuple[int, int]]:
    """Runs that are not kept: (first, one past the last)."""
    ends = torch.diff(F.pad((~keep).int(), (1, 1)))
    return list(zip((ends == 1).nonzero().flatten().tolist(), (ends == -1).nonzero().flatten().tolist()))


def check_size(request: Request, geometry: Geometry) -> None:
    """Raise ``UserError`` for pictures of which so little is left at the clip's shape that it would be a blur."""
    for name, pixels in (("image", request.image), ("video", request.video), ("clip", request.clip)):
        if pixels is not None:
            height, width = (pixels.video if isinstance(pixels, Clip) else pixels).shape[-2:]
            scale = min(height / geometry.height, width / geometry.width)
            if scale < 1 / ENLARGED:
                wanted = f"{-(-geometry.width // ENLARGED)} x {-(-geometry.height // ENLARGED)}"
                raise UserError(
                    f"the {name} is {width} x {height}: it cannot be scaled to {geometry.width} x {geometry.height}; "
                    f"give one of at least {wanted} pixels"
                )


def check_kept(request: Request, geometry: Geometry, keep: Kept) -> None:
    """Raise ``UserError`` where a clip leaves nothing to make, or is too short to go on from."""
    if request.clip is None:
        return
    lasts = f"the clip lasts {request.clip.seconds:.3f} s"
    if request.retake is not None:
        if request.retake[0] >= geometry.seconds - ENOUGH:
            start, end = request.retake
            raise UserError(
                f"retake {start:g}:{end:g}: {lasts}, of which the first {geometry.seconds:.3f} s are used: name a part "
                "of that"
            )
    elif keep.video.all() or keep.audio.all():
        raise UserError(
            f"{lasts} and the result {geometry.seconds:.3f} s: nothing is left to make; "
            "ask for more seconds, or give a shorter clip"
        )
    elif not (keep.video.any() and keep.audio.any()):
        raise UserError(f"{lasts}: too short to go on from, not one latent frame of sound")


def check_reference(request: Request, task: Task) -> None:
    """Raise ``UserError`` for voices that reference tokens cannot hold: they do not say whose voice they are."""
    if task.reference is None:
        return
    speakers = speakers_of(request)
    if len(speakers) != 1:
        raise UserError(
            f"a voice is given for {len(speakers)} speakers ({', '.join(speakers)}), and this model speaks with one "
            "reference voice only: let one speaker say all, leave the voice out, or take a model of a recipe that "
            f"reads a voice for each speaker ({', '.join(recipes_with_voices())})"
        )
    audio = request.voice[0][1]
    if audio.seconds < task.reference.seconds - ENOUGH:
        raise UserError(f"the voice lasts {audio.seconds:.2f} s, this model listens to {task.reference.seconds:g} s")


def notes(request: Request, geometry: Geometry, sample_rate: int, keep: Kept) -> list[str]:
    """What was done to given parts, in lines for people: spans that were widened, sizes and rates that were fitted."""
    found = []
    if request.clip is not None:
        spans = (
            f"{name} from {' and '.join(f'{a / rate:.3f} to {b / rate:.3f} s' for a, b in gaps(part))}"
            for name, part, rate in (("pictures", keep.video, geometry.fps), ("sound", keep.audio, sample_rate))
        )
        start, end = span_of(request, geometry.fps) or Span(0.0, math.inf)
        asked = f"from {start:.3f} s on" if end == math.inf else f"{start:g} to {end:g} s"
        found.append(f"made anew are {', '.join(spans)} (asked for {asked}, widened to whole latent frames)")
    video, audio = request.video or request.clip, request.audio
    if video is not None:
        found += _video_notes(video, geometry)
        if request.video is not None and video.audio.shape[-1]:
            found.append("the video's own sound is not used")
        audio = audio_of(request.clip) if request.clip is not None else None
    if audio is not None:
        if (audio.sample_rate, len(audio.samples)) != (sample_rate, 1):
            channels = f"{len(audio.samples)} channels of " if len(audio.samples) > 1 else ""
            found.append(f"{channels}sound at {audio.sample_rate} Hz are fitted to one channel at {sample_rate} Hz")
        if request.clip is None and audio.seconds < geometry.seconds - ENOUGH:
            found.append(f"the sound ends at {audio.seconds:.2f} s, then it is silent until {geometry.seconds:.2f} s")
    return found


def _video_notes(video: Clip, geometry: Geometry) -> list[str]:
    height, width = video.video.shape[-2:]
    found = []
    if (height, width, video.fps) != (geometry.height, geometry.width, geometry.fps) or video.times is not None:
        rate = f"{video.fps:g} fps" if video.times is None else "a varying rate"
        found.append(
            f"pictures of {width} x {height} at {rate} are fitted to {geometry.width} x "
            f"{geometry.height} at {geometry.fps:g} fps"
        )
    surplus = count(video, geometry.fps) - geometry.num_frames
    if surplus > 0:
        found.append(f"{surplus} pixel frames behind {geometry.seconds:.3f} s are left out")
    return found
