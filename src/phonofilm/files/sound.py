"""Sound that runs on: samples are placed by counting from the first, and only what is longer than rounding is a gap."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from jaxtyping import Float
from torch import Tensor

from phonofilm.errors import UserError
from phonofilm.files.clock import Limits, RunningOn, Track, check_memory
from phonofilm.files.containers import audio_stream, decoded, opened
from phonofilm.types import Audio

RATES = (1000, 768_000)
"""Samples a second that are read."""
AHEAD = 8
"""Pieces of which all must be late before one is: real-time recorders stamp single packets late."""


class Piece(NamedTuple):
    """Samples of one decoded frame and the second at which its time stamp puts them."""

    seconds: float
    samples: Float[np.ndarray, "K N"]


def check_rate(path: Path, rate: int) -> None:
    """Raise ``UserError`` for a sample rate that no recording has."""
    low, high = RATES
    if not low <= rate <= high:
        raise UserError(f"{path}: {rate} samples a second; {low} to {high} are read: correct its header")


def pieces_until(path: Path, container: InputContainer, stream: AudioStream, end: float) -> list[Piece]:
    """The decoded sound of a stream up to a time, all of it in as many channels as the beginning."""
    clock, pieces, rate = RunningOn(), [], stream.rate
    for frame in decoded(path, container, [stream]):
        assert isinstance(frame, AudioFrame)
        if frame.sample_rate != rate:
            raise UserError(
                f"{path}: its sound changes from {rate} to {frame.sample_rate} samples a second on the way; "
                "convert it to one rate"
            )
        seconds = clock.at(frame.pts, frame.time_base, frame.samples / rate)
        if seconds >= end:
            break
        samples = in_floats(frame)
        if pieces and len(samples) != len(pieces[0].samples):
            samples = np.repeat(samples.mean(0, keepdims=True), len(pieces[0].samples), axis=0)
        pieces.append(Piece(seconds, samples))
    return pieces


def in_floats(frame: AudioFrame) -> Float[np.ndarray, "K N"]:
    """The samples of a frame, whatever their format, in [-1, 1]."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels) or frame.layout.nb_channels).T
    kind = samples.dtype
    if kind == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    scale = 1 if kind.kind == "f" else 2.0 ** (8 * kind.itemsize - 1)
    return samples.astype(np.float32) / np.float32(scale)


def places(pieces: list[Piece], rate: int, tick: float) -> list[int]:
    """The first sample of each piece, counted from second 0.

    Pieces follow each other without a break, until the time stamps of the next few all say that there was one: later
    by more than two units of their clock, or earlier (then what overlaps is cut off). Rounded time stamps and packets
    that a recorder stamped late leave the samples where they are.
    """
    lengths = np.array([piece.samples.shape[1] for piece in pieces])
    before = np.cumsum(lengths) - lengths
    late = np.array([piece.seconds for piece in pieces]) * rate - before
    loose, shift, found = 2 * tick * rate + 1, late[0], []
    for index in range(len(pieces)):
        window = late[index : index + AHEAD]
        if window.min() > shift + loose:
            shift = window.min()
        elif window.max() < shift - loose:
            shift = window.max()
        found.append(int(before[index]) + round(float(shift)))
    return found


def joined(pieces: list[Piece], rate: int, tick: float, start: float, end: float) -> Float[Tensor, "K N"]:
    """Sound from ``start`` to ``end``, or to its own end where that comes first; gaps are silent."""
    first = round(start * rate)
    starts = [place - first for place in places(pieces, rate, tick)]
    own = starts[-1] + pieces[-1].samples.shape[1]
    length = own if end == math.inf else min(own, round(end * rate) - first)
    sound = torch.zeros(len(pieces[0].samples), max(0, length))
    for place, piece in zip(starts, pieces):
        skip, stop = max(0, -place), min(piece.samples.shape[1], sound.shape[1] - place)
        if stop > skip:
            sound[:, place + skip : place + stop] = torch.from_numpy(piece.samples[:, skip:stop])
    return sound


def stated_end(container: InputContainer, stream: AudioStream, pieces: list[Piece]) -> float:
    """Where an mp4 says that its sound ends: AAC's last frame is longer than what was put in; infinity elsewhere.

    A statement that would cut off more than the padding of two frames is not believed.
    """
    if "mp4" not in container.format.name or stream.duration is None or stream.time_base is None:
        return math.inf
    end = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    length = pieces[-1].samples.shape[1] / stream.rate
    return end if 0 <= pieces[-1].seconds + length - end <= 2 * length else math.inf


def read_sound(path: Path, track: Track, limits: Limits, *, start: float | None = None) -> Audio | None:
    """The sound of a file from ``start`` on (its own start if None), None where nothing can be decoded."""
    with opened(path) as container:
        stream = audio_stream(container)
        assert stream is not None
        if stream.codec_context is not None:
            check_rate(path, stream.rate)
        origin = track.start if start is None else start
        end = origin + limits.seconds
        length = max(0.0, min(track.end, end) - min(origin, track.start))
        size = 12.0 * length * (stream.rate or 0) * stream.channels  # as floats: in pieces, joined and resampled
        check_memory(path, limits, [(f"{length:,.0f} s of sound, its gaps included,", size)])
        pieces = pieces_until(path, container, stream, end)
        if not pieces:
            return None
        end = min(end, stated_end(container, stream, pieces))
        begin = pieces[0].seconds if start is None else start
        return Audio(joined(pieces, stream.rate, track.tick, begin, end), stream.rate)
