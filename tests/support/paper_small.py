"""The six systems in the paper's layout, tiny: the same classes, codecs and text encoders with random weights."""

from dataclasses import replace

import torch
import universe1_small
from nava_small import network
from ovi_small import small as small_ovi
from tokenizers import Tokenizer, models
from transformers import ByT5Tokenizer, T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

from phonofilm.architectures.ccl import CCL
from phonofilm.architectures.jova import JoVA
from phonofilm.architectures.nava import TimbreOverSentinel
from phonofilm.architectures.uniavgen import InteractionLayer, PairedLayer, UniAVGen
from phonofilm.checkpoints.folder import Training, save_checkpoint
from phonofilm.codecs.ace_audio import AceAudioCodec
from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.ltx2_audio import LTX2AudioCodec
from phonofilm.codecs.mel_codec import MelCodec
from phonofilm.codecs.video import VideoCodec
from phonofilm.diffusion.tokens import Geometry
from phonofilm.encoders.trained_speaker import TrainedSpeaker
from phonofilm.network.context import CharacterText, EmbeddedText, TowerText
from phonofilm.network.layers import CrossAttention, Rope
from phonofilm.network.ports import DiTTime, MLPEmbed, StreamConfig, WanTime
from phonofilm.recipes.ccl import ccl_paper
from phonofilm.recipes.jova import MASKS, jova_paper
from phonofilm.recipes.nava import nava_release
from phonofilm.recipes.pocket import CELLS
from phonofilm.recipes.uniavgen import released_interaction, uniavgen_paper

STATISTICS = {"latents_mean": [0.5, 0.0, -0.5], "latents_std": [1.0, 2.0, 0.5]}
WAN = STATISTICS | {"base_dim": 4, "z_dim": 3, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1}
WAN |= {"temperal_downsample": [False, True, True]}
WAN22 = WAN | {"is_residual": True, "decoder_base_dim": 4, "in_channels": 12, "out_channels": 12, "patch_size": 2}
WAN22 |= {"scale_factor_spatial": 16, "scale_factor_temporal": 4, "dim_mult": [1, 2, 4, 4]}
MMAUDIO = {"mel_bins": 80, "latent_channels": 4, "hidden_channels": 8, "channel_multipliers": (1, 2)}
MMAUDIO |= {"layers_per_block": 1, "sample_rate": 16000, "n_fft": 1024, "hop_length": 256}
VOCODER = {"num_mels": 80, "upsample_initial_channel": 8, "upsample_rates": (16, 16)}
VOCODER |= {"upsample_kernel_sizes": (32, 32), "resblock_kernel_sizes": (3,), "resblock_dilation_sizes": ((1,),)}
LTX2 = {"base_channels": 16, "latent_channels": 1, "ch_mult": (1, 1, 1), "num_res_blocks": 1}
BLOCKS = {"resnet_kernel_sizes": [3], "resnet_dilations": [[1]]}
LTX2_VOCODER = {"hidden_channels": 64, "bwe_hidden_channels": 32} | BLOCKS
LTX2_VOCODER |= {f"bwe_{name}": value for name, value in BLOCKS.items()}
QWEN = {"upsample_initial_channel": 64, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]]}
STAGES = {"layers_per_block": [1] * 4, "block_out_channels": [8] * 4, "block_types": ["ResBlock"] * 4}
STAGES |= {"qkv_multiscales": [[]] * 4}
ACE = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in STAGES.items()}
ACE |= {"in_channels": 2, "latent_channels": 2, "decoder_norm_types": "rms_norm", "decoder_act_fns": "silu"}
ACE |= {"downsample_block_type": "Conv", "upsample_block_type": "interpolate"}
TEXT = {"d_model": 12, "d_ff": 16, "d_kv": 6, "num_heads": 2, "num_layers": 1, "vocab_size": 384}
WIDTH = {"width": 24, "heads": 2, "mlp": 32}
ROPE = Rope(sizes=(4, 4, 4))
SPEAKER = 8
CHARACTERS = " ,.:abcdefghijklmnopqrstuvwxyz"


def wan21():
    """Wan2.1's autoencoder: 3 channels, 8 x 8 pixels."""
    return VideoCodec.build("AutoencoderKLWan", WAN)


def wan22():
    """Wan2.2's: 3 channels, 16 x 16 pixels."""
    return VideoCodec.build("AutoencoderKLWan", WAN22)


def mmaudio():
    """4 channels at 31.25 Hz."""
    return AudioCodec.build(MMAUDIO, VOCODER)


def ltx2():
    """16 channels at 25 Hz, stereo at 48 kHz."""
    return LTX2AudioCodec.build(LTX2, "LTX2VocoderWithBWE", LTX2_VOCODER)


def qwen():
    """80 mels at 100 Hz."""
    return MelCodec.build(QWEN)


def ace():
    """32 numbers at 6.25 Hz, stereo."""
    return AceAudioCodec.build(ACE, {"iterations": 2})


def small(experiment, model, video, audio):
    """A recipe with another network and codecs, for clips of five pixel frames, in one step."""
    geometry = Geometry(num_frames=5, height=32, width=32, fps=experiment.geometry.fps)
    sampling = replace(experiment.sampling, steps=1)
    return replace(experiment, model=model, video_codec=video, audio_codec=audio, geometry=geometry, sampling=sampling)


def jova():
    audio = StreamConfig(channels=4, rope=ROPE, time=DiTTime(width=24), **WIDTH)
    model = JoVA(
        video=replace(audio, channels=3 * CELLS, beside=(3 + MASKS) * CELLS),
        audio=audio,
        text=EmbeddedText(fields=(("t5", 12),)),
        num_dual=1,
        num_single=1,
    )
    return replace(small(jova_paper(), model, wan21, mmaudio), name="paper_small:jova")


def ccl():
    model = CCL(
        video=StreamConfig(channels=12, rope=ROPE, time=WanTime(), **WIDTH),
        audio=StreamConfig(channels=4, rope=Rope(sizes=(12, 0, 0)), time=WanTime(), **WIDTH),
        text=TowerText(video=("text", 12), audio=("text", 12)),
        text_attention=CrossAttention,
        num_blocks=2,
        rate=4.0,
    )
    return replace(small(ccl_paper(), model, wan21, mmaudio), name="paper_small:ccl")


def ovi():
    experiment = small_ovi()
    return replace(small(experiment, experiment.model, wan22, mmaudio), name="paper_small:ovi")


def nava():
    model = network(TimbreOverSentinel)
    model = replace(model, audio=replace(model.audio, channels=16))
    voices = {name: replace(voice, channels=SPEAKER) for name, voice in nava_release().voices.items()}
    experiment = replace(nava_release(), voices=voices, speaker_encoder=TrainedSpeaker(SPEAKER))
    return replace(small(experiment, model, wan22, ltx2), name="paper_small:nava")


def uniavgen():
    model = UniAVGen(
        video=StreamConfig(channels=12, rope=ROPE, time=WanTime(), **WIDTH),
        audio=StreamConfig(
            channels=80,
            rope=Rope(sizes=(12, 0, 0)),
            embed=MLPEmbed(),
            time=WanTime(clean_references=False),
            **WIDTH,
        ),
        text=CharacterText(caption=("caption", 12), speech="speech", characters=len(CHARACTERS) + 1, inner=8, depth=1),
        layers=(InteractionLayer, PairedLayer),
        interaction=replace(released_interaction(torch.bfloat16), space=ROPE, place=ROPE),
    )
    return replace(small(uniavgen_paper(), model, wan22, qwen), name="paper_small:uniavgen")


def universe1():
    experiment = universe1_small.small()
    model = universe1_small.network(vocabulary=300, sound=12)
    return replace(small(experiment, model, wan21, ace), name="paper_small:universe1")


RECIPES = {recipe.__name__: recipe for recipe in (jova, uniavgen, nava, ccl, ovi, universe1)}


def write(system, folder):
    """A whole folder: the network, whose output is not zero, codecs, text encoder, tokenizer, characters."""
    torch.manual_seed(0)
    experiment = RECIPES[system]()
    weights = {name: torch.randn_like(t) * 0.05 for name, t in experiment.model.build().state_dict().items()}
    save_checkpoint(folder, experiment, weights, Training())
    experiment.video_codec().save(folder)
    experiment.audio_codec().save(folder)
    config, network = (T5Config, T5EncoderModel) if system == "jova" else (UMT5Config, UMT5EncoderModel)
    network(config(**TEXT)).bfloat16().save_pretrained(folder / "text_encoder")
    ByT5Tokenizer().save_pretrained(folder / "tokenizer")
    if system == "universe1":
        network(config(**TEXT)).save_pretrained(folder / "sound_encoder" / "text_encoder")
        ByT5Tokenizer().save_pretrained(folder / "sound_encoder" / "tokenizer")
        words = {"[UNK]": 0, "one": 1}
        Tokenizer(models.WordLevel(words, unk_token="[UNK]")).save(str(folder / "vocab.json"))
    if system == "uniavgen":
        (folder / "vocab.txt").write_text("".join(f"{character}\n" for character in CHARACTERS))
    return folder
