"""Builders of the published codecs and text encoders that recipes name.

Published networks are built by configuration here (random weights); their weights come with a checkpoint folder.
"""

from __future__ import annotations

from collections.abc import Callable

from diffusers import MMAudioVAE

from phonofilm.codecs.ace_audio import AceAudioCodec
from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.bigvgan import BigVGANVocoder
from phonofilm.codecs.licences import preset
from phonofilm.codecs.ltx2_audio import LTX2AudioCodec
from phonofilm.codecs.mel_codec import MelCodec
from phonofilm.codecs.video import VideoCodec
from phonofilm.encoders import text
from phonofilm.encoders.features import FeatureEncoder, Filled, SoundFeatures
from phonofilm.types import Prompt

FLAN_T5_XXL = "google/flan-t5-xxl"
UMT5_XXL = "google/umt5-xxl"
UMT5_BASE = "google/umt5-base"

WAN22_VAE: dict[str, object] = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "temperal_downsample": [False, True, True],
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "scale_factor_temporal": 4,
    "latents_mean": (
        -0.2289,
        -0.0052,
        -0.1323,
        -0.2339,
        -0.2799,
        0.0174,
        0.1838,
        0.1557,
        -0.1382,
        0.0542,
        0.2813,
        0.0891,
        0.157,
        -0.0098,
        0.0375,
        -0.1825,
        -0.2246,
        -0.1207,
        -0.0698,
        0.5109,
        0.2665,
        -0.2108,
        -0.2158,
        0.2502,
        -0.2055,
        -0.0322,
        0.1109,
        0.1567,
        -0.0729,
        0.0899,
        -0.2799,
        -0.123,
        -0.0313,
        -0.1649,
        0.0117,
        0.0723,
        -0.2839,
        -0.2083,
        -0.052,
        0.3748,
        0.0152,
        0.1957,
        0.1433,
        -0.2944,
        0.3573,
        -0.0548,
        -0.1681,
        -0.0667,
    ),
    "latents_std": (
        0.4765,
        1.0364,
        0.4514,
        1.1677,
        0.5313,
        0.499,
        0.4818,
        0.5013,
        0.8158,
        1.0344,
        0.5894,
        1.0901,
        0.6885,
        0.6165,
        0.8454,
        0.4978,
        0.5759,
        0.3523,
        0.7135,
        0.6804,
        0.5833,
        1.4146,
        0.8986,
        0.5659,
        0.7069,
        0.5338,
        0.4889,
        0.4917,
        0.4069,
        0.4999,
        0.6866,
        0.4093,
        0.5709,
        0.6065,
        0.6415,
        0.4944,
        0.5726,
        1.2042,
        0.5458,
        1.6887,
        0.3971,
        1.06,
        0.3943,
        0.5537,
        0.5444,
        0.4089,
        0.7468,
        0.7744,
    ),
}
"""Of diffusers' AutoencoderKLWan; the statistics are those of Wan2.2's own code (wan/modules/vae2_2.py)."""

MMAUDIO_16K_VAE: dict[str, object] = {
    "mel_bins": 80,
    "latent_channels": 20,
    "hidden_channels": 384,
    "channel_multipliers": (1, 2, 4),
    "layers_per_block": 2,
    "sample_rate": 16000,
    "n_fft": 1024,
    "hop_length": 256,
}


ACE_DCAE: dict[str, object] = {
    "in_channels": 2,
    "latent_channels": 8,
    "attention_head_dim": 32,
    "encoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"],
    "decoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"],
    "encoder_block_out_channels": [128, 256, 512, 1024],
    "decoder_block_out_channels": [128, 256, 512, 1024],
    "encoder_layers_per_block": [2, 2, 3, 3],
    "decoder_layers_per_block": [3, 3, 3, 3],
    "encoder_qkv_multiscales": [[], [], [5], [5]],
    "decoder_qkv_multiscales": [[], [], [5], [5]],
    "decoder_norm_types": "rms_norm",
    "decoder_act_fns": "silu",
    "downsample_block_type": "Conv",
    "upsample_block_type": "interpolate",
}
"""Of diffusers' AutoencoderDC: config.json of music_dcae_f8c8 in ACE-Step-v1-3.5B."""


@preset("Apache-2.0")
def wan21_video() -> VideoCodec:
    """Wan2.1's video VAE (Apache-2.0): 16 channels, 8 x 8 x 4 pixels a latent. diffusers' defaults are its sizes."""
    return VideoCodec.build("AutoencoderKLWan", {})


@preset("Apache-2.0")
def wan22_video() -> VideoCodec:
    """Wan2.2's video VAE (Apache-2.0): 48 channels, 16 x 16 x 4 pixels a latent."""
    return VideoCodec.build("AutoencoderKLWan", WAN22_VAE)


@preset("CC-BY-NC-4.0", restricted=True)
def mmaudio_16k() -> AudioCodec:
    """MMAudio's 16 kHz VAE and Make-An-Audio 2's BigVGAN: 20 channels at 31.25 Hz."""
    return AudioCodec(MMAudioVAE.from_config(MMAUDIO_16K_VAE), BigVGANVocoder())  # pyright: ignore[reportArgumentType]


@preset("CC-BY-NC-4.0", restricted=True)
def mmaudio_44k() -> AudioCodec:
    """MMAudio's 44.1 kHz VAE with BigVGAN v2: 40 channels at 43.07 Hz. diffusers' defaults are its sizes.

    Its mels are natural logarithms, ours decadic ones as at 16 kHz: the import divides the VAE's ``data_mean`` and
    ``data_std`` by ln 10 and multiplies the vocoder's first weights with it.
    """
    return AudioCodec.build({}, {})


@preset("LicenseRef-LTX-2-Community", restricted=True)
def ltx2_audio() -> LTX2AudioCodec:
    """LTX-2.3's audio VAE with its 48 kHz vocoder: 128 numbers at 25 Hz, stereo. diffusers' defaults are its sizes.

    181,785,594 parameters, 347 MiB in 16 bits; that this is the 348 MB file of NAVA's release is [inferred].
    """
    return LTX2AudioCodec.build({}, "LTX2VocoderWithBWE", {})


@preset("Apache-2.0")
def qwen_mel() -> MelCodec:
    """80 mels at 100 Hz with the BigVGAN of Qwen2.5-Omni-7B (24 kHz). transformers' defaults are its sizes."""
    return MelCodec.build()


@preset("Apache-2.0")
def ace_audio() -> AceAudioCodec:
    """ACE-Step's autoencoder of mels at UniVerse-1's pace: 128 numbers at 6.25 Hz, stereo, 16 kHz."""
    return AceAudioCodec.build(ACE_DCAE, {})


def umt5_base(field: Callable[[Prompt], str]) -> SoundFeatures:
    """ACE-Step's text encoder (Apache-2.0) reading one text of each prompt, beside another one in the folder."""
    return SoundFeatures(UMT5_BASE, field, length=256)


def flan_t5_xxl() -> FeatureEncoder:
    """The first of the JoVA backbone's two text encoders [paper: Waver] (Apache-2.0), reading all three fields."""
    return FeatureEncoder(FLAN_T5_XXL, text.render, length=512)


def flan_t5_xxl_negative() -> FeatureEncoder:
    """The same encoder reading the negative prompt."""
    return FeatureEncoder(FLAN_T5_XXL, text.negative, length=512)


def umt5_xxl(field: Callable[[Prompt], str]) -> Filled:
    """Wan's text encoder (Apache-2.0) reading one text of each prompt; its towers read the padding as well."""
    return Filled(FeatureEncoder(UMT5_XXL, field, length=512))
