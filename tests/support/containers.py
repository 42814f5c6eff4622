"""One clip (a ramp of greys with a flash, a sine with a click in it) in the containers and codecs of the world."""

import math
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

RATE, FPS, FRAMES, FLASH = 48000, 25, 50, 30
SIZE = (64, 80)


class Kind(NamedTuple):
    """How a file is written, and what its codecs lose."""

    format: str
    video: str
    audio: str = ""
    pixels: str = "yuv420p"
    rate: int = RATE
    options: dict = {}  # noqa: RUF012
    container: dict = {}  # noqa: RUF012
    snr: float = 50.0
    """Decibels of the sine that the codec leaves; at the encoder's own loss where that is lower."""


QUIET = {"x265-params": "log-level=none"}
KINDS = {
    "h264_aac.mp4": Kind("mp4", "libx264", "aac"),
    "fragments.mp4": Kind("mp4", "libx264", "aac", container={"movflags": "frag_keyframe+empty_moov"}),
    "h264_pcm.mov": Kind("mov", "libx264", "pcm_s16le"),
    "prores_pcm.mov": Kind("mov", "prores_ks", "pcm_s16le", "yuv422p10le"),
    "mjpeg_pcm.mov": Kind("mov", "mjpeg", "pcm_s16le", "yuvj420p"),
    "qtrle_alac.mov": Kind("mov", "qtrle", "alac", "rgb24"),
    "mpeg4_aac.m4v": Kind("mp4", "mpeg4", "aac"),
    "h264_aac.3gp": Kind("3gp", "libx264", "aac"),
    "h264_aac.mkv": Kind("matroska", "libx264", "aac"),
    "h264_mp3.mkv": Kind("matroska", "libx264", "libmp3lame"),
    "h264_flac.mkv": Kind("matroska", "libx264", "flac"),
    "ffv1_pcm.mkv": Kind("matroska", "ffv1", "pcm_s16le"),
    "hevc_opus.mkv": Kind("matroska", "libx265", "libopus", options=QUIET),
    "vp8_opus.webm": Kind("webm", "libvpx", "libopus"),
    "vp9_opus.webm": Kind("webm", "libvpx-vp9", "libopus"),
    "h264_pcm.avi": Kind("avi", "libx264", "pcm_s16le"),
    "mjpeg_ac3.avi": Kind("avi", "mjpeg", "ac3", "yuvj420p"),
    "h264_aac.ts": Kind("mpegts", "libx264", "aac"),
    "mpeg2_mp2.ts": Kind("mpegts", "mpeg2video", "mp2"),
    "h264_ac3.ts": Kind("mpegts", "libx264", "ac3"),
    "mpeg2_mp2.mpg": Kind("mpeg", "mpeg2video", "mp2"),
    "h264_aac.flv": Kind("flv", "libx264", "aac"),
    "flv_mp3.flv": Kind("flv", "flv", "libmp3lame", rate=44100),
    "wmv_wma.wmv": Kind("asf", "wmv2", "wmav2", snr=45),
    "mpeg2_pcm.mxf": Kind("mxf", "mpeg2video", "pcm_s16le", "yuv422p"),
    "h264_aac.nut": Kind("nut", "libx264", "aac"),
    "alone.h264": Kind("h264", "libx264"),
    "alone.gif": Kind("gif", "gif", pixels="rgb8"),
}


def levels():
    """Grey of each pixel frame."""
    grey = [20 + 3 * index for index in range(FRAMES)]
    grey[FLASH] = 250
    return grey


def wave():
    """A sine, and a click in the middle of the flash."""
    seconds = np.arange(FRAMES * RATE // FPS) / RATE
    samples = 0.3 * np.sin(2 * np.pi * 440 * seconds)
    start = round(((FLASH + 0.5) / FPS - 0.001) * RATE)
    samples[start : start + RATE // 500] = 0.95 * np.sign(np.sin(2 * np.pi * 3000 * seconds[: RATE // 500]))
    return samples.astype(np.float32)


def write(path, kind):
    """Write the clip, picture and sound by turns as muxers want them."""
    with av.open(str(path), "w", format=kind.format, options=kind.container) as out:
        video = out.add_stream(kind.video, rate=FPS, options=kind.options)
        (video.height, video.width), video.pix_fmt = SIZE, kind.pixels
        video.bit_rate = 3_000_000
        audio, sound = None, iter(())
        if kind.audio:
            audio = out.add_stream(kind.audio, rate=kind.rate, layout="mono")
            audio.bit_rate = 256_000
            sound = pieces(audio, kind.rate)
        heard = 0.0
        for index, grey in enumerate(levels()):
            frame = VideoFrame.from_ndarray(np.full((*SIZE, 3), grey, np.uint8), format="rgb24")
            frame = frame.reformat(format=kind.pixels)
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            out.mux(video.encode(frame))
            while heard < (index + 1) / FPS and (piece := next(sound, None)) is not None:
                heard = piece.pts * float(piece.time_base)
                out.mux(audio.encode(piece))
        out.mux(video.encode(None))
        for piece in sound:
            out.mux(audio.encode(piece))
        if audio is not None:
            out.mux(audio.encode(None))


def pieces(audio, rate):
    """The sound in the encoder's format and frames."""
    context = audio.codec_context
    if not context.is_open:
        context.open()
    size = context.frame_size or 1024
    resampler = av.AudioResampler(format=context.format.name, layout="mono", rate=rate, frame_size=size)
    frame = AudioFrame.from_ndarray(wave()[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    yield from resampler.resample(frame)
    yield from resampler.resample(None)


def signal_to_noise(wave, rate, start, end, hertz=440.0):
    """Decibels of the sine that fits best over what is left."""
    seconds = torch.arange(int(start * rate), int(end * rate), dtype=torch.float64) / rate
    wanted = wave.double()[int(start * rate) : int(end * rate), None]
    waves = torch.stack([fn(2 * math.pi * hertz * seconds) for fn in (torch.sin, torch.cos)], dim=1)
    rest = wanted - waves @ torch.linalg.lstsq(waves, wanted).solution
    return 10 * math.log10(float(wanted.square().sum() / rest.square().sum()))
