"""MMAudio's own numbers on random weights, out of its pickles (tests/golden/mmaudio_official.md); broken pickles."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import MMAudioVAE
from safetensors.torch import load_file

from phonofilm.checkpoints.importing_codecs import import_codec
from phonofilm.checkpoints.importing_mmaudio import PICKLES_16K, PICKLES_44K, import_mmaudio
from phonofilm.cli import main
from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.bigvgan import BigVGANVocoder
from phonofilm.codecs.loading import load_audio_codec
from phonofilm.errors import UserError
from phonofilm.recipes import published

GOLDEN = Path(__file__).parents[1] / "golden" / "mmaudio_official.safetensors"
BLOCKS = {"resblock_kernel_sizes": (3, 5), "resblock_dilation_sizes": ((1, 3, 5), (1, 3, 5))}
BLOCKS |= {"upsample_initial_channel": 4}


def small_16k():
    """The golden widths in place of the published ones."""
    vae = {"mel_bins": 80, "latent_channels": 3, "hidden_channels": 3, "sample_rate": 16000}
    vae = MMAudioVAE.from_config(vae | {"n_fft": 1024, "hop_length": 256})
    return AudioCodec(vae, BigVGANVocoder(upsample_rates=(16, 16), upsample_kernel_sizes=(32, 32), **BLOCKS))


def small_44k():
    """The same at 44.1 kHz."""
    vocoder = BLOCKS | {"upsample_rates": (16, 32), "upsample_kernel_sizes": (32, 64)}
    return AudioCodec.build({"latent_channels": 3, "hidden_channels": 2}, vocoder)


MODES = {"16k": (small_16k, PICKLES_16K), "44k": (small_44k, PICKLES_44K)}


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN)


def state(golden, prefix):
    return {name.removeprefix(prefix): t.clone() for name, t in golden.items() if name.startswith(prefix)}


def write(golden, folder, mode="16k", zipped=True):
    """The pickles as they are published: one of the VAE, one of the vocoder's generator."""
    pickles = MODES[mode][1]
    vae, vocoder = state(golden, f"{mode}.vae."), state(golden, f"{mode}.vocoder.")
    if not zipped:  # as older PyTorch writes files and names normed weights
        short = (".parametrizations.weight.original0", ".weight_g"), (".parametrizations.weight.original1", ".weight_v")
        for long, old in short:
            vocoder = {name.replace(long, old): tensor for name, tensor in vocoder.items()}
    torch.save(vae, folder / pickles.vae, _use_new_zipfile_serialization=zipped)
    torch.save({"generator": vocoder}, folder / pickles.vocoder, _use_new_zipfile_serialization=zipped)
    return vae, vocoder


def distance(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_numbers_are_those_of_the_official_modules(golden, tmp_path, mode, zipped):
    build, pickles = MODES[mode]
    written = write(golden, tmp_path, mode, zipped)
    assert import_mmaudio(tmp_path, tmp_path / "made", build(), pickles) == sum(map(len, written))
    codec = load_audio_codec(tmp_path / "made")
    made = {name.removeprefix(f"{mode}."): golden[name] for name in golden}
    with torch.no_grad():
        mel = codec.listen(made["wave"][:, None])
        assert distance(mel * pickles.unit, made["mel"]) < 1e-5
        assert distance(codec.posterior(mel)[1], made["logvar"]) < 1e-5
        assert distance(codec.encode(made["wave"][:, None]), made["mean"]) < 1e-5
        assert distance(codec.spectrum(made["latent"]) * pickles.unit, made["spectrum"]) < 1e-5
        assert distance(codec.decode(made["latent"]), made["sound"]) < 1e-5


def test_the_command_wants_the_licence_and_writes_a_codec(golden, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(published, "mmaudio_16k", replace(published.mmaudio_16k, build=small_16k))
    vae, vocoder = write(golden, tmp_path)
    words = ["import", str(tmp_path), "--as", "mmaudio_16k", "-o", str(tmp_path / "made")]
    with pytest.raises(SystemExit):
        main(words)
    assert "say --accept CC-BY-NC-4.0" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
    main([*words, "--accept", "CC-BY-NC-4.0"])
    assert capsys.readouterr().out == f"{tmp_path / 'made'}: {len(vae) + len(vocoder)} tensors of {tmp_path}\n"


def spoil(content, how):
    name = "conv_pre.parametrizations.weight.original0"
    if how == "missing":
        del content[name.replace("original0", "original1")]
    elif how == "surplus":
        content["extra"] = torch.zeros(1)
    elif how == "misshapen":
        content[name] = content[name][:, :, 0]
    elif how == "not finite":
        content[name] = content[name] * math.nan
    elif how == "there under two names":
        content["conv_pre.weight_g"] = content[name]
    elif how == "there as itself":
        content["conv_pre.weight"] = torch.zeros(1)
    elif how == "no tensor":
        content["conv_pre.bias"] = [1.0]
    return "extra" if how == "surplus" else "conv_pre."


BROKEN = ("missing", "surplus", "misshapen", "not finite", "there under two names", "there as itself", "no tensor")


@pytest.mark.parametrize("how", BROKEN)
def test_a_tensor_that_does_not_fit_is_named_and_nothing_is_left(golden, tmp_path, how):
    _, vocoder = write(golden, tmp_path)
    name = spoil(vocoder, how)
    torch.save({"generator": vocoder}, tmp_path / PICKLES_16K.vocoder)
    with pytest.raises(UserError, match=r"best_netG.pt: ") as error:
        import_mmaudio(tmp_path, tmp_path / "made", small_16k(), PICKLES_16K)
    assert name in str(error.value)
    assert how in str(error.value)
    assert not list(tmp_path.glob("*made*"))


class Trap:
    """What a pickle must not be able to make."""

    def __reduce__(self):
        return print, ("sprung",)


def test_files_that_are_no_pickles_of_tensors_are_refused(golden, tmp_path, capsys):
    path = tmp_path / PICKLES_16K.vae
    with pytest.raises(UserError, match=r"no v1-16.pth in .*: put the published file there"):
        import_mmaudio(tmp_path, tmp_path / "made", small_16k(), PICKLES_16K)
    write(golden, tmp_path)
    whole = path.read_bytes()
    for content in (whole[:-500], b"", b"not a pickle"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"v1-16.pth is broken or holds more than tensors"):
            import_mmaudio(tmp_path, tmp_path / "made", small_16k(), PICKLES_16K)
    torch.save({"data_mean": Trap()}, path)
    with pytest.raises(UserError, match="holds more than tensors"):
        import_mmaudio(tmp_path, tmp_path / "made", small_16k(), PICKLES_16K)
    assert "sprung" not in capsys.readouterr().out
    path.write_bytes(whole)
    torch.save({"discriminator": {}}, tmp_path / PICKLES_16K.vocoder)
    with pytest.raises(UserError, match="holds no 'generator'"):
        import_mmaudio(tmp_path, tmp_path / "made", small_16k(), PICKLES_16K)
    with pytest.raises(UserError, match="mmaudio_44k are under CC-BY-NC-4.0"):
        import_codec("mmaudio_44k", tmp_path, tmp_path / "made")
