"""Imports of what stands beside a network: whole, broken, restricted, of another recipe, cut out of Qwen2.5-Omni."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from paper_small import MMAUDIO, QWEN, VOCODER, WAN
from safetensors.torch import load_file, save_file

from phonofilm.checkpoints.importing import Codecs, import_weights
from phonofilm.checkpoints.importing_codecs import import_qwen
from phonofilm.cli import main
from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.licences import Preset
from phonofilm.codecs.loading import load_audio_codec
from phonofilm.codecs.mel_codec import MelCodec
from phonofilm.codecs.video import VideoCodec
from phonofilm.errors import UserError
from phonofilm.files.safetensors_index import entries
from phonofilm.generation.pipeline import find_model
from phonofilm.recipes import published
from phonofilm.recipes.lookup import find_recipe, recipe_names
from phonofilm.recipes.ovi import ovi_paper

GOLDEN = Path(__file__).parents[1] / "golden" / "ovi_official.safetensors"
RECIPE = "ovi_small:small"
ACCEPTED = frozenset({"CC-BY-NC-4.0"})


@pytest.fixture
def source(tmp_path):
    """The network's weights, by the release's names."""
    weights = {n.removeprefix("weights."): t for n, t in load_file(GOLDEN).items() if n.startswith("weights.")}
    save_file(weights, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "made" / "ovi"


def parts(tmp_path):
    """Two folders that between them hold the codecs of the small Ovi: 3 and 4 channels."""
    torch.manual_seed(0)
    video, audio = tmp_path / "wan", tmp_path / "mmaudio"
    VideoCodec.build("AutoencoderKLWan", WAN).save(video)
    AudioCodec.build(MMAUDIO, VOCODER).save(audio)
    return video, audio


def test_restricted_codecs_want_their_licence_accepted(tmp_path, source, out):
    folders = parts(tmp_path)
    with pytest.raises(UserError, match="mmaudio_16k are under CC-BY-NC-4.0.*--accept CC-BY-NC-4.0"):
        import_weights(source, RECIPE, out, codecs=Codecs(folders))
    assert not out.parent.exists()
    import_weights(source, RECIPE, out, codecs=Codecs(folders, ACCEPTED))
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == [
        "audio_vae",
        "transformer",
        "vae",
        "vocoder",
    ]
    with pytest.raises(UserError, match=f"no vocoder in {folders[0]}: name"):
        import_weights(source, RECIPE, out.with_name("other"), codecs=Codecs(folders[:1], ACCEPTED))
    pocket = Codecs((find_model("pocket")[1],), ACCEPTED)
    with pytest.raises(UserError, match="vae: its latents have 64 channels, ovi_small:small wants 3"):
        import_weights(source, RECIPE, out.with_name("other"), codecs=pocket)
    assert [path.name for path in out.parent.iterdir()] == ["ovi"]


@pytest.mark.parametrize("command", ["prepare --clips 1", "train"])
def test_restricted_codecs_are_not_used_either(tmp_path, capsys, command):
    with pytest.raises(SystemExit):
        main([*command.split(), "--recipe", "ovi_paper", "--codecs", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "say --accept CC-BY-NC-4.0" in capsys.readouterr().err


def broken(path, how):
    """The first tensor of a file of weights, which is no longer as it was."""
    tensors = load_file(path)
    name = sorted(tensors)[0]
    if how == "truncated":
        name = list(entries(path))[-1]
        path.write_bytes(path.read_bytes()[:-1])
        return name
    if how == "missing":
        del tensors[name]
    elif how == "surplus":
        name = "extra"
        tensors[name] = torch.zeros(1)
    elif how == "misshapen":
        tensors[name] = tensors[name][None].clone()
    elif how == "not finite":
        tensors[name] = torch.full_like(tensors[name], float("nan"))
    save_file(tensors, path)
    return name


@pytest.mark.parametrize(
    ("part", "how"),
    [
        ("vae", "truncated"),
        ("audio_vae", "missing"),
        ("vocoder", "surplus"),
        ("vae", "misshapen"),
        ("vocoder", "not finite"),
    ],
)
def test_a_broken_codec_names_its_tensor_and_leaves_nothing(tmp_path, source, out, capsys, part, how):
    folders = parts(tmp_path)
    path = next(f / part for f in folders if (f / part).is_dir()) / "diffusion_pytorch_model.safetensors"
    name = broken(path, how)
    more = ("--codecs", *map(str, folders), "--accept", "CC-BY-NC-4.0")
    with pytest.raises(SystemExit) as end:
        main(["import", str(source), "--as", RECIPE, "-o", str(out), *more])
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert end.value.code == 2
    assert list(out.parent.iterdir()) == []
    assert name in line
    assert how in line
    assert part in line


def test_the_vocoder_is_cut_out_of_qwen(tmp_path, capsys):
    codec, out = MelCodec.build(QWEN), tmp_path / "made" / "qwen"
    tensors = {f"token2wav.code2wav_bigvgan_model.{n}": t for n, t in codec.vocoder.state_dict().items()}
    config = {"token2wav_config": {"bigvgan_config": codec.vocoder.config.to_dict()}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({**tensors, "talker.codec_head.weight": torch.zeros(2)}, tmp_path / "model-00001.safetensors")
    main(["import", str(tmp_path), "--as", "qwen_mel", "-o", str(out)])
    assert capsys.readouterr().out == f"{out}: {len(tensors)} tensors of {tmp_path}\n"
    assert torch.equal(load_audio_codec(out).vocoder.conv_pre.weight, codec.vocoder.conv_pre.weight)
    lost = tensors.popitem()[0]
    save_file(tensors, tmp_path / "model-00001.safetensors")
    with pytest.raises(UserError, match=f"1 missing weights, the first is {lost.split('.', 2)[2]}"):
        import_qwen(tmp_path, out.with_name("other"))
    assert [path.name for path in out.parent.iterdir()] == ["qwen"]


def test_presets_state_their_licence_and_travel_to_other_processes():
    licences = {}
    for name in recipe_names():
        experiment = find_recipe(name)
        for codec in (experiment.video_codec, experiment.audio_codec):
            if isinstance(codec, Preset):
                licences[codec.build.__name__] = (codec.licence, codec.restricted)
                assert pickle.loads(pickle.dumps(codec)) is codec
    assert licences == {
        "wan21_video": ("Apache-2.0", False),
        "wan22_video": ("Apache-2.0", False),
        "mmaudio_16k": ("CC-BY-NC-4.0", True),
        "mmaudio_44k": ("CC-BY-NC-4.0", True),
        "ltx2_audio": ("LicenseRef-LTX-2-Community", True),
        "qwen_mel": ("Apache-2.0", False),
        "ace_audio": ("Apache-2.0", False),
    }


PUBLISHED = {
    published.wan21_video: (16, 8, 4),
    published.wan22_video: (48, 16, 4),
    published.mmaudio_16k: (20, 16000, 512),
    published.mmaudio_44k: (40, 44100, 1024),
    published.ltx2_audio: (128, 48000, 1920),
    published.qwen_mel: (80, 24000, 240),
    published.ace_audio: (128, 16000, 2560),
}
"""Channels, then pixels and pixel frames of a latent, or samples a second and of a latent."""


@pytest.mark.parametrize("preset", PUBLISHED, ids=lambda preset: preset.build.__name__)
def test_published_codecs_have_their_published_rates(preset):
    with torch.device("meta"):
        codec = preset()
    kind = ("spatial_stride", "temporal_stride") if isinstance(codec, VideoCodec) else ("sample_rate", "hop")
    assert tuple(getattr(codec, name) for name in ("channels", *kind)) == PUBLISHED[preset]


@pytest.mark.parametrize("name", [name for name in recipe_names() if "paper" in name or "release" in name])
def test_recipes_of_published_size_fit_their_codecs(name):
    experiment = find_recipe(name)
    assert isinstance(experiment.video_codec, Preset)
    assert isinstance(experiment.audio_codec, Preset)
    video, audio = PUBLISHED[experiment.video_codec], PUBLISHED[experiment.audio_codec]
    assert experiment.model.video.channels == 4 * video[0]
    assert experiment.model.audio.channels == audio[0]


def test_ovis_clip_is_as_long_as_its_sound():
    experiment = ovi_paper()
    with torch.device("meta"):
        layout = experiment.layout(experiment.geometry, experiment.video_codec(), experiment.audio_codec())
    assert layout.video[:3] == (31, 30, 30)
    assert layout.audio.frames == 158  # the release's 157 end 16 ms before the picture
