"""mp4, wav and pictures in and out, and the resampling of sound. Everything lands on the clip's own clock: 0 seconds
is the moment the first pixel frame appears, and what was heard then is sample 0."""

from __future__ import annotations

import heapq
import json
import os
import struct
import wave as stdlib_wave
from fractions import Fraction
from pathlib import Path

import av
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Float
from torch import Tensor

from phonofilm.errors import UserError
from phonofilm.files.atomic import replacing
from phonofilm.files.clock import Limits, read_times
from phonofilm.files.containers import opened, url
from phonofilm.files.frames import read_film
from phonofilm.files.pictures import read_image
from phonofilm.files.resample import resample
from phonofilm.files.sound import read_sound
from phonofilm.types import Audio, Clip

__all__ = [  # with what lives in phonofilm.files and resample, and is one thing to who reads media
    "Limits",
    "read_clip",
    "read_image",
    "read_manifest",
    "read_wave",
    "replacing",
    "resample",
    "write_clip",
    "write_wave",
]
WHOLE = Limits()
"""All of a file, if it fits into the memory that one file may take."""
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
LAYOUTS = {1: "mono", 2: "stereo"}


def write_clip(path: str | os.PathLike[str], clip: Clip, *, manifest: dict | None = None) -> None:
    """Write an mp4 (h264 yuv420p and AAC) that browsers play, all of it or nothing.

    ``manifest`` must survive JSON; it goes into the comment tag, where ``read_manifest`` finds it. The same clip
    gives the same file. Raises ``UserError`` for clips that such an mp4 cannot hold.
    """
    path = Path(path)
    _check_writable(path, clip)
    # The movie's clock must tell samples apart, or the edit lists round the end of the sound to milliseconds.
    options = {"movflags": "+faststart", "movie_timescale": str(clip.sample_rate)}
    with replacing(path) as part, av.open(url(part), "w", format="mp4", options=options) as out:
        if manifest is not None:
            out.metadata["comment"] = json.dumps(manifest, sort_keys=True)
        picture = _video_stream(out, clip)
        sound = _audio_stream(out, clip) if clip.audio.shape[-1] else None
        packets = [_encode_video(picture, clip), _encode_audio(sound, clip) if sound is not None else []]
        for packet in heapq.merge(*packets, key=_decoding_time):
            out.mux(packet)


def read_clip(
    path: str | os.PathLike[str],
    *,
    fps: float | None = None,
    sample_rate: int | None = None,
    limits: Limits = WHOLE,
    even: bool = True,
) -> Clip:
    """Decode a file into a clip, at its own rates or at the ones given; a whole one unless there are limits.

    Encoder delay, edit lists, rotation and the shape of pixels are honoured: what was seen and heard together still
    is, and looks as players show it. Without ``even`` each pixel frame that is stored comes once, and ``Clip.times``
    says when, where that is not every 1 / fps; so no frame is repeated or left out before the wanted rate is known.
    Raises ``UserError`` for what is not a video, and for what would take more memory than the limits allow.
    """
    path = Path(path)
    times = read_times(path, limits)
    if times.video is None:
        raise UserError(f"{path}: no picture in it; read_wave reads sound alone")
    pipeline = read_film(path, times.video, limits, fps=fps, even=even)
    heard = None if times.audio is None else read_sound(path, times.audio, limits, start=pipeline.start)
    sound, native = heard or Audio(torch.zeros(1, 0), 16000)
    wanted = sample_rate or native
    return Clip(
        video=pipeline.video,
        audio=resample(sound, native, wanted).clamp(-1, 1),
        fps=pipeline.fps,
        sample_rate=wanted,
        times=pipeline.times,
    )


def read_manifest(path: str | os.PathLike[str]) -> dict:
    """The manifest in a clip's metadata: prompt, seed, model and whatever else it was written with."""
    path = Path(path)
    with opened(path) as container:
        comment = container.metadata.get("comment", "")
    try:
        manifest = json.loads(comment)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise UserError(f"{path}: carries no manifest; only clips that phonofilm wrote do")
    return manifest


def write_wave(
    path: str | os.PathLike[str], wave: Float[Tensor, "K N"], sample_rate: int, *, manifest: dict | None = None
) -> None:
    """Write a 16 bit wav, all of it or nothing; samples beyond [-1, 1] are clipped, NaN is a ``UserError``.

    ``manifest`` must survive JSON; it goes into the comment chunk, where ``read_manifest`` finds it.
    """
    if not torch.isfinite(wave).all():
        raise UserError(f"cannot write {path}: the sound holds NaN or infinity")
    samples = (wave.detach().cpu().clamp(-1, 1) * 32767).round().to(torch.int16).T.contiguous()
    with replacing(Path(path)) as part:
        with stdlib_wave.open(str(part), "wb") as out:
            out.setnchannels(len(wave))
            out.setsampwidth(2)
            out.setframerate(sample_rate)
            out.writeframes(samples.numpy().astype("<i2").tobytes())
        if manifest is not None:
            _append_comment(part, json.dumps(manifest, sort_keys=True))


def _append_comment(path: Path, text: str) -> None:
    """A chunk of information behind the samples of a wav (RIFF's LIST INFO, entry ICMT)."""
    comment = text.encode() + b"\0"
    comment += b"\0" * (len(comment) % 2)  # chunks have even lengths
    entry = b"INFOICMT" + struct.pack("<I", len(comment)) + comment
    content = path.read_bytes()
    content += b"\0" * (len(content) % 2) + b"LIST" + struct.pack("<I", len(entry)) + entry
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])


def read_wave(
    path: str | os.PathLike[str], *, sample_rate: int | None = None, limits: Limits = WHOLE
) -> tuple[Float[Tensor, "K N"], int]:
    """The sound of any file that FFmpeg reads, and its sample rate (the one given, if any); a whole one unless limited.

    Raises ``UserError`` for what holds no sound, and for what would take more memory than the limits allow.
    """
    path = Path(path)
    times = read_times(path, limits, picture=False)
    if times.audio is None:
        raise UserError(f"{path}: no sound in it")
    sound = read_sound(path, times.audio, limits)
    if sound is None:
        raise UserError(f"{path}: no sound could be decoded; the file may be cut off")
    wanted = sample_rate or sound.sample_rate
    return resample(sound.samples, sound.sample_rate, wanted).clamp(-1, 1), wanted


# Writing


def _check_writable(path: Path, clip: Clip) -> None:
    frames, _, height, width = clip.video.shape
    channels, samples = clip.audio.shape
    if not frames:
        raise UserError(f"cannot write {path}: the clip has no picture; write_wave writes sound alone")
    if clip.times is not None:
        raise UserError(f"cannot write {path}: its pixel frames are not evenly spaced; read it evenly")
    if height % 2 or width % 2:
        raise UserError(f"cannot write {path}: h264 wants even sizes, the picture is {width} x {height}")
    if samples and channels not in LAYOUTS:
        raise UserError(f"cannot write {path}: one or two channels of sound, not {channels}")
    if samples and clip.sample_rate not in AAC_RATES:
        raise UserError(f"cannot write {path}: AAC has no {clip.sample_rate} Hz; resample to one of {AAC_RATES}")
    if not torch.isfinite(clip.audio).all():
        raise UserError(f"cannot write {path}: the sound holds NaN or infinity")


def _video_stream(out: OutputContainer, clip: Clip) -> VideoStream:
    rate = Fraction(clip.fps).limit_denominator(1001)
    # No B frames: pictures are stored in the order they are shown, so no player needs an edit list to be on time.
    # One thread: x264 decides otherwise with more, and the file must not depend on the machine's cores.
    # No macroblock tree: with it the same small clip was now and then encoded differently (5 of 300 at 32 x 32).
    options = {"crf": "16", "preset": "fast", "bf": "0", "threads": "1", "x264-params": "mbtree=0"}
    stream = out.add_stream("libx264", rate=rate, options=options)
    assert isinstance(stream, VideoStream)
    stream.height, stream.width = clip.video.shape[-2:]
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = 1 / rate
    context = stream.codec_context
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def _audio_stream(out: OutputContainer, clip: Clip) -> AudioStream:
    channels = len(clip.audio)
    stream = out.add_stream("aac", rate=clip.sample_rate, layout=LAYOUTS[channels])
    assert isinstance(stream, AudioStream)
    stream.bit_rate = channels * min(128_000, 4 * clip.sample_rate)
    return stream


def _encode_video(stream: VideoStream, clip: Clip) -> list[Packet]:
    packets, converter = [], VideoReformatter()
    for index, pixels in enumerate(clip.video.cpu().permute(0, 2, 3, 1).contiguous().numpy()):
        rgb = VideoFrame.from_ndarray(pixels, format="rgb24")
        frame = converter.reformat(
            rgb, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = index, stream.time_base
        packets += stream.encode(frame)
    packets += stream.encode(None)
    for packet in packets:
        packet.duration = 1  # otherwise the last frame of a file has no length
    return packets


def _encode_audio(stream: AudioStream, clip: Clip) -> list[Packet]:
    samples = clip.audio.detach().cpu().float().clamp(-1, 1).contiguous().numpy()
    frame = AudioFrame.from_ndarray(samples, format="fltp", layout=LAYOUTS[len(samples)])
    frame.sample_rate = clip.sample_rate
    frame.pts, frame.time_base = 0, Fraction(1, clip.sample_rate)
    return [*stream.encode(frame), *stream.encode(None)]


def _decoding_time(packet: Packet) -> Fraction:
    assert packet.dts is not None
    return packet.dts * packet.time_base
