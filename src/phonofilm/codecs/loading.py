"""Codecs out of a checkpoint folder, of whichever class its configurations name."""

from __future__ import annotations

from pathlib import Path

from phonofilm.codecs.ace_audio import AceAudioCodec, BandedGriffinLimVocoder
from phonofilm.codecs.audio import VOCODERS, AudioCodec
from phonofilm.codecs.blocks import BlockCodec
from phonofilm.codecs.convolutional import ConvCodec
from phonofilm.codecs.folders import class_of, faults_named
from phonofilm.codecs.ltx2_audio import LTX2AudioCodec
from phonofilm.codecs.mel_codec import MelCodec
from phonofilm.codecs.video import VideoCodec
from phonofilm.errors import UserError

PARTS = ("vae", "audio_vae", "vocoder")
"""Folders of the codecs inside a checkpoint folder; not every sound has a VAE."""
StoredVideo = VideoCodec | BlockCodec | ConvCodec
StoredAudio = AudioCodec | LTX2AudioCodec | MelCodec | AceAudioCodec

BY_VOCODER: dict[str, type[StoredAudio]] = {
    BandedGriffinLimVocoder.__name__: AceAudioCodec,
    **{vocoder.__name__: AudioCodec for vocoder in VOCODERS},
    "LTX2Vocoder": LTX2AudioCodec,
    "LTX2VocoderWithBWE": LTX2AudioCodec,
    "Qwen2_5OmniToken2WavBigVGANModel": MelCodec,
}
"""Every audio codec ends in a vocoder; its class says what stands before it."""


def load_video_codec(folder: str | Path) -> StoredVideo:
    """The codec in the ``vae`` folder inside a checkpoint folder."""
    part = Path(folder) / "vae"
    with faults_named(part):
        own = {codec.__name__: codec for codec in (BlockCodec, ConvCodec)}
        return own.get(class_of(part), VideoCodec).load(folder)


def load_audio_codec(folder: str | Path) -> StoredAudio:
    """The codec in the ``vocoder`` folder inside a checkpoint folder, and in ``audio_vae`` where it has a VAE.

    Raises ``UserError`` for a class that is not known.
    """
    name = class_of(Path(folder) / "vocoder")
    if name not in BY_VOCODER:
        known = ", ".join(BY_VOCODER)
        raise UserError(f"{folder}/vocoder/config.json names the class {name!r}; accepted here: {known}")
    with faults_named(Path(folder)):
        return BY_VOCODER[name].load(folder)
