"""What stands around UniAVGen's network: mel latents with their vocoder, and ids from a list of characters."""

import math

import pytest
import torch
from extras import needed

from phonofilm.codecs.loading import load_audio_codec
from phonofilm.codecs.mel import filterbank
from phonofilm.codecs.mel_codec import MEAN, STD, MelCodec
from phonofilm.encoders.characters import CharacterEncoder
from phonofilm.encoders.text import nothing, speech
from phonofilm.errors import UserError
from phonofilm.recipes import published
from phonofilm.types import Prompt


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return MelCodec.build({"upsample_initial_channel": 64}).eval()


def test_mels_are_natural_logs_in_unit_scale(codec):
    seconds = torch.arange(24000) / 24000
    latents = codec.encode(torch.stack((torch.zeros(24000), (2000 * math.pi * seconds).sin()))[:, None])
    assert latents.shape == (2, 80, 100)
    assert latents[0].max().item() == pytest.approx((math.log(1e-5) - MEAN) / STD)
    corners = filterbank(24000, 1024, 80, 8000.0)
    loudest = corners[:, round(1000 / 24000 * 1024)].argmax()
    assert (latents[1, :, 10:90].argmax(dim=0) == loudest).all()
    # A Hann window of 1024 samples gives a full sine half its sum, 256; 1 kHz lies between two bins.
    peak = (latents[1, loudest, 50] * STD + MEAN).exp().item()
    assert peak == pytest.approx(256 * corners[loudest].sum().item(), rel=0.4)


def test_filters_end_at_8000_hz():
    bank = filterbank(24000, 1024, 80, 8000.0)
    assert bank[:, round(8050 / 24000 * 1024) :].abs().max() == 0
    librosa = needed("librosa")
    theirs = torch.from_numpy(librosa.filters.mel(sr=24000, n_fft=1024, n_mels=80, fmin=0, fmax=8000))
    torch.testing.assert_close(bank, theirs, rtol=1e-4, atol=1e-7)


def test_sound_has_a_hop_for_every_latent(codec):
    latents = codec.encode(torch.randn(2, 1, 2410) / 10)
    assert latents.shape[-1] == 11
    with torch.no_grad():
        wave = codec.decode(latents)
        alone = codec.decode(latents[:1])
    assert wave.shape == (2, 1, 11 * 240)
    torch.testing.assert_close(wave[:1], alone)
    with pytest.raises(ValueError, match="more than 480"):
        codec.encode(torch.zeros(1, 1, 400))


def test_a_vocoder_of_another_rate_is_refused():
    with pytest.raises(ValueError, match="240 of 80"):
        MelCodec.build({"upsample_initial_channel": 64, "mel_dim": 100})


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("".join(f"{character}\n" for character in " ,abcdefghijklmnopqrstuvwxyz"))
    return str(file)


def test_characters_are_lines_and_short_texts_are_filled(path):
    prompts = [Prompt(speech=(("", "abc;"),)), Prompt(speech=(("", "a long line of words"),))]
    tokens = CharacterEncoder(speech, path)(prompts)
    assert tokens.x[0].tolist() == [3, 4, 5, 2] + [0] * 16
    assert tokens.mask.sum(dim=1).tolist() == [10, 20]
    assert tokens.x[1, 0].item() == 3
    empty = CharacterEncoder(nothing, path)(prompts)
    assert empty.x.tolist() == [[0] * 10] * 2
    assert empty.mask.all()


def test_unknown_characters_and_a_missing_list_are_told(path, tmp_path):
    with pytest.raises(UserError, match="'1' in 'a1'"):
        CharacterEncoder(speech, path)([Prompt(speech=(("", "a1"),))])
    with pytest.raises(UserError, match=r"vocab.txt from github.com/MCG-NJU"):
        CharacterEncoder(speech, str(tmp_path / "none.txt"))([Prompt()])


def test_published_rates_and_a_folder(codec, tmp_path):
    """transformers' defaults are config.json's token2wav_config.bigvgan_config of Qwen/Qwen2.5-Omni-7B."""
    with torch.device("meta"):
        whole = published.qwen_mel()
    assert (whole.sample_rate, whole.hop, whole.channels) == (24000, 240, 80)
    assert sum(tensor.numel() for tensor in whole.vocoder.state_dict().values()) == 115_443_504
    assert (published.qwen_mel.licence, published.qwen_mel.restricted) == ("Apache-2.0", False)
    codec.save(tmp_path)
    again = load_audio_codec(tmp_path)
    assert isinstance(again, MelCodec)
    latents = torch.randn(1, 80, 6)
    with torch.no_grad():
        assert torch.equal(again.decode(latents), codec.decode(latents))
