"""Keys that light up and sound: when and which, seen in the pixels and heard in the sound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.probes.probe import Examined, Found, Measure, Probe
from phonofilm.evaluate.probes.puppets import ESPEAK, event_values, events_known
from phonofilm.evaluate.readers import events
from phonofilm.evaluate.readers.speech import SAMPLE_RATE

GLOW = 0.2
"""Seconds in which the light of a key falls to 1 / e."""
LEAST, RISE = 0.3, 0.2
"""Light of a key that counts as struck, and by how much it has grown within a pixel frame."""
CUTOFF = 1000.0
"""Hz: above it notes are gone before the next one is struck."""
WINDOW = 0.09
SCORES = tuple(
    Measure(
        name=f"exact.key_f1@{tolerance}ms",
        title=f"keys: note within {tolerance} ms of the light",
        better="up",
        unit="F1",
        how="ratio",
        worst=0.0,
        weight=events_known,
        preparation="sound at 16 kHz mono; pixels as decoded",
    )
    for tolerance in (40, 80)
)
OFFSET = Measure(
    name="exact.key_offset_ms",
    title="keys: offset",
    better="zero",
    unit="ms, positive: sound late",
    how="median",
    preparation="sound at 16 kHz mono; pixels as decoded",
)
MATCH = Measure(
    name="exact.key_match",
    title="keys: the note heard is the one of the key that lights up",
    better="up",
    unit="share of lights",
    how="ratio",
    worst=0.0,
    weight=events_known,
    preparation="sound at 16 kHz mono; pixels as decoded",
)


class Strike(NamedTuple):
    """A key struck."""

    seconds: float
    key: int
    """From 0 at the left, or at the lowest note."""


def see_keys(video: UInt8[Tensor, "T 3 H W"], fps: float) -> tuple[Strike, ...]:
    """Keys that light up, in the order of time; how bright the first frame is tells when within it."""
    light = _lights(video)
    before = np.concatenate([np.zeros((1, light.shape[1])), light[:-1]])
    found = []
    for frame, key in zip(*np.nonzero((light > LEAST) & (light - before > RISE)), strict=True):
        level = float(np.clip(light[frame, key], 1e-3, 1.0))
        # Light falls at once: what is left of it at the frame's middle is the time since.
        since = min(-GLOW * float(np.log(level)), 1 / fps)
        found.append(Strike((int(frame) + 0.5) / fps - since, int(key)))
    return tuple(sorted(found))


def _lights(video: UInt8[Tensor, "T 3 H W"]) -> Float[np.ndarray, "T 8"]:
    """How far each key's colour is from ivory towards its light, 0 to 1."""
    from phonofilm.puppets.looks import NUM_KEYS
    from phonofilm.puppets.paint import IVORY, LIGHTS

    height, width = video.shape[-2:]
    pitch = 0.88 / NUM_KEYS
    rows = slice(round(0.50 * height), round(0.74 * height))
    tone = 1 - 0.10 * (0.62 - 0.36) / 0.48
    ivory = np.array(IVORY) * tone
    found = []
    for key in range(NUM_KEYS):
        middle = 0.06 + pitch * (key + 0.5)
        columns = slice(round((middle - 0.03) * width), max(round((middle + 0.03) * width), 1))
        seen = video[:, :, rows, columns].float().mean((2, 3)).numpy()
        way = np.array(LIGHTS[key]) - ivory
        found.append((seen - ivory) @ way / (way @ way))
    return np.stack(found, axis=1).clip(0, 1.2)


def hear_keys(wave: Float[Tensor, "1 N"], sample_rate: int) -> tuple[Strike, ...]:
    """Notes struck, in the order of time: onsets above 1 kHz, each with the note that best explains what came."""
    import torch

    samples = wave[0].double().numpy()
    length = len(samples) + sample_rate  # with silence after it, or a note cut off by the end would ring at the start
    spectrum = np.fft.rfft(samples, length)
    spectrum[np.fft.rfftfreq(length, 1 / sample_rate) < CUTOFF] = 0
    high = torch.from_numpy(np.fft.irfft(spectrum, length)[: len(samples)])[None].float()
    onsets = events.hear_onsets(high, sample_rate)
    return tuple(Strike(seconds, _note(samples, seconds, sample_rate)) for seconds in onsets)


def _note(samples: np.ndarray, seconds: float, sample_rate: int) -> int:
    """The note whose four harmonics are most of what an onset added."""
    from scipy.optimize import nnls

    from phonofilm.puppets.sounds import SCALE

    size, start = round(WINDOW * sample_rate), round((seconds + 0.004) * sample_rate)

    def strength(first: int) -> np.ndarray:
        part = np.zeros(size)
        some = samples[max(first, 0) : max(first + size, 0)][:size]
        part[size - len(some) :] = some if first < 0 else 0
        if first >= 0:
            part[: len(some)] = some
        return np.abs(np.fft.rfft(part * np.hanning(size), 4 * size))

    added = np.maximum(strength(start) - strength(start - size - round(0.008 * sample_rate)), 0)
    times = np.arange(size) / sample_rate
    templates = []
    for step in SCALE:
        pitch = 261.63 * 2 ** (step / 12)
        tone = sum(np.sin(2 * np.pi * pitch * k * times) / k * np.exp(-times * k / GLOW) for k in range(1, 5))
        templates.append(np.abs(np.fft.rfft(tone * np.hanning(size), 4 * size)))
    weights, _ = nnls(np.stack(templates, axis=1), added)
    return int(weights.argmax())


def _read(entry: Entry, clip: Examined) -> Found:
    del entry
    heard = () if clip.silent else hear_keys(clip.mono, SAMPLE_RATE)
    seen = see_keys(clip.video, clip.fps)
    values = event_values(tuple(s.seconds for s in seen), tuple(s.seconds for s in heard), SCORES, OFFSET)
    if seen:  # a share of no lights is no share
        same = sum(any(abs(one.seconds - two.seconds) <= 0.08 and one.key == two.key for two in heard) for one in seen)
        values[MATCH.name] = (float(same), float(len(seen)))
    return Found(values=values)


def _wants(entry: Entry) -> bool:
    return entry.truth is not None and entry.truth.stage == "keyboard"


KEYS = Probe("keys", (*SCORES, OFFSET, MATCH), _wants, _read, ("scipy", "espeakng_loader"), ESPEAK)
