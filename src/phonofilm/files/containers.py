"""Files with picture and sound, opened for reading: plain files by their own names, in formats by a list."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from phonofilm.errors import UserError
from phonofilm.files.plain import check_plain

Stream = VideoStream | AudioStream
FORMATS = (
    "mov,mp4,matroska,webm,avi,asf,asf_o,flv,live_flv,kux,mpegts,mpeg,mpegvideo,mxf,nut,ogg,rm,wtv,dv,gxf,lxf,ivr,swf,nuv,nsv,"
    "h261,h263,h264,hevc,vvc,m4v,av1,obu,ivf,vc1,dirac,dnxhd,cavsvideo,mjpeg,mjpeg_2000,gif,apng,yuv4mpegpipe,roq,smk,bink,"
    "wav,w64,aiff,au,caf,flac,mp3,aac,ac3,eac3,dts,dtshd,truehd,mlp,wv,tta,ape,mpc,mpc8,tak,shn,amr,amrnb,amrwb,"
    "gsm,voc,ircam,rso,sbc,dsf,iff,xwma,oma,aptx,g722,loas,latm,adx,spdif"
)
"""Demuxers that are used. Others read playlists or scripts that name other files, or the screen and the microphone."""
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """A container, open for reading; whatever FFmpeg does not like about the file becomes a ``UserError``."""
    check_plain(path)
    try:
        with av.open(url(path), options=OPTIONS, metadata_errors="replace") as container:
            yield container
    except UserError:
        raise
    except FFmpegError as error:
        raise UserError(f"{path}: cannot be decoded ({error.strerror})") from error
    except (ValueError, MemoryError, OverflowError, NotImplementedError) as error:  # what PyAV makes of odd numbers
        raise UserError(f"{path}: cannot be decoded ({' '.join(str(error).split()) or 'too large'})") from error


def url(path: Path) -> str:
    """How FFmpeg is told that a name is a file's, whatever colons it holds; a ``UserError`` if it is not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{str(path)!r}: the name of the file is not UTF-8; rename it") from error
    return f"file:{path}"


def video_stream(container: InputContainer) -> VideoStream | None:
    """The picture stream that players show: the first marked as default, else the first; covers are none."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    return next((stream for stream in streams if stream.disposition & Disposition.default), next(iter(streams), None))


def audio_stream(container: InputContainer) -> AudioStream | None:
    """The sound stream that players play: the first marked as default, else the first."""
    streams = container.streams.audio
    return next((stream for stream in streams if stream.disposition & Disposition.default), next(iter(streams), None))


def decoded(path: Path, container: InputContainer, streams: list[Stream]) -> Iterator[VideoFrame | AudioFrame]:
    """The frames of some streams as they come.

    What cannot be decoded before a stream's first frame is passed over: a broadcast that was recorded from its middle
    begins so. Raises ``UserError`` for what cannot be decoded later, and for streams without a decoder.
    """
    for stream in streams:
        if stream.codec_context is None:
            raise UserError(f"{path}: nothing here decodes its {stream.type} stream; convert it to mp4 (h264 and AAC)")
    begun, last = set(), 0.0
    for packet in container.demux(streams):
        try:
            frames = packet.decode()
        except InvalidDataError as error:
            if packet.stream_index in begun:
                raise UserError(f"{path}: damaged after {last:.2f} s, cannot be decoded ({error.strerror})") from error
            continue
        for frame in frames:
            assert isinstance(frame, VideoFrame | AudioFrame)
            begun.add(packet.stream_index)
            last = frame.time or last
            yield frame
