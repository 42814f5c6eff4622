"""How well a sound fits the words that asked for it, by a CLAP checkpoint as JavisBench uses one (Wu et al. 2023).

The checkpoint is the user's own folder in transformers' format (JavisBench names laion/clap-htsat-unfused); nothing is
downloaded. The procedure is that of JavisVerse/JavisDiT b505b37 (eval/javisbench/src/metrics.py), which calls the
same network of transformers.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.errors import UserError
from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.probes.probe import AUDIO, Found, Measure, Probe, Unmeasured
from phonofilm.files.media import resample
from phonofilm.types import Clip

RATE = 48000
EPS = 1e-6
SCORE = Measure(
    name="paper.clap@javisbench",
    title="CLAP score as JavisBench takes it: cosine of the sound and the words that asked for it",
    better="up",
    unit="cosine",
    evaluator="CLAP through transformers with the user's checkpoint, procedure of JavisDiT b505b37",
    package="transformers",
    preparation="mono, 48 kHz (windowed sinc), shorter sound repeated to 10 s; the sound of the prompt as text",
    reads=AUDIO,
)


@lru_cache(maxsize=1)
def load_clap(folder: Path) -> tuple[Any, Any]:
    """Processor and network of a folder in transformers' format. Raises ``UserError`` for a folder that is none."""
    from transformers import ClapModel, ClapProcessor

    try:
        processor = ClapProcessor.from_pretrained(folder, local_files_only=True)
        net = ClapModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    except Exception as error:  # transformers and tokenizers raise a dozen kinds for what is no checkpoint
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: not a CLAP checkpoint in transformers' format ({reason})") from error
    return processor, net.eval().requires_grad_(False)


def clap_score(folder: Path, wave: Float[Tensor, " N"], text: str) -> float:
    """Cosine of a sound at 48 kHz and a text. Raises ValueError for more than 10 s, which CLAP would cut at random."""
    processor, net = load_clap(folder)
    most = processor.feature_extractor.nb_max_samples
    if len(wave) > most:
        raise ValueError(f"{len(wave) / RATE:.1f} s of sound: CLAP hears {most / RATE:g} s, the rest is cut at random")
    given = processor(text=text, audio=wave.numpy(), sampling_rate=RATE, return_tensors="pt", padding=True)
    found = net(**given)
    return float(torch.nn.functional.cosine_similarity(found.text_embeds, found.audio_embeds, dim=1, eps=EPS)[0])


def _read(entry: Entry, clip: Clip) -> Found:
    if clip.audio.shape[-1] == 0:
        raise Unmeasured("no sound")
    wave = resample(clip.audio.mean(0), clip.sample_rate, RATE)
    load_clap(entry.weights["clap"])  # what is no checkpoint is no fault of the clip
    try:
        return Found(values={SCORE.name: (clap_score(entry.weights["clap"], wave, entry.sound), 1.0)})
    except ValueError as error:
        raise Unmeasured(str(error)) from error


CLAP = Probe("clap", (SCORE,), lambda entry: bool(entry.sound), _read, weights="clap")
"""Runs with ``--weights clap=FOLDER``, for clips whose prompt says what is to be heard."""
