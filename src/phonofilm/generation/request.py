"""What a request asks for: whether it holds together, which voices it names, and how long its clip is."""

from __future__ import annotations

import math
from collections import Counter
from string import ascii_lowercase

import torch

from phonofilm.diffusion.tokens import Geometry
from phonofilm.encoders.voice import Voices
from phonofilm.errors import UserError
from phonofilm.types import Audio, Clip, Request, Span

FPS = (1.0, 1000.0)
"""Pixel frames a second that given pictures may have."""
ABSENT = {"": frozenset(), "video": frozenset({"audio"}), "audio": frozenset({"video"})}
"""The streams that a request does without, by what alone it wants."""
UNWANTED = {"": set(), "video": {"audio", "clip", "voice"}, "audio": {"image", "video", "clip"}}
"""What a request cannot bring then."""
ENOUGH = 1e-3
"""Seconds by which given sound may outlast its clip, or fall short of it, as if it were of its length."""


def brought(request: Request) -> frozenset[str]:
    """Names of the fields that a request brings besides its prompt."""
    names = {name for name in ("image", "video", "audio", "clip", "retake") if getattr(request, name) is not None}
    return frozenset(names | {"voice"} if request.voice else names)


def check_request(request: Request) -> None:
    """Raise ``UserError`` for what no model could do."""
    given = brought(request)
    if request.only not in ABSENT:
        raise UserError(f"only {request.only!r}: 'video' or 'audio' is accepted, or nothing for both")
    if unwanted := given & UNWANTED[request.only]:
        raise UserError(f"only {request.only} is wanted, and {_list(unwanted)} given: leave out one or the other")
    for name, clip in (("video", request.video), ("clip", request.clip)):
        if clip is not None:
            _check_video(name, clip)
    for name, audio in (("audio", request.audio), *((f"voice of {who!r}", audio) for who, audio in request.voice)):
        if audio is not None:
            _check_audio(name, audio)
    _check_together(request, given)
    _named(request)


def _check_video(name: str, clip: Clip) -> None:
    low, high = FPS
    if not len(clip.video):
        raise UserError(f"the {name} has no pixel frames; give one with pictures")
    if not (math.isfinite(clip.fps) and low <= clip.fps <= high):
        raise UserError(f"the {name} has {clip.fps} pixel frames a second; {low:g} to {high:g} are taken")


def _check_audio(name: str, audio: Audio) -> None:
    if audio.sample_rate <= 0:
        raise UserError(f"the {name} has {audio.sample_rate} samples a second; a positive number is wanted")
    if not audio.samples.numel():
        raise UserError(f"the {name} holds no sound")
    if not torch.isfinite(audio.samples).all():
        raise UserError(f"the {name} holds NaN or infinity")


def _check_together(request: Request, given: frozenset[str]) -> None:
    """What rules each other out, and what is nothing without another."""
    if request.video is not None and request.audio is not None:
        video, audio = request.video.seconds, request.audio.seconds
        if abs(video - audio) > 1 / request.video.fps:
            raise UserError(f"the video lasts {video:.2f} s, the audio {audio:.2f} s: they do not belong together")
        raise UserError(
            "video and audio are both given, so nothing is left to make: leave one out, or name a part "
            "of a clip to retake"
        )
    if request.clip is None:
        if request.retake is not None:
            raise UserError("retake names a part of a clip, and no clip is given: give one")
        return
    double = given & {"video", "audio"}
    if double:
        raise UserError(f"a clip brings its own pictures and sound, and {_list(double)} given besides: leave it out")
    if not request.clip.audio.shape[-1]:
        raise UserError("the clip has no sound: continue and retake need both; give it as video to have sound made")
    _check_audio("clip's sound", audio_of(request.clip))
    if request.retake is not None:
        start, end = request.retake
        length = request.clip.seconds
        name = f"retake {start:g}:{end:g}"
        if not (math.isfinite(start) and math.isfinite(end)) or start >= end:
            raise UserError(f"{name}: start comes before end, both in seconds, such as 0.5:1.2")
        if start < 0 or end > length + ENOUGH:
            raise UserError(f"{name}: the clip lasts from 0 to {length:.3f} s; name a part of that")


def _list(names: frozenset[str] | set[str]) -> str:
    return f"{' and '.join(sorted(names))} {'is' if len(names) == 1 else 'are'}"


def speakers_of(request: Request) -> list[str]:
    """Who says something, in the order of the lines; one without a name is ""."""
    return list(dict.fromkeys(who for who, _ in request.prompt.speech))


def voices_of(request: Request) -> Voices:
    """Reference voices by the speakers' names in the prompt.

    Raises ``UserError`` for two voices of one speaker, for a voice of somebody who says nothing, and for one without a
    name where several speak.
    """
    named, speakers = _named(request), speakers_of(request)
    if any(who == "" for who, _ in named) and "" not in speakers:
        wanted = " ".join(f"--voice {who}={letter}.wav" for who, letter in zip(speakers, ascii_lowercase))
        raise UserError(f"whose voice is it? {len(speakers)} speakers want one each, by name: {wanted}")
    return named


def _named(request: Request) -> Voices:
    """The voices, the only speaker's under the speaker's name; one without a name stays so where several speak."""
    speakers = speakers_of(request)
    if request.voice and not speakers:
        raise UserError("a voice is given, and nobody says anything: say something, or leave the voice out")
    named = tuple((speakers[0] if who == "" and len(speakers) == 1 else who, audio) for who, audio in request.voice)
    for who, times in Counter(who for who, _ in named).items():
        if who and who not in speakers:
            known = ", ".join(repr(speaker) for speaker in speakers if speaker) or "one without a name"
            raise UserError(f"a voice for {who!r}, who says nothing (speakers: {known})")
        if times > 1:
            raise UserError(f"{times} voices for {repr(who) if who else 'one speaker'}: give one")
    return named


def span_of(request: Request, fps: float) -> Span | None:
    """The seconds that continuing or retaking make anew; None for requests that bring no clip."""
    if request.clip is None:
        return None
    if request.retake is not None:
        return Span(*request.retake)
    # A sound that is a few samples short of its pictures must not cost a whole latent frame of them.
    return Span(min(count(request.clip, fps) / fps, audio_of(request.clip).seconds + ENOUGH), math.inf)


def audio_of(clip: Clip) -> Audio:
    """The sound of a clip alone."""
    return Audio(clip.audio, clip.sample_rate)


def count(clip: Clip, fps: float) -> int:
    """Pixel frames of a clip when so many are shown a second."""
    length = len(clip.video) / clip.fps if clip.times is None else clip.seconds
    return max(1, round(length * fps))


def geometry_of(request: Request, default: Geometry, stride: int, trained: tuple[int, ...]) -> Geometry:
    """The geometry of a request's clip: one pixel frame and a multiple of ``stride``, within what was trained.

    Raises ``UserError`` where the request, or what it brings, asks for another length.
    """
    fps = default.fps
    name, video = ("clip", request.clip) if request.retake is not None else ("video", request.video)
    low, high = (min(trained), max(trained)) if trained else (1, math.inf)
    kind = _lengths(trained, fps)
    frames = default.num_frames
    if request.seconds is not None:
        frames = max(0, round((request.seconds * fps - 1) / stride)) * stride + 1
        if not low <= frames <= high:
            raise UserError(f"{request.seconds:g} seconds: this model was trained on {kind}; ask for that")
    elif video is not None:
        frames = (count(video, fps) - 1) // stride * stride + 1
        if not low <= frames <= high:
            mend = "give a longer one" if frames < low else "cut it, or name the seconds of its beginning to use"
            raise UserError(f"the {name} lasts {video.seconds:.2f} s, this model was trained on {kind}: {mend}")
    elif request.audio is not None:
        frames = max(_holding(request.audio, fps, stride), int(low))
    geometry = Geometry(num_frames=frames, height=default.height, width=default.width, fps=fps)
    if video is not None and count(video, fps) < frames:
        raise UserError(
            f"the {name} lasts {video.seconds:.2f} s and the result {geometry.seconds:.2f} s: "
            "give a longer one, or ask for fewer seconds"
        )
    if request.audio is not None and (frames > high or request.audio.seconds > geometry.seconds + ENOUGH):
        needed = _holding(request.audio, fps, stride)
        mend = f"ask for {needed / fps:.2f} seconds" if low <= needed <= high else f"this model makes {kind}: cut it"
        raise UserError(
            f"the audio lasts {request.audio.seconds:.2f} s: the clip would have to last {needed / fps:.2f} s; {mend}"
        )
    return geometry


def _holding(audio: Audio, fps: float, stride: int) -> int:
    """Pixel frames of the shortest clip that holds a sound."""
    return max(0, math.ceil(((audio.seconds - ENOUGH) * fps - 1) / stride)) * stride + 1


def _lengths(trained: tuple[int, ...], fps: float) -> str:
    if not trained:
        return "clips of any length"
    low, high = (f"{n / fps:.2f}" for n in (min(trained), max(trained)))
    return f"clips of {low} s" if low == high else f"clips from {low} to {high} s"
