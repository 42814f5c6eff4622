"""What a person would complain about on hearing a clip, found before anybody does."""

from __future__ import annotations

from typing import NamedTuple

import torch

from phonofilm.types import Clip

CLIPPED = 0.999  # a sample this loud counts as clipped
SILENT = 1e-3  # a peak below this (60 dB under full scale) is silence


class Finding(NamedTuple):
    """Something wrong with a clip's sound."""

    name: str
    """One of "nan", "clipping", "silence", "length"."""
    message: str
    """One line for people."""


def audio_findings(clip: Clip) -> list[Finding]:
    """NaN, clipping, silence and a length unlike the picture's. ``write_clip`` refuses the first by itself."""
    bad = int((~torch.isfinite(clip.audio)).sum())
    if bad:
        return [Finding("nan", f"the sound holds {bad} samples that are not numbers")]
    found = []
    peak = float(clip.audio.abs().max()) if clip.audio.numel() else 0.0
    if peak < SILENT:
        found.append(Finding("silence", f"the sound is silent (peak {peak:.1e} of 1)"))
    clipped = float((clip.audio.abs() >= CLIPPED).float().mean()) if clip.audio.numel() else 0.0
    if clipped > 1e-3:
        found.append(Finding("clipping", f"{clipped:.1%} of the samples are clipped; expect distortion"))
    seconds, heard = len(clip.video) / clip.fps, clip.audio.shape[-1] / clip.sample_rate
    if len(clip.video) and abs(seconds - heard) > 1 / clip.fps:
        found.append(Finding("length", f"the sound lasts {heard:.2f} s, the picture {seconds:.2f} s"))
    return found
