"""Folders in the paper's layout, from the files on disk to the clip, through the command line."""

import pytest
import torch
from paper_small import RECIPES, SPEAKER, write
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

from phonofilm.cli import main
from phonofilm.errors import UserError
from phonofilm.files.media import read_clip, write_wave
from phonofilm.generation.pipeline import load

RATES = {"jova": 16000, "uniavgen": 24000, "nava": 48000, "ccl": 16000, "ovi": 16000, "universe1": 16000}
"""Samples a second of the sound that each system's codec makes."""


def generate(folder, system, out, *more):
    words = ("--scene", "a man", "--say", "anna: one, two.", "--seed", "3")
    main(["generate", "--model", str(folder), "--recipe", f"paper_small:{system}", *words, "-o", str(out), *more])


@pytest.mark.parametrize("system", RECIPES)
def test_a_paper_folder_makes_a_clip(tmp_path, system):
    folder, out = write(system, tmp_path / "model"), tmp_path / "clip.mp4"
    portrait = tmp_path / "portrait.png"
    Image.new("RGB", (32, 32), (200, 120, 60)).save(portrait)
    generate(folder, system, out, "--image", str(portrait))
    clip = read_clip(out)
    geometry = RECIPES[system]().geometry
    assert clip.video.shape == (5, 3, 32, 32)
    assert clip.fps == geometry.fps
    assert clip.sample_rate == RATES[system]
    assert clip.audio.shape == (2 if system in ("nava", "universe1") else 1, geometry.num_samples(RATES[system]))
    assert clip.audio.std() > 0


def xvector(folder):
    """A tiny WavLM with an x-vector head."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    sizes |= {"conv_dim": (8,), "conv_kernel": (10,), "conv_stride": (160,), "num_feat_extract_layers": 1}
    sizes |= {"num_conv_pos_embeddings": 2, "num_conv_pos_embedding_groups": 1, "xvector_output_dim": SPEAKER}
    sizes |= {"tdnn_dim": (8, 8), "tdnn_kernel": (3, 1), "tdnn_dilation": (1, 1)}
    torch.manual_seed(0)
    network = WavLMForXVector(WavLMConfig(**sizes))
    for parameter in network.parameters():  # as it comes, its vectors are too short to be heard
        torch.nn.init.normal_(parameter, std=0.5)
    network.save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)


def test_a_voice_wants_a_speaker_encoder_and_is_then_heard(tmp_path, capsys):
    folder, out = write("nava", tmp_path / "model"), tmp_path / "clip.mp4"
    voice = ("--voice", f"anna={tmp_path / 'anna.wav'}")
    write_wave(tmp_path / "anna.wav", (torch.arange(4000) * 0.5).sin()[None] / 2, 16000)
    with pytest.raises(SystemExit) as end:
        generate(folder, "nava", out, *voice)
    assert end.value.code == 2
    assert f"no speaker encoder in {folder}/speaker_encoder" in capsys.readouterr().err
    assert not out.exists()
    xvector(folder / "speaker_encoder")
    sounds = []
    for more in (voice, ()):
        generate(folder, "nava", out, *more)
        sounds.append(read_clip(out).audio)
    assert not torch.equal(*sounds)


@pytest.mark.parametrize("system", ["uniavgen", "nava"])
def test_weights_that_are_not_whole_are_refused(tmp_path, system):
    folder = write(system, tmp_path / "model")
    path = next(path for path in (folder / "vocoder").glob("*.safetensors"))
    tensors = load_file(path)
    name = sorted(tensors)[-1]
    save_file({n: t for n, t in tensors.items() if n != name}, path)
    with pytest.raises(UserError, match=f"1 missing weights, the first is {name}"):
        load(str(folder), recipe=f"paper_small:{system}")
    save_file(tensors, path)
    load(str(folder), recipe=f"paper_small:{system}")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="truncated: '"):
        load(str(folder), recipe=f"paper_small:{system}")
