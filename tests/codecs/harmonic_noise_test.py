"""The trained vocoder: its transform and its pulses in closed form, clips apart from their batch, strict loading."""

import json
import math

import pytest
import torch
from paper_small import MMAUDIO, VOCODER
from safetensors.torch import load_file, save_file

from phonofilm.codecs.audio import VOCODERS, AudioCodec
from phonofilm.codecs.folders import load_part, save_part
from phonofilm.codecs.harmonic_noise import LOWEST, HarmonicNoiseVocoder
from phonofilm.codecs.mel import LogMel
from phonofilm.errors import UserError


@pytest.fixture
def vocoder():
    torch.manual_seed(0)
    return HarmonicNoiseVocoder(width=16, depth=2, pitch_width=8, pitch_depth=1).eval()


def test_the_inverse_transform_gives_back_every_sample(vocoder, generator):
    wave = torch.randn(2, 256 * 9, generator=generator)
    spectrum = vocoder.stft(wave)
    assert spectrum.shape == (2, 18, 257)
    torch.testing.assert_close(vocoder.istft(spectrum), wave, atol=1e-5, rtol=0)


def test_frames_lie_where_the_columns_of_the_mel_do(vocoder):
    click = torch.zeros(1, 256 * 9)
    click[0, 4 * 256 + 128] = (
        1.0  # in the middle of column 4: between frames 8 and 9, and as near to the one as the other
    )
    loud = vocoder.stft(click).abs().square().sum(-1)[0]
    assert set(loud.topk(2).indices.tolist()) == {8, 9}
    torch.testing.assert_close(loud[8], loud[9])
    mel = LogMel()(click)[0].sum(0)
    assert mel.argmax() == 4


def test_pulses_are_the_sum_of_their_harmonics(vocoder):
    made = vocoder.pulse_train(torch.full((1, 8), 2.0))[0].double()
    frequency = 4 * LOWEST
    phase = 2 * math.pi * frequency / 16000 * torch.arange(1, 8 * 256 + 1, dtype=torch.float64)
    share = 8000 / frequency - 0.5 - 35  # of the 36th harmonic, which is fading
    true = sum(torch.cos(k * phase) for k in range(1, 36)) + share * torch.cos(36 * phase)
    torch.testing.assert_close(made, true * 2 / 512, atol=1e-5, rtol=0)


def test_a_gliding_pitch_makes_no_click(vocoder):
    made = vocoder.pulse_train(torch.linspace(1.0, 2.0, 64)[None])[0]
    loud = made.unfold(0, 512, 256).square().sum(-1).sqrt()
    assert made.isfinite().all()
    assert loud.max() < 1.6 * loud.min()


@pytest.mark.parametrize("columns", [2, 5, 33])
def test_every_column_becomes_a_hop_of_samples(vocoder, columns):
    made = vocoder(torch.full((2, 80, columns), -2.0)).sample
    assert made.shape == (2, 1, 256 * columns)
    assert made.abs().max() <= 1


def test_a_clip_is_the_same_in_any_batch(vocoder, generator):
    mels = torch.randn(5, 80, 24, generator=generator) - 2.5
    with torch.no_grad():
        together = vocoder(mels).sample
        alone = [vocoder(mel[None]).sample[0] for mel in mels]
        turned = vocoder(mels.flip(0)).sample.flip(0)
    assert torch.equal(together, torch.stack(alone))
    assert torch.equal(together, turned)


def test_decoded_latents_are_the_same_in_any_batch(vocoder, generator):
    torch.manual_seed(1)
    codec = AudioCodec(AudioCodec.build(MMAUDIO, VOCODER).vae, vocoder).eval()
    latents = torch.randn(3, codec.channels, 12, generator=generator)
    with torch.no_grad():
        assert torch.equal(codec.decode(latents), torch.cat([codec.decode(one[None]) for one in latents]))


def test_longer_than_the_noise(vocoder):
    with torch.no_grad():
        made = vocoder(torch.full((1, 80, 300), -2.0)).sample
    assert made.shape[-1] == 76800 > len(vocoder.noise)
    assert made[..., 65536:].square().mean() > 0.1 * made[..., :65536].square().mean() > 0


def test_it_starts_near_the_envelope_of_the_mel(vocoder, generator):
    wave = 0.1 * torch.randn(1, 256 * 64, generator=generator)
    mel = LogMel()(wave)
    with torch.no_grad():
        again = LogMel()(vocoder(mel).sample[:, 0])
    assert (again - mel).abs().mean() < 0.5  # half a decade before any training


def test_saved_and_loaded_it_sounds_the_same(vocoder, generator, tmp_path):
    save_part(vocoder, tmp_path / "vocoder")
    again = load_part(tmp_path / "vocoder", VOCODERS)
    mel = torch.randn(1, 80, 16, generator=generator) - 2.5
    assert isinstance(again, HarmonicNoiseVocoder)
    assert json.loads((tmp_path / "vocoder" / "config.json").read_text())["_class_name"] == "HarmonicNoiseVocoder"
    with torch.no_grad():
        assert torch.equal(vocoder(mel).sample, again(mel).sample)


@pytest.mark.parametrize("fault", ["missing", "surplus", "not finite"])
def test_weights_are_loaded_strictly(vocoder, tmp_path, fault):
    save_part(vocoder, tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    if fault == "missing":
        del tensors["head.bias"]
    else:
        tensors["head.bias" if fault == "not finite" else "extra"] = torch.full((3084,), math.nan)
    if fault == "surplus":
        tensors["extra"] = torch.zeros(2)
    save_file(tensors, path)
    with pytest.raises(UserError, match=f"1 {fault} weights"):
        load_part(tmp_path, VOCODERS)
