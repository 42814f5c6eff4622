"""Speaker encoders that somebody else trained, by path: ReDimNet for NAVA, or one that transformers loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.encoders.features import check_whole, read_by_transformers
from phonofilm.errors import UserError
from phonofilm.files.resample import resample
from phonofilm.types import NOT_RECORDED, Audio

FOLDER = "speaker_encoder"
"""Inside a checkpoint folder."""
SCRIPT = "speaker.pt"
"""A TorchScript network inside that folder, where it is none of transformers'."""
SAMPLE_RATE = 16000
LONGEST = 30
"""Seconds of a voice that are heard [code: NAVA]."""
Network = Callable[[Float[Tensor, "1 N"]], Float[Tensor, "1 E"]]


@dataclass(frozen=True)
class TrainedSpeaker:
    """A voice as a vector, by the network in a folder, which is loaded when the first voice is heard.

    ``path`` holds ``speaker.pt``, a TorchScript network from 16 kHz samples (1, N) to vectors (1, E), or a model of
    transformers with an x-vector head (``WavLMForXVector`` and others) and its feature extractor.
    """

    channels: int
    path: str = field(default=FOLDER, metadata=NOT_RECORDED)
    trusted: bool = field(default=False, metadata=NOT_RECORDED)
    """Whether ``speaker.pt`` may run: a TorchScript network is code, which can read and write any file."""

    @property
    def name(self) -> str:
        """Tells its vectors from those of another encoder."""
        return f"TrainedSpeaker({self.channels})"

    def __call__(self, audio: Audio) -> Float[Tensor, " E"]:
        """The vector of at most 30 s of the mean of all channels.

        Raises ``UserError`` where there is no network, where it is code and not trusted, and where its vectors have
        another length than ``channels``.
        """
        wave = resample(audio.samples.mean(0), audio.sample_rate, SAMPLE_RATE)[: LONGEST * SAMPLE_RATE]
        with torch.no_grad():
            vector = load_speaker_network(self.path, trusted=self.trusted)(wave[None])[0]
        if vector.shape != (self.channels,):
            raise UserError(f"{self.path} makes vectors of {len(vector)} numbers, this model reads {self.channels}")
        return vector.float()

    def at(self, folder: Path) -> TrainedSpeaker:
        """The same with the network of a checkpoint folder, whether it is there or not."""
        return replace(self, path=str(folder / FOLDER))


def _script(path: Path, *, trusted: bool) -> Network:
    if not trusted:
        raise UserError(
            f"{path} is TorchScript, which is code that can do anything here: if you know where it comes from, say "
            f"--trust {path.parent.parent}, or take a model of transformers with an x-vector head"
        )
    try:
        return torch.jit.load(path, map_location="cpu").eval()
    except RuntimeError as error:
        raise UserError(f"{path} is no TorchScript network that can be read ({str(error).splitlines()[0]})") from error


@lru_cache(maxsize=2)
def load_speaker_network(path: str, *, trusted: bool = False) -> Network:
    """The network of a folder; ``UserError`` that says what is missing. Code is run only where it is trusted."""
    folder = Path(path)
    if (folder / SCRIPT).is_file():
        return _script(folder / SCRIPT, trusted=trusted)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"no speaker encoder in {path}, so no voice can be followed: put {SCRIPT} there (ReDimNet as TorchScript) "
            "or a model of transformers with an x-vector head, or leave the voice out"
        )
    from transformers import AutoFeatureExtractor, AutoModelForAudioXVector

    with read_by_transformers(path):
        network, found = AutoModelForAudioXVector.from_pretrained(
            path, use_safetensors=True, output_loading_info=True, trust_remote_code=False
        )
        extractor = AutoFeatureExtractor.from_pretrained(path, trust_remote_code=False)
    check_whole(path, found)
    network.eval().requires_grad_(False)

    def hear(wave: Float[Tensor, "1 N"]) -> Float[Tensor, "1 E"]:
        read = extractor([wave[0].numpy()], sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return network(**read).embeddings

    return hear
