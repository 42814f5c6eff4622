"""Noise levels as UniVerse-1's two towers read them: leaves of a stream's configuration, beside those of ``ports``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from phonofilm.network.ace import modulate_rms
from phonofilm.network.ports import WanTime
from phonofilm.types import Stream


@dataclass(frozen=True, kw_only=True)
class LevelTime(WanTime):
    """The same for weights that learned to modulate clean tokens as all others, at the clip's noise level (UniVerse-1).

    A clean first frame is then told by what it holds alone.
    """

    def given(self, stream: Stream) -> Bool[Tensor, "B S"]:
        """No token is modulated as a clean one."""
        return torch.zeros_like(stream.given)


@dataclass(frozen=True, kw_only=True)
class AceTime(WanTime):
    """ACE-Step's time vectors, which are Wan's; before the output layer stands an RMS norm."""

    modulate = staticmethod(modulate_rms)
