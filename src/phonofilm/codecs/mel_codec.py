"""Mel spectrograms as latents, and Qwen2.5-Omni's BigVGAN back to samples: the sound of UniAVGen's release."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.codecs.folders import MODEL, built, load_file_strictly, read_config
from phonofilm.codecs.mel import LogMel

if TYPE_CHECKING:
    from transformers import Qwen2_5OmniToken2WavBigVGANModel

MEAN, STD = -5.1753, 2.1544
"""Of natural log mels over the authors' data (Sora2-mini, wan/configs/wan_ti2v_5B.py)."""


class MelCodec(nn.Module):
    """Mono sound at 24 kHz as 80 natural log mels, 100 a second, shifted and scaled by two numbers."""

    sample_rate = 24000
    hop = 240
    channels = 80

    def __init__(self, vocoder: Qwen2_5OmniToken2WavBigVGANModel) -> None:
        super().__init__()
        rates, mels = vocoder.config.upsample_rates, vocoder.config.mel_dim
        if (math.prod(rates), mels) != (self.hop, self.channels):
            raise ValueError(f"the vocoder makes {math.prod(rates)} samples of {mels} mels; 240 of 80 are wanted")
        self.vocoder = vocoder
        self.mel = LogMel(sample_rate=self.sample_rate, hop=self.hop, bins=self.channels, top=8000.0)

    @classmethod
    def build(cls, config: dict[str, object] | None = None) -> MelCodec:
        """With an untrained vocoder; transformers' defaults are the published sizes."""
        from transformers import Qwen2_5OmniToken2WavBigVGANModel
        from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniBigVGANConfig

        return cls(Qwen2_5OmniToken2WavBigVGANModel(Qwen2_5OmniBigVGANConfig.from_dict(config or {})))

    @classmethod
    def load(cls, folder: str | Path) -> MelCodec:
        """Load ``vocoder``, in transformers' form, from a checkpoint folder; it has no ``audio_vae``.

        Missing or surplus weights are an error, which transformers' own loading lets pass.
        """
        part = Path(folder) / "vocoder"
        config = read_config(part, MODEL)
        codec = built(lambda: cls.build(config), part, MODEL)
        load_file_strictly(codec.vocoder, part / MODEL)
        return codec.float().eval().requires_grad_(False)

    def save(self, folder: str | Path) -> None:
        """Write ``vocoder`` inside a checkpoint folder, in transformers' form."""
        part = Path(folder) / "vocoder"
        part.mkdir(parents=True, exist_ok=True)
        content = self.vocoder.config.to_dict() | {"architectures": [type(self.vocoder).__name__]}
        (part / "config.json").write_text(json.dumps(content, indent=1) + "\n")
        tensors = {name: tensor.contiguous() for name, tensor in self.vocoder.state_dict().items()}
        save_file(tensors, part / MODEL, metadata={"format": "pt"})

    def encode(self, wave: Float[Tensor, "B K N"]) -> Float[Tensor, "B C n"]:
        """Latents of unit scale of the mean of all channels; N is rounded up to whole hops.

        The release brings each waveform's peak to 0.999146 before; that is the data's matter, not the codec's.
        """
        if wave.shape[-1] <= 2 * self.hop:
            raise ValueError(f"{wave.shape[-1]} samples; the mel codec needs more than {2 * self.hop}")
        mel = self.mel(F.pad(wave.mean(dim=1), (0, -wave.shape[-1] % self.hop))) * math.log(10)
        return (mel - MEAN) / STD

    def decode(self, latents: Float[Tensor, "B C n"]) -> Float[Tensor, "B 1 N"]:
        """Mono sound in [-1, 1] of exactly ``n * hop`` samples."""
        mels = latents * STD + MEAN
        return torch.stack([self.vocoder(mel[None]).reshape(1, -1).to(latents.device) for mel in mels])
