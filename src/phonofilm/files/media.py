"""mp4, wav and pictures in and out, and the resampling of sound. Everything lands on the clip's own clock: 0 seconds
is the moment the first pixel frame appears, and what was heard then is sample 0."""

from __future__ import annotations

import heapq
import json
import math
import os
import secrets
import struct
import wave as stdlib_wave
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from phonofilm.errors import UserError
from phonofilm.files.resample import resample
from phonofilm.types import Clip

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
LAYOUTS = {1: "mono", 2: "stereo"}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place on success and vanishes on any error.

    Raises ``UserError`` where the folder cannot be written.
    """
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another place") from error
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_clip(path: str | os.PathLike[str], clip: Clip, *, manifest: dict | None = None) -> None:
    """Write an mp4 (h264 yuv420p and AAC) that browsers play, all of it or nothing.

    ``manifest`` must survive JSON; it goes into the comment tag, where ``read_manifest`` finds it. The same clip
    gives the same file. Raises ``UserError`` for clips that such an mp4 cannot hold.
    """
    path = Path(path)
    _check_writable(path, clip)
    # The movie's clock must tell samples apart, or the edit lists round the end of the sound to milliseconds.
    options = {"movflags": "+faststart", "movie_timescale": str(clip.sample_rate)}
    with replacing(path) as part, av.open(str(part), "w", format="mp4", options=options) as out:
        if manifest is not None:
            out.metadata["comment"] = json.dumps(manifest, sort_keys=True)
        picture = _video_stream(out, clip)
        sound = _audio_stream(out, clip) if clip.audio.shape[-1] else None
        packets = [_encode_video(picture, clip), _encode_audio(sound, clip) if sound is not None else []]
        for packet in heapq.merge(*packets, key=_decoding_time):
            out.mux(packet)


class Limits(NamedTuple):
    """What bounds the memory that a file of any length and size takes."""

    seconds: float
    """What comes later is not read."""
    pixels: int
    """Larger pictures are scaled down to about as many pixels, as soon as they are decoded."""


def read_clip(
    path: str | os.PathLike[str],
    *,
    fps: float | None = None,
    sample_rate: int | None = None,
    limits: Limits | None = None,
) -> Clip:
    """Decode a file into a clip, at its own rates or at the ones given; a whole one unless there are limits.

    Encoder delay and edit lists are honoured, so that what was seen and heard together still is. Raises
    ``UserError`` for what is not a video.
    """
    path = Path(path)
    with _opened(path) as container:
        if not container.streams.video:
            raise UserError(f"{path}: no picture in it; read_wave reads sound alone")
        frames, pieces = _decode(container, limits=limits)
        picture = container.streams.video[0]
        rate = picture.average_rate or picture.guessed_rate or Fraction(25)
        end, heard = _end(picture), _end(container.streams.audio[0]) if pieces else None
    if not frames:
        raise UserError(f"{path}: no pixel frame could be decoded; the file may be cut off")
    start = frames[0].seconds
    if limits is not None:
        latest = start + Fraction(limits.seconds)
        end, heard = min(end or latest, latest), min(heard or latest, latest)
    video = _constant_rate(frames, fps or float(rate), end)
    sound, native = _join(pieces, start, heard)
    wanted = sample_rate or native
    return Clip(
        video=video,
        audio=resample(sound, native, wanted).clamp(-1, 1),
        fps=float(fps or rate),
        sample_rate=wanted,
    )


def read_manifest(path: str | os.PathLike[str]) -> dict:
    """The manifest in a clip's metadata: prompt, seed, model and whatever else it was written with."""
    path = Path(path)
    with _opened(path) as container:
        comment = container.metadata.get("comment", "")
    try:
        manifest = json.loads(comment)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise UserError(f"{path}: carries no manifest; only clips that phonofilm wrote do")
    return manifest


def read_image(path: str | os.PathLike[str]) -> UInt8[Tensor, "3 H W"]:
    """A picture as RGB, turned upright, what is transparent on white. Raises ``UserError`` for what is none."""
    path = Path(path)
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGBA")
            white = Image.new("RGBA", upright.size, "white")
            pixels = np.array(Image.alpha_composite(white, upright).convert("RGB"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; name a PNG, JPEG or WebP picture") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: not a picture; PNG, JPEG and WebP are read") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as a picture ({error})") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


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


def read_wave(path: str | os.PathLike[str], *, sample_rate: int | None = None) -> tuple[Float[Tensor, "K N"], int]:
    """The first sound stream of any file that FFmpeg reads, and its sample rate (the one given, if any)."""
    path = Path(path)
    with _opened(path) as container:
        if not container.streams.audio:
            raise UserError(f"{path}: no sound in it")
        _, pieces = _decode(container, picture=False)
        end = _end(container.streams.audio[0])
    if not pieces:
        raise UserError(f"{path}: no sound could be decoded; the file may be cut off")
    sound, native = _join(pieces, pieces[0].seconds, end)
    wanted = sample_rate or native
    return resample(sound, native, wanted).clamp(-1, 1), wanted


# Writing


def _check_writable(path: Path, clip: Clip) -> None:
    frames, _, height, width = clip.video.shape
    channels, samples = clip.audio.shape
    if not frames:
        raise UserError(f"cannot write {path}: the clip has no picture; write_wave writes sound alone")
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


# Reading


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    if not path.exists():
        raise UserError(f"{path}: no such file")
    try:
        with av.open(str(path)) as container:
            yield container
    except FFmpegError as error:
        raise UserError(f"{path}: cannot be decoded ({error.strerror})") from error


class _Shown(NamedTuple):
    seconds: Fraction
    frame: VideoFrame


class _Heard(NamedTuple):
    seconds: Fraction
    samples: np.ndarray  # (K, N)
    rate: int


def _decode(
    container: InputContainer, *, picture: bool = True, limits: Limits | None = None
) -> tuple[list[_Shown], list[_Heard]]:
    """All frames of the first picture stream and all pieces of the first sound stream, with their seconds."""
    streams = [*container.streams.video[: int(picture)], *container.streams.audio[:1]]
    frames, pieces, done = [], [], set()
    scaler, to_float = VideoReformatter(), av.AudioResampler(format="fltp")
    for frame in container.decode(streams):
        assert isinstance(frame, VideoFrame | AudioFrame)
        if frame.pts is None or frame.time_base is None:
            raise UserError(f"{container.name}: a frame without a time; the file is damaged")
        seconds = frame.pts * frame.time_base
        if limits is not None and seconds > (frames[0].seconds if frames else 0) + Fraction(limits.seconds):
            done.add(type(frame))
            if len(done) == len(streams):
                break
        elif isinstance(frame, VideoFrame):
            frames.append(_Shown(seconds, _scaled(frame, scaler, limits)))
        else:
            samples = [piece.to_ndarray() for piece in to_float.resample(frame)]
            pieces.append(_Heard(seconds, np.concatenate(samples, axis=1), frame.sample_rate))
    return frames, pieces


def _scaled(frame: VideoFrame, scaler: VideoReformatter, limits: Limits | None) -> VideoFrame:
    """The pixel frame at the size that the limits allow, sides even."""
    if limits is None or frame.width * frame.height <= limits.pixels:
        return frame
    share = math.sqrt(limits.pixels / (frame.width * frame.height))
    width, height = (max(2, 2 * round(side * share / 2)) for side in (frame.width, frame.height))
    return scaler.reformat(frame, width=width, height=height, interpolation="AREA")


def _end(stream: VideoStream | AudioStream) -> Fraction | None:
    """Where the container says that a stream ends; AAC's last frame is longer than what was put in."""
    if stream.duration is None or stream.time_base is None:
        return None
    return ((stream.start_time or 0) + stream.duration) * stream.time_base


def _constant_rate(frames: list[_Shown], fps: float, end: Fraction | None) -> UInt8[Tensor, "T 3 H W"]:
    """For each pixel frame wanted the one on show at its middle."""
    times = torch.tensor([float(f.seconds - frames[0].seconds) for f in frames], dtype=torch.float64)
    step = float(times[-1]) / (len(times) - 1) if len(times) > 1 else 1 / fps
    seconds = float(end - frames[0].seconds) if end else float(times[-1]) + step
    middles = (torch.arange(max(1, round(seconds * fps)), dtype=torch.float64) + 0.5) / fps
    picks = torch.searchsorted(times, middles, right=True).sub(1).clamp(min=0)
    converter = VideoReformatter()  # one for all: each starts threads of its own, which took longer than the rest
    pixels = np.stack([converter.reformat(frames[i].frame, format="rgb24").to_ndarray() for i in picks.tolist()])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _join(pieces: list[_Heard], start: Fraction, end: Fraction | None) -> tuple[Float[Tensor, "K N"], int]:
    """Sound on the picture's clock: sample 0 is at ``start``; gaps are silent; what lies past ``end`` is cut."""
    if not pieces:
        return torch.zeros(1, 0), 16000
    rate = pieces[0].rate
    places = [round((p.seconds - start) * rate) for p in pieces]
    last = max(place + p.samples.shape[1] for place, p in zip(places, pieces))
    length = max(0, last if end is None else min(last, round((end - start) * rate)))
    sound = torch.zeros(len(pieces[0].samples), length)
    for place, piece in zip(places, pieces):
        skip, stop = max(0, -place), min(piece.samples.shape[1], length - place)
        if stop > skip:
            sound[:, place + skip : place + stop] = torch.from_numpy(piece.samples[:, skip:stop])
    return sound, rate
