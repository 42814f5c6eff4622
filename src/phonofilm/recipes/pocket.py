"""What the small recipes share: the pocket codecs, by their numbers. Training them is ``phonofilm.train.codecs``."""

from __future__ import annotations

from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.blocks import BlockCodec
from phonofilm.codecs.convolutional import ConvCodec, ConvConfig

AUDIO_VAE: dict[str, object] = {
    "mel_bins": 80,
    "latent_channels": 20,
    "hidden_channels": 96,
    "channel_multipliers": (1, 2),
    "layers_per_block": 1,
    "sample_rate": 16000,
    "n_fft": 1024,
    "hop_length": 256,
}
VOCODER: dict[str, object] = {
    "num_mels": 80,
    "upsample_initial_channel": 384,
    "upsample_rates": (4, 4, 4, 4),
    "upsample_kernel_sizes": (8, 8, 8, 8),
    "resblock_kernel_sizes": (3,),
    "resblock_dilation_sizes": ((1, 3),),
}


def pocket_video() -> BlockCodec:
    """The puppets' video codec, untrained: 64 components of blocks."""
    return BlockCodec(channels=64, width=192, depth=2, fine=48, fine_depth=3)


def pocket2_video() -> ConvCodec:
    """The puppets' second video codec, untrained: learned, with as many latents; see docs/codecs.md."""
    return ConvCodec(ConvConfig())


def pocket_audio() -> AudioCodec:
    """The puppets' audio codec, untrained."""
    return AudioCodec.build(AUDIO_VAE, VOCODER)
