"""LSE-C, LSE-D and the offset behind them, from embeddings of mouths and speech (Chung and Zisserman 2016).

Both scores take the best of all offsets, so they are blind to a constant delay: the offset is always reported beside
them. The variants that share the names differ in which faces are scored and how clips are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

SHIFT = 15
"""Frames of 25 per second to either side that are tried: 31 offsets, 0.6 s."""
FRAME = 1 / 25
EPS = 1e-6
"""Added to every difference, as torch.nn.functional.pairwise_distance does."""


class SyncScore(NamedTuple):
    """How well one track's speech fits its mouth."""

    confidence: float
    """LSE-C: median over offsets less the least; higher is better."""
    distance: float
    """LSE-D: the least mean distance over offsets; lower is better."""
    offset: int
    """In frames at 25 per second, as syncnet_python counts: positive where the sound is early."""

    @property
    def sound_late(self) -> float:
        """The offset in seconds in phonofilm's sign: positive where the sound is late."""
        return -self.offset * FRAME


def distances(
    mouths: Float[Tensor, "N D"], speech: Float[Tensor, "M D"], shift: int = SHIFT
) -> Float[Tensor, "N {2*shift+1}"]:
    """Distance of each mouth's vector to the speech ``k - shift`` windows later; zeros stand for what is outside.

    syncnet_python, SyncNetInstance.calc_pdist.
    """
    if mouths.shape != speech.shape or not len(mouths):
        raise ValueError(
            f"got {tuple(mouths.shape)} and {tuple(speech.shape)}: give as many vectors of each, at least 1"
        )
    padded = torch.nn.functional.pad(speech, (0, 0, shift, shift))
    windows = padded.unfold(0, 2 * shift + 1, 1).transpose(1, 2)  # (N, offsets, D)
    return (mouths[:, None] - windows + EPS).norm(dim=-1)


def sync_score(apart: Float[Tensor, "N K"]) -> SyncScore:
    """Confidence, distance and offset from distances at an odd number of offsets, the middle one being none."""
    shift = apart.shape[1] // 2
    mean = apart.mean(0)
    least, place = mean.min(0)
    return SyncScore(float(mean.median() - least), float(least), shift - int(place))


def wav2lip_lrs(tracks: Sequence[SyncScore]) -> SyncScore | None:
    """The clip itself is taken as the face crop: its one track counts, whatever its length."""
    return tracks[0] if tracks else None


def mova(tracks: Sequence[SyncScore]) -> SyncScore | None:
    """MOVA's toolkit: the track with the largest confidence less distance; tracks from 20 frames. None without any."""
    return max(tracks, key=lambda t: t.confidence - t.distance, default=None)


VERSE_LIMIT = 14


def verse_bench(tracks: Sequence[SyncScore]) -> float | None:
    """Verse-Bench: mean LSE-C over runs of at least 50 face frames; None drops the clip.

    Its code drops a whole clip where a run's offset reaches 14 frames either way, so the worst clips never count:
    read it with the share of clips that are left.
    """
    if not tracks or any(abs(t.offset) >= VERSE_LIMIT for t in tracks):
        return None
    return sum(t.confidence for t in tracks) / len(tracks)
