"""Speech of the puppets: espeak-ng through its C API, with the times of phonemes and words.

espeak-ng keeps hidden state between sentences (flutter, random breath), so that a sentence would depend on what
was said before. ``speak`` loads a fresh copy of the library for every utterance, which costs about 2 ms and makes
the sound a function of its arguments.
"""

from __future__ import annotations

import _ctypes
import ctypes
import math
import sys
import threading
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

SAMPLE_RATE = 16000
RATES = (165, 210)
"""Slowest and fastest speech of the corpus, in words per minute as espeak-ng counts them."""


class Voice(NamedTuple):
    """A way of speaking; pitch and range on espeak-ng's scales of 0 to 100."""

    name: str
    person: str
    """The puppets that have it: women speak with high voices, men with low ones."""
    variant: str
    pitch: int
    range: int

    @property
    def height(self) -> str:
        """The word that captions use: high or low."""
        return "high" if self.person == "woman" else "low"


VOICES = {
    voice.name: voice
    for voice in (
        Voice("ada", "woman", "f1", 62, 50),
        Voice("beth", "woman", "f2", 56, 50),
        Voice("cleo", "woman", "f5", 48, 50),
        Voice("dora", "woman", "f2", 74, 50),
        Voice("eva", "woman", "f5", 64, 50),
        Voice("adam", "man", "m1", 36, 50),
        Voice("ben", "man", "m5", 45, 50),
        Voice("carl", "man", "m6", 52, 50),
        Voice("dan", "man", "edward", 45, 50),
        Voice("ed", "man", "michel", 50, 50),
    )
}

EMOTION_SHIFTS = {"neutral": (0, 0), "happy": (6, 20), "sad": (-6, -25), "angry": (-3, 15), "surprised": (8, 35)}
"""Added to a voice's pitch and range."""


class Phoneme(NamedTuple):
    """A speech sound by its IPA name, in seconds of the clip."""

    ipa: str
    start: float
    end: float


class Word(NamedTuple):
    """A spoken word, in seconds of the clip."""

    text: str
    start: float
    end: float
    speaker: int


class Utterance(NamedTuple):
    """One sentence as sound: ``wave`` at 16 kHz at espeak-ng's own loudness, times in seconds from its start."""

    wave: Float[Tensor, " N"]
    phonemes: tuple[Phoneme, ...]
    words: tuple[Word, ...]

    @property
    def seconds(self) -> float:
        """From the first phoneme's start to the last one's end."""
        return self.phonemes[-1].end


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", _Id),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_SYNCHRONOUS, _PHONEME_EVENTS, _IPA, _DONT_EXIT = 2, 1, 2, 0x8000
_UTF8, _PHONEME_TAGS = 1, 0x100
_RATE, _PITCH, _RANGE = 1, 3, 4
_PHONEME = 7
_LOCK = threading.Lock()  # the library is one set of C globals


class _Raw(NamedTuple):
    """What espeak-ng delivered: 16-bit samples, their rate, and events (type, character, sample, IPA name)."""

    samples: bytes
    rate: int
    events: list[tuple[int, int, int, str]]


def _paths() -> tuple[str, str]:
    try:
        import espeakng_loader
    except ImportError as error:
        raise ModuleNotFoundError(
            "puppets speak through espeak-ng, whose wheel espeakng-loader is not installed: "
            "pip install phonofilm[puppets]"
        ) from error
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())


def _unload(library: ctypes.CDLL) -> None:
    close = _ctypes.FreeLibrary if sys.platform == "win32" else _ctypes.dlclose
    close(library._handle)


def _synthesize(text: str, variant: str, rate: int, pitch: int, range_: int) -> _Raw:
    path, data = _paths()
    chunks: list[bytes] = []
    events: list[tuple[int, int, int, str]] = []

    def collect(wave, count: int, queue) -> int:  # noqa: ANN001  ctypes pointers
        if wave and count > 0:
            chunks.append(ctypes.string_at(wave, 2 * count))
        i = 0
        while queue[i].type:
            name = ctypes.string_at(ctypes.addressof(queue[i].id), 8).split(b"\0")[0]  # 8 bytes fill the union
            ipa = name.decode("utf-8", "ignore") if queue[i].type == _PHONEME else ""
            events.append((queue[i].type, queue[i].position, queue[i].sample, ipa))
            i += 1
        return 0

    callback = _CALLBACK(collect)
    encoded = text.encode()
    with _LOCK:
        library = ctypes.CDLL(path)
        try:
            sample_rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _PHONEME_EVENTS | _IPA | _DONT_EXIT)
            if sample_rate <= 0:
                raise RuntimeError(f"espeak-ng does not start with the data in {data} (code {sample_rate})")
            library.espeak_SetSynthCallback(callback)
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            codes = [library.espeak_SetVoiceByName(f"en-us+{variant}".encode())]
            for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, range_)):
                codes.append(library.espeak_SetParameter(parameter, value, 0))
            flags = _UTF8 | _PHONEME_TAGS
            codes.append(library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, flags, None, None))
            library.espeak_Terminate()
        finally:
            _unload(library)
    if any(codes):
        raise RuntimeError(f"espeak-ng could not say {text!r} with variant {variant!r}: codes {codes}")
    return _Raw(b"".join(chunks), sample_rate, events)


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def spoken(words: list[str]) -> str:
    """The text that makes espeak-ng say these words: the letter "a" before a digit is a letter, not an article."""
    pairs = zip(words, [*words[1:], ""])
    return " ".join("[['eI]]" if word == "a" and after in DIGITS else word for word, after in pairs)


@lru_cache(maxsize=256)
def speak(words: str, voice: str, *, rate: int = 185, emotion: str = "neutral") -> Utterance:
    """Say a sentence of lower-case words; the same arguments give the same samples.

    ``voice`` is a name in ``VOICES``, ``rate`` in words per minute. Raises ValueError for words, voices, rates or
    emotions that it does not know, ModuleNotFoundError where espeakng-loader is not installed.
    """
    split = words.split()
    if not split or not all(word.replace("'", "").isascii() and word.replace("'", "").isalpha() for word in split):
        raise ValueError(f"{words!r} cannot be spoken: give words of the letters a to z, separated by spaces")
    if voice not in VOICES:
        raise ValueError(f"unknown voice {voice!r}: the voices are {', '.join(VOICES)}")
    if emotion not in EMOTION_SHIFTS:
        raise ValueError(f"unknown emotion {emotion!r}: the emotions are {', '.join(EMOTION_SHIFTS)}")
    if not 80 <= rate <= 450:
        raise ValueError(f"rate {rate} is outside espeak-ng's 80 to 450 words per minute")
    style, (pitch, range_) = VOICES[voice], EMOTION_SHIFTS[emotion]
    text = spoken(split)
    raw = _synthesize(text, style.variant, rate, style.pitch + pitch, style.range + range_)
    return _utterance(split, text, raw)


def _utterance(words: list[str], text: str, raw: _Raw) -> Utterance:
    marks = [(ipa, sample / raw.rate) for kind, _, sample, ipa in raw.events if kind == _PHONEME]
    spans = [(ipa, start, end) for (ipa, start), (_, end) in zip(marks, marks[1:]) if ipa and end > start]
    if not spans:
        raise RuntimeError(f"espeak-ng gave no phonemes for {text!r}")
    first, last = spans[0][1], spans[-1][2]
    phonemes = tuple(Phoneme(ipa.strip("ˈˌ"), start - first, end - first) for ipa, start, end in spans)
    samples = torch.frombuffer(bytearray(raw.samples), dtype=torch.int16).float() / 32768
    wave = resample(samples[round(first * raw.rate) : round(last * raw.rate)], raw.rate, SAMPLE_RATE)
    return Utterance(wave, phonemes, _words(words, text, raw, last, first))


def _words(words: list[str], text: str, raw: _Raw, last: float, first: float) -> tuple[Word, ...]:
    """Times of the words, found by the character at which espeak-ng places each of their phonemes."""
    offsets, position = [], 1  # espeak-ng counts characters from 1
    for part in text.split():
        offsets.append(position)
        position += len(part) + 1
    starts: dict[int, float] = {}
    for kind, character, sample, ipa in raw.events:
        if kind == _PHONEME and ipa:
            index = max(i for i, offset in enumerate(offsets) if offset <= max(character, 1))
            starts.setdefault(index, sample / raw.rate - first)
    if 0 not in starts:
        raise RuntimeError(f"espeak-ng gave no time for the first word of {text!r}")
    heads = sorted(starts)
    times: list[float] = []
    for head, after in zip(heads, [*heads[1:], len(words)]):
        end = starts[after] if after < len(words) else last - first
        times.extend(_shares(words[head:after], starts[head], end))
    ends = [*times[1:], last - first]
    return tuple(Word(word, start, end, 0) for word, start, end in zip(words, times, ends))


def _shares(words: list[str], start: float, end: float) -> list[float]:
    """Starts of words that espeak-ng says as one ("for the"): they share its time by their letters."""
    letters = sum(map(len, words))
    return [start + (end - start) * sum(map(len, words[:i])) / letters for i in range(len(words))]


@lru_cache(maxsize=8)
def _kernels(before: int, after: int, half: int) -> Float[Tensor, "W P"]:
    """Windowed-sinc weights, one column per output phase; a frame starts ``half`` samples early."""
    cutoff = 0.95 * min(1.0, after / before)
    positions = torch.arange(before + 2 * half, dtype=torch.float64)[:, None] - half
    distance = positions - torch.arange(after, dtype=torch.float64) * before / after
    window = torch.cos(math.pi / 2 * distance / half) ** 2
    weights = torch.sinc(distance * cutoff) * cutoff * window
    return torch.where(distance.abs() < half, weights, 0.0).float()  # true zeros: denormals cost 18 ms a clip


def resample(wave: Float[Tensor, " N"], before: int, after: int) -> Float[Tensor, " M"]:
    """Change the sample rate by a windowed sinc; M is N * after / before, rounded up."""
    common = math.gcd(before, after)
    if before == after:
        return wave
    step, phases, half = before // common, after // common, 48
    length = -(-len(wave) * after // before)
    blocks = -(-length // phases)
    padded = torch.nn.functional.pad(wave, (half, half + blocks * step - len(wave)))
    frames = padded.unfold(0, step + 2 * half, step)
    return (frames @ _kernels(step, phases, half)).flatten()[:length].contiguous()
