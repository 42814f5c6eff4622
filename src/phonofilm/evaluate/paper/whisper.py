"""Words that a Whisper checkpoint hears, counted as Seed-TTS-eval counts English.

The checkpoint is the user's own folder in transformers' format, such as whisper-large-v3; nothing is downloaded. What
is fed to it and what is asked of it follow BytedanceSpeech/seed-tts-eval 752f429 (run_wer.py), and the network is the
one that this script calls too, transformers' own.
"""

from __future__ import annotations

import string
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.errors import UserError
from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.probes.probe import AUDIO, LIMITS, Found, Measure, Probe, Unmeasured
from phonofilm.types import Clip

RATE = 16000
CHINESE = (
    *((0x00B7, 0x00B7), (0x2013, 0x2014), (0x2018, 0x2019), (0x201B, 0x201F), (0x2026, 0x2027), (0x3000, 0x3003)),
    *((0x3008, 0x3011), (0x3014, 0x301F), (0x3030, 0x3030), (0x303E, 0x303F), (0xFE4F, 0xFE4F), (0xFE51, 0xFE51)),
    *((0xFE54, 0xFE54), (0xFF01, 0xFF0D), (0xFF0F, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF64)),
)
"""First and last letters of what zhon.hanzi.punctuation holds; the typographic apostrophe is among it."""
REMOVED = {chr(code) for first, last in CHINESE for code in range(first, last + 1)} | set(string.punctuation) - {"'"}
WER = Measure(
    name="paper.wer@seed_tts_en",
    title="WER as Seed-TTS-eval counts English: punctuation but the apostrophe removed, mean of utterances",
    better="down",
    unit="wrong words per word asked for",
    worst=1.0,
    evaluator="Whisper through transformers with the user's checkpoint, procedure of seed-tts-eval 752f429; jiwer",
    package="transformers",
    preparation="mono, 16 kHz by scipy.signal.resample, padded to 30 s; English, transcribe",
    reads=AUDIO,
)


def plain(text: str) -> str:
    """Lower case without punctuation, apostrophes kept; what is left of doubled blanks stays, as in the script."""
    return "".join(c for c in text if c not in REMOVED).replace("  ", " ").lower()


def word_error_rate(said: str, heard: str) -> float:
    """Wrong words of one utterance per word said. Raises ValueError where no word is left to be said."""
    import jiwer

    if not plain(said).strip():
        raise ValueError(f"{said!r} has no words")
    return float(jiwer.wer(plain(said), plain(heard)))


@lru_cache(maxsize=1)
def load_whisper(folder: Path) -> tuple[Any, Any]:
    """Processor and network of a folder in transformers' format. Raises ``UserError`` for a folder that is none."""
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    try:
        processor = WhisperProcessor.from_pretrained(folder, local_files_only=True)
        net = WhisperForConditionalGeneration.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    except Exception as error:  # transformers and tokenizers raise a dozen kinds for what is no checkpoint
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: not a Whisper checkpoint in transformers' format ({reason})") from error
    return processor, net.eval().requires_grad_(False)


def features(processor: Any, wave: Float[np.ndarray, " N"], sample_rate: int) -> Float[Tensor, "1 M F"]:
    """The log mel spectrogram of 30 s that Whisper looks at. Raises ValueError for longer sound, which it would cut."""
    from scipy.signal import resample

    if sample_rate != RATE:
        wave = np.asarray(resample(wave, int(len(wave) * RATE / sample_rate)))
    most = processor.feature_extractor.n_samples
    if len(wave) > most:
        raise ValueError(f"{len(wave) / RATE:.1f} s of sound: Whisper hears {most / RATE:g} s at once")
    return processor(wave, sampling_rate=RATE, return_tensors="pt").input_features


def transcribe(folder: Path, wave: Float[np.ndarray, " N"], sample_rate: int) -> str:
    """What a Whisper checkpoint hears in English speech of at most 30 s."""
    processor, net = load_whisper(folder)
    tokens = net.generate(features(processor, wave, sample_rate), language="english", task="transcribe")
    return processor.batch_decode(tokens, skip_special_tokens=True)[0]


def _read(entry: Entry, clip: Clip) -> Found:
    said = " ".join(entry.lines)
    if any("\u4e00" <= letter <= "\u9fff" for letter in said):
        raise Unmeasured("Chinese words: Seed-TTS-eval hears those with Paraformer, which has no adapter here")
    if clip.audio.shape[-1] == 0:
        raise Unmeasured("no sound")
    if clip.seconds > LIMITS.seconds - 1 / clip.fps:
        raise Unmeasured(f"only its first {LIMITS.seconds:g} s were read: later words would count as missing")
    load_whisper(entry.weights["whisper"])  # what is no checkpoint is no fault of the clip
    try:
        heard = transcribe(entry.weights["whisper"], clip.audio.mean(0).numpy(), clip.sample_rate)
        return Found(values={WER.name: (word_error_rate(said, heard), 1.0)})
    except ValueError as error:
        raise Unmeasured(str(error)) from error


WHISPER = Probe(
    "whisper",
    (WER,),
    lambda entry: bool(entry.lines),
    _read,
    ("jiwer", "scipy"),
    "pip install 'phonofilm[evaluate]'",
    weights="whisper",
)
"""Runs with ``--weights whisper=FOLDER``."""
