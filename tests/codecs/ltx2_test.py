"""LTX-2's sound through diffusers' classes: shapes, rates, statistics, and what its mels hear."""

import math

import pytest
import torch
from paper_small import LTX2, LTX2_VOCODER, ltx2

from phonofilm.codecs.loading import load_audio_codec
from phonofilm.codecs.ltx2_audio import FLOOR, LTX2AudioCodec
from phonofilm.codecs.mel import LogMel
from phonofilm.recipes import published

pytestmark = pytest.mark.quick


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return ltx2().eval().requires_grad_(False)


def tone(rate, hertz=1000.0, samples=9600):
    return (2 * math.pi * hertz * torch.arange(samples * rate // 16000) / rate).sin()[None, None]


def test_published_size_and_rates():
    """config.json of Lightricks/LTX-2 (audio_vae: 16 kHz, hop 160, 64 mels; vocoder: 24 kHz); LTX-2.3 makes 48 kHz."""
    with torch.device("meta"):
        newer, older = published.ltx2_audio(), LTX2AudioCodec.build({}, "LTX2Vocoder", {})
    assert (newer.sample_rate, newer.hop, newer.channels) == (48000, 1920, 128)
    assert (older.sample_rate, older.hop, older.channels) == (24000, 960, 128)
    assert newer.sample_rate / newer.hop == older.sample_rate / older.hop == 25
    assert sum(p.numel() for p in newer.vae.parameters()) == 53_248_146
    assert sum(p.numel() for p in older.vocoder.parameters()) == 55_592_802
    assert (published.ltx2_audio.restricted, published.ltx2_audio.licence) == (True, "LicenseRef-LTX-2-Community")


def test_shapes(codec):
    latents = codec.encode(torch.randn(2, 1, 4 * 1920 - 5) / 10)
    assert latents.shape == (2, 16, 4)
    assert codec.decode(latents).shape == (2, 2, 4 * 1920)
    assert codec.decode(latents * 100).abs().max() <= 1
    both = torch.randn(1, 2, 3840) / 10
    assert torch.equal(codec.encode(both[:, :1]), codec.encode(both[:, :1].expand(-1, 2, -1)))
    assert not torch.equal(codec.encode(both), codec.encode(both.flip(1)))
    with pytest.raises(ValueError, match="more than 1920"):
        codec.encode(torch.zeros(1, 1, 1920))


def test_mels_are_those_of_the_sound_at_16_khz(codec):
    heard = codec.listen(tone(48000).expand(-1, 2, -1))
    front = LogMel(sample_rate=16000, n_fft=1024, hop=160, bins=64)
    wanted = (front(tone(16000)[:, 0]) * math.log(10)).mT
    loud = wanted[0] > math.log(1e-2)  # below, the window's own skirts differ by what lies above 8 kHz
    assert heard.shape == (1, 2, 60, 64)
    assert loud[8:-8].any()
    torch.testing.assert_close(heard[0, 0, 8:-8][loud[8:-8]], wanted[0, 8:-8][loud[8:-8]], atol=2e-3, rtol=0)
    assert codec.listen(torch.zeros(1, 2, 1920)).max().item() == pytest.approx(math.log(FLOOR))


def test_statistics_are_the_vaes(codec, tmp_path):
    wave, latents = torch.randn(1, 2, 3 * 1920) / 10, torch.randn(1, 16, 3)
    raw, sound = codec.encode(wave), codec.decode(latents)
    codec.save(tmp_path)
    other = load_audio_codec(tmp_path)
    assert isinstance(other, LTX2AudioCodec)
    assert torch.equal(other.encode(wave), raw)
    assert torch.equal(other.decode(latents), sound)
    other.vae.latents_mean.copy_(torch.arange(16.0))
    other.vae.latents_std.fill_(2.0)
    torch.testing.assert_close(other.encode(wave), (raw - torch.arange(16.0).view(1, -1, 1)) / 2)
    torch.testing.assert_close(other.decode((latents - torch.arange(16.0).view(1, -1, 1)) / 2), sound)


def test_a_token_holds_the_rows_of_one_channel_after_another():
    """As diffusers' own pipeline packs them."""
    from diffusers.pipelines.ltx2.pipeline_ltx2 import LTX2Pipeline

    latents = torch.arange(2 * 3 * 4.0).view(1, 2, 3, 4)
    assert torch.equal(LTX2Pipeline._pack_audio_latents(latents), latents.transpose(2, 3).flatten(1, 2).mT)


def test_networks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="unknown vocoder 'BigVGAN'; accepted: LTX2Vocoder, LTX2VocoderWithBWE"):
        LTX2AudioCodec.build(LTX2, "BigVGAN", LTX2_VOCODER)
    with pytest.raises(ValueError, match="32 channels, its statistics another"):
        LTX2AudioCodec.build(LTX2 | {"latent_channels": 2}, "LTX2VocoderWithBWE", LTX2_VOCODER)
