"""When the frames of a stream are due, from its time stamps alone: lengths, rates and gaps known before decoding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from jaxtyping import Float

from phonofilm.errors import UserError
from phonofilm.files.containers import Stream, audio_stream, opened, video_stream

RESET = 1.0
"""Seconds by which time stamps step back where recordings were put one behind the other; then they run on."""
RATES = (5, 6, 8, 10, 12, 15, 16, 20, 24, 25, 30, 48, 50, 60)
"""Pixel frames a second that clips without a rate of their own are shown at."""
SEEN = 0.95
"""Share of the steps that are as long as a stated rate says, where it is believed."""
MOST = 0.85
"""Share of the pixel frames that the rate of the usual step has to show."""

UNORDERED = ("avi",)
"""Containers that store when frames are decoded, not when they are shown."""


class Limits(NamedTuple):
    """What bounds the memory that a file of any length and size takes."""

    seconds: float = math.inf
    """What comes later is not read."""
    pixels: float = math.inf
    """Larger pictures are scaled down to about as many pixels, as soon as they are decoded."""
    memory: float = 2.0**31
    """Bytes of pixels and samples; what would take more is refused before it is decoded."""


class RunningOn:
    """Time stamps in seconds that never fall back: behind a reset they go on from where they were.

    One that is missing is due when the one before it ends.
    """

    def __init__(self) -> None:
        self.shift, self.last, self.next = 0.0, -math.inf, 0.0

    def at(self, ticks: int | None, base: Fraction | None, lasting: float) -> float:
        """Seconds of the next frame or packet, which lasts so long."""
        seconds = self.next if ticks is None or base is None else float(ticks * base) + self.shift
        if seconds < self.last - RESET:
            self.shift += self.next - seconds
            seconds = self.next
        self.last, self.next = seconds, seconds + lasting
        return seconds


class Track(NamedTuple):
    """When the packets of one stream are due."""

    seconds: Float[np.ndarray, " P"]
    """In rising order."""
    end: float
    """Seconds at which the last of them ends."""
    tick: float
    """Seconds of the clock's unit."""
    ordered: bool
    """Whether frames carry their own times; else the k-th that is shown has the k-th time."""

    @property
    def start(self) -> float:
        """Seconds at which the first is due."""
        return float(self.seconds[0])

    @property
    def step(self) -> float:
        """Usual seconds from one to the next, 0 where there is but one."""
        return float(np.median(np.diff(self.seconds))) if len(self.seconds) > 1 else 0.0


class Times(NamedTuple):
    """The tracks of a file's picture and sound; None where there is no such stream or nothing in it."""

    video: Track | None
    audio: Track | None


def read_times(path: Path, limits: Limits, *, picture: bool = True) -> Times:
    """The tracks of a file up to a limit, from its packets; nothing is decoded."""
    with opened(path) as container:
        video, audio = video_stream(container) if picture else None, audio_stream(container)
        streams: list[Stream] = [stream for stream in (video, audio) if stream is not None]
        found = {stream.index: _Packets(stream) for stream in streams}
        for packet in container.demux(streams) if streams else ():
            if packet.size and not packet.is_discard:
                found[packet.stream_index].add(packet.pts, packet.dts, packet.duration or 0)
                if all(packets.length > limits.seconds + RESET for packets in found.values()):
                    break
        tracks = [None if s is None else found[s.index].track() for s in (video, audio)]
    return Times(*tracks)


class _Packets:
    """Times of a stream's packets, in the order of decoding."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.base = stream, stream.time_base or Fraction(1, 1000)
        self.usual = 0.0
        rate = _stated(stream)
        if isinstance(stream, VideoStream) and rate:
            self.usual = float(1 / rate)
        self.shown, self.decoded = RunningOn(), RunningOn()
        self.times: list[float] = []
        self.orders: list[float] = []
        self.lengths: list[float] = []
        self.missing = 0
        self.length = 0.0

    def add(self, pts: int | None, dts: int | None, duration: int) -> None:
        """Take one packet."""
        lasting = float(duration * self.base) or self.usual
        self.times.append(self.shown.at(dts if pts is None else pts, self.base, lasting))
        self.orders.append(self.decoded.at(dts, self.base, lasting))
        self.lengths.append(float(duration * self.base))
        self.missing += pts is None
        self.length = max(self.length, self.times[-1] - self.times[0])

    def track(self) -> Track | None:
        """What the packets say, None for no packets."""
        if not self.times:
            return None
        ordered = self.missing * 2 < len(self.times) and self.stream.container.format.name not in UNORDERED
        times = np.array(self.times if ordered else self.orders)
        last, rising = int(times.argmax()), np.sort(times)
        step = float(np.median(np.diff(rising))) if len(times) > 1 else self.usual
        lasting = self.lengths[last]  # outside mp4 one that is far too short comes from a nominal rate
        believed = lasting >= step / 2 or (lasting and "mp4" in self.stream.container.format.name)
        end = float(times[last]) + (lasting if believed else step)
        return Track(seconds=rising, end=end, tick=float(self.base), ordered=ordered)


def _stated(stream: Stream) -> Fraction | None:
    if isinstance(stream, AudioStream):
        return None
    return next((rate for rate in (stream.average_rate, stream.guessed_rate) if rate and 1 <= rate <= 1000), None)


def rate_of(track: Track, stream: VideoStream) -> Fraction:
    """Pixel frames a second: the stated rate where the time stamps keep it, else one that shows what is there.

    Containers state rates of 1000 a second where they know none, and means where the rate varies. Then it is the rate
    of the usual step, if that loses few frames, or the lowest usual rate that loses none.
    """
    steps = np.diff(track.seconds)
    stated = [rate for rate in (stream.average_rate, stream.guessed_rate) if rate and 1 <= rate <= 1000]
    if not len(steps):
        return next((rate for rate in stated if rate <= 120), Fraction(25))
    mean = len(steps) / max(track.seconds[-1] - track.start, 1e-9)
    for rate in stated:
        if _kept(steps, 1 / float(rate), track.tick) >= SEEN:
            return rate
    usual = Fraction(1 / max(track.step, 1 / 1000)).limit_denominator(1001)
    near = min(RATES, key=lambda rate: abs(rate / usual - 1))
    usual = Fraction(near) if abs(near / usual - 1) < 0.05 else usual
    if usual >= RATES[0] and _seen(track, float(usual)) >= MOST:
        return usual
    return next((Fraction(r) for r in RATES if r >= 0.9 * mean and _seen(track, r) == 1), Fraction(RATES[-1]))


def _kept(steps: Float[np.ndarray, " S"], step: float, tick: float) -> float:
    """Share of the steps that are as long as the rate says, but for the rounding of two time stamps."""
    return float((np.abs(steps - step) <= 1.01 * tick + 1e-6).mean()) if abs(steps.mean() - step) < step / 2 else 0.0


def _seen(track: Track, rate: float) -> float:
    """Share of the pixel frames that are on show at the middle of some frame of a rate."""
    middles = np.arange(track.start + 0.5 / rate, track.end, 1 / rate)
    return len(np.unique(np.searchsorted(track.seconds, middles, side="right"))) / len(np.unique(track.seconds))


def check_memory(path: Path, limits: Limits, parts: Sequence[tuple[str, float]]) -> None:
    """Raise ``UserError`` where parts of a file, in words and in bytes, would take more memory than is allowed."""
    whole = sum(size for _, size in parts)
    if whole > limits.memory:
        told = " and ".join(name for name, _ in parts)
        raise UserError(
            f"{path}: {told} would take {whole / 2**30:.1f} GiB of memory, and at most {limits.memory / 2**30:.1f} GiB "
            "of one file are read; cut it, or scale it down"
        )
