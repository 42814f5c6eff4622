"""Pixel frames as players show them: turned upright, their pixels square, picked by the times at which they appear."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Float, UInt8
from torch import Tensor

from phonofilm.errors import UserError
from phonofilm.files.clock import Limits, RunningOn, Track, check_memory, rate_of
from phonofilm.files.containers import decoded, opened, video_stream

WIDEST = 64
"""Times a pixel may be wider than it is high, or the other way round."""
LARGEST = 2**26
"""Pixels of the largest frame that is decoded; 8K has half as many."""


class Display(NamedTuple):
    """How the stored pixels of a stream become what is shown."""

    width: int
    """Pixels before turning."""
    height: int
    turned: bool
    """Rows become columns, before anything is mirrored."""
    mirrored: tuple[bool, bool]
    """Top to bottom, left to right."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width on show."""
        return (self.width, self.height) if self.turned else (self.height, self.width)

    def pixels(self, frame: VideoFrame, converter: VideoReformatter) -> UInt8[np.ndarray, "H W 3"]:
        """A frame in RGB as it is shown."""
        size = {"width": self.width, "height": self.height}
        smaller = self.width * self.height < frame.width * frame.height
        how = "AREA" if smaller else "BICUBIC"
        if (frame.width, frame.height) == (self.width, self.height):
            rgb = converter.reformat(frame, format="rgb24").to_ndarray()
        else:
            rgb = converter.reformat(frame, **size, format="rgb24", interpolation=how).to_ndarray()
        shown = rgb.transpose(1, 0, 2) if self.turned else rgb
        up, left = self.mirrored
        return shown[:: -1 if up else 1, :: -1 if left else 1]


def check_size(path: Path, width: int, height: int) -> None:
    """Raise ``UserError`` for pictures that are too large to decode."""
    if width * height > LARGEST:
        raise UserError(f"{path}: pictures of {width} x {height}; at most {LARGEST:,} pixels are read: scale it down")


def display_of(path: Path, frame: VideoFrame, aspect: float, limits: Limits) -> Display:
    """What a pixel's aspect, the display matrix and the limits ask for; pixels that are not square are enlarged."""
    if not 1 / WIDEST <= aspect <= WIDEST:
        raise UserError(f"{path}: its pixels are said to be {aspect:g} times as wide as high; correct that in it")
    width, height = frame.width, frame.height
    shown = (width * max(aspect, 1.0), height * max(1 / aspect, 1.0))
    share = math.sqrt(min(1.0, limits.pixels / (shown[0] * shown[1])))
    if share < 1:
        width, height = (max(2, 2 * round(side * share / 2)) for side in shown)
    elif aspect != 1:
        width, height = (max(1, round(side)) for side in shown)
    a, b, c, d = _matrix(path, matrix_of(frame))
    if b or c:
        return Display(width, height, turned=True, mirrored=(b < 0, c < 0))
    return Display(width, height, turned=False, mirrored=(d < 0, a < 0))


def _matrix(path: Path, matrix: tuple[int, ...] | None) -> tuple[int, int, int, int]:
    """Where the picture's two axes point: (x of right, y of right, x of down, y of down), each -1, 0 or 1."""
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = (value / 65536 for value in matrix[:5])
    size = max(map(abs, (a, b, c, d)))
    axes = [round(value / size) if size else 0 for value in (a, b, c, d)]
    right = all(abs(value / size - axis) < 0.05 for value, axis in zip((a, b, c, d), axes)) if size else False
    if not right or abs(axes[0] * axes[3] - axes[1] * axes[2]) != 1:
        raise UserError(f"{path}: its display matrix turns the picture by no quarter of a circle; turn it upright")
    return axes[0], axes[1], axes[2], axes[3]


def matrix_of(frame: VideoFrame) -> tuple[int, ...] | None:
    """The display matrix that comes with a frame, row by row, None where there is none."""
    data = frame.side_data.get(Type.DISPLAYMATRIX)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return None if data is None else tuple(np.frombuffer(data, np.int32).tolist())


class Shown(NamedTuple):
    """A decoded pixel frame and the second at which it appears."""

    seconds: float
    frame: VideoFrame


class OutOfOrder(Exception):  # noqa: N818  it is a finding about the file, no error
    """Frames whose times are not in the order in which the decoder shows them."""


def shown_frames(path: Path, container: InputContainer, stream: VideoStream, track: Track) -> Iterator[Shown]:
    """The frames of a stream with the seconds at which they appear, which never fall."""
    clock, last = RunningOn(), -math.inf
    for index, frame in enumerate(decoded(path, container, [stream])):
        assert isinstance(frame, VideoFrame)
        if track.ordered:
            lasting = float((frame.duration or 0) * (frame.time_base or 0)) or track.step
            seconds = clock.at(frame.pts, frame.time_base, lasting)
            if seconds < last:
                raise OutOfOrder
        else:
            beyond = index - len(track.seconds) + 1
            seconds = float(track.seconds[-1]) + beyond * track.step if beyond > 0 else float(track.seconds[index])
        last = max(last, seconds)
        yield Shown(last, frame)


def frames_at(frames: Iterable[Shown], moments: Sequence[float], display: Display) -> UInt8[Tensor, "T 3 H W"]:
    """For each moment, in rising order, the frame on show; each frame is converted when the first moment wants it."""
    video, done = torch.empty(len(moments), 3, *display.shape, dtype=torch.uint8), 0
    converter = VideoReformatter()  # one for all: each starts threads of its own, which took longer than the rest
    last: Shown | None = None
    for shown in itertools.chain(frames, [None]):
        until = len(moments) if shown is None else bisect.bisect_left(moments, shown.seconds)
        if last is not None and until > done:
            video[done:until] = _planes(display.pixels(last.frame, converter))
            done = until
        if done == len(moments):
            break
        last = shown or last
    return video


def all_frames(frames: Iterable[Shown], about: int, display: Display) -> tuple[UInt8[Tensor, "T 3 H W"], list[float]]:
    """Every frame, about so many of them, and the seconds at which they appear."""
    video, converter = torch.empty(about, 3, *display.shape, dtype=torch.uint8), VideoReformatter()
    seconds: list[float] = []
    for shown in frames:
        if len(seconds) == len(video):
            video = torch.cat((video, torch.empty_like(video[: max(1, about // 8)])))
        video[len(seconds)] = _planes(display.pixels(shown.frame, converter))
        seconds.append(shown.seconds)
    return video[: len(seconds)], seconds


def _planes(rgb: UInt8[np.ndarray, "H W 3"]) -> UInt8[Tensor, "3 H W"]:
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))


class Pipeline(NamedTuple):
    """The pictures of a file."""

    video: UInt8[Tensor, "T 3 H W"]
    fps: float
    start: float
    """Seconds of the file's clock at which the first one appears."""
    times: Float[Tensor, " F"] | None
    """Seconds from there at which each appears, and the end; None where they are 1 / fps apart."""


def read_film(path: Path, track: Track, limits: Limits, *, fps: float | None, even: bool) -> Pipeline:
    """The pictures of a file at a rate, its own if none is given, or each as it is stored (not ``even``)."""
    try:
        return _film(path, track, limits, fps=fps, even=even)
    except OutOfOrder:  # the decoder's order is right: the k-th frame that is shown has the k-th time
        return _film(path, track._replace(ordered=False), limits, fps=fps, even=even)


def _film(path: Path, track: Track, limits: Limits, *, fps: float | None, even: bool) -> Pipeline:
    with opened(path) as container:
        stream = video_stream(container)
        assert stream is not None
        if stream.codec_context is not None:
            check_size(path, stream.codec_context.width, stream.codec_context.height)
        rate = fps or float(rate_of(track, stream))
        frames = shown_frames(path, container, stream, track)
        first = next(frames, None)
        if first is None:
            raise UserError(f"{path}: no pixel frame could be decoded; the file may be cut off")
        display = display_of(path, first.frame, float(stream.sample_aspect_ratio or 1), limits)
        start, whole = first.seconds, itertools.chain([first], frames)
        end = min(track.end, start + limits.seconds)
        count = max(1, round((end - start) * rate)) if even else int((track.seconds < end).sum())
        height, width = display.shape
        told = f"{count:,} pixel frames of {width} x {height}"
        check_memory(path, limits, [(told, 3.0 * count * width * height)])
        if even:
            moments = [start + (index + 0.5) / rate for index in range(count)]
            return Pipeline(frames_at(whole, moments, display), rate, start, None)
        video, seconds = all_frames(itertools.takewhile(lambda shown: shown.seconds < end, whole), count, display)
    times = torch.tensor([*seconds, max(end, seconds[-1])], dtype=torch.float64) - start
    off = (torch.diff(times) - 1 / rate).abs().max()
    return Pipeline(video, rate, start, None if off <= 1.01 * track.tick + 1e-6 else times)
