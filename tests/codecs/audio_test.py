import librosa
import pytest
import torch
from models import THIN_VAE, THIN_VOCODER

from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.mel import FLOOR, LogMel, filterbank, hz_to_mel, mel_to_hz
from phonofilm.recipes import pocket as pocket_codecs

pytestmark = pytest.mark.quick


@pytest.fixture
def codec():
    torch.manual_seed(0)
    return AudioCodec.build(THIN_VAE, THIN_VOCODER).eval().requires_grad_(False)


@pytest.fixture
def wave(generator):
    return torch.randn(2, 1, 8192, generator=generator) * 0.1


def test_filterbank_is_librosas():
    theirs = torch.from_numpy(librosa.filters.mel(sr=16000, n_fft=1024, n_mels=80, fmin=0, fmax=8000))
    torch.testing.assert_close(filterbank(16000, 1024, 80, 8000.0), theirs, atol=1e-7, rtol=1e-4)


def test_mel_scale_has_an_inverse():
    hz = torch.linspace(0, 8000, 50, dtype=torch.float64)
    torch.testing.assert_close(mel_to_hz(hz_to_mel(hz)), hz)


def test_log_mel_is_librosas(wave):
    ours = LogMel()(wave[:, 0])
    assert ours.shape == (2, 80, 8192 // 256)
    padded = torch.nn.functional.pad(wave[:1], (384, 384), mode="reflect")[0, 0].numpy()
    spectrum = abs(librosa.stft(padded, n_fft=1024, hop_length=256, center=False))
    theirs = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=80) @ spectrum
    torch.testing.assert_close(ours[0], torch.from_numpy(theirs).clamp_min(FLOOR).log10(), atol=1e-3, rtol=1e-3)


def test_log_mel_of_silence_is_finite_and_has_a_gradient():
    wave = torch.zeros(1, 2048, requires_grad=True)
    mel = LogMel()(wave)
    mel.sum().backward()
    assert mel.isfinite().all()
    assert wave.grad is not None
    assert wave.grad.isfinite().all()


def test_log_mel_equals_diffusers_front_end_in_another_base(codec, wave):
    theirs = codec.vae.mel_converter(wave[:, 0]) / torch.log(torch.tensor(10.0))
    torch.testing.assert_close(codec.listen(wave), theirs, atol=1e-3, rtol=1e-3)


def test_shapes_and_rates(codec, wave):
    assert (codec.sample_rate, codec.hop, codec.channels) == (16000, 512, 20)
    latents = codec.encode(wave)
    assert latents.shape == (2, 20, 16)
    assert codec.decode(latents).shape == (2, 1, 8192)


@pytest.mark.parametrize("samples", [7681, 8000, 8192])
def test_a_part_of_a_latent_counts_whole(codec, wave, samples):
    latents = codec.encode(wave[..., :samples])
    assert latents.shape[-1] == 16
    silent = torch.cat([wave[..., :samples], torch.zeros(2, 1, 8192 - samples)], dim=-1)
    assert torch.equal(latents, codec.encode(silent))


def test_many_channels_are_mixed(codec, wave):
    both = torch.cat([wave, -0.5 * wave], dim=1)
    torch.testing.assert_close(codec.encode(both), codec.encode(0.25 * wave))


def test_standardised_latents_decode_to_the_same_sound(codec, wave):
    raw = codec.encode(wave)
    sound = codec.decode(raw)
    codec.standardise(raw.mean(dim=(0, 2)), raw.std(dim=(0, 2)))
    latents = codec.encode(wave)
    torch.testing.assert_close(latents.mean(dim=(0, 2)), torch.zeros(20), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2)), torch.ones(20), atol=1e-4, rtol=0)
    torch.testing.assert_close(codec.decode(latents), sound, atol=1e-5, rtol=1e-3)


def test_normalised_mels_are_part_of_the_weights(codec, wave, tmp_path):
    codec.normalise(torch.full((80,), -2.0), torch.full((80,), 0.5))
    codec.standardise(torch.arange(20.0), torch.arange(20.0) + 1)
    codec.save(tmp_path)
    again = AudioCodec.load(tmp_path)
    latents = codec.encode(wave)
    assert torch.equal(again.encode(wave), latents)
    assert torch.equal(again.decode(latents), codec.decode(latents))


def test_half_precision_on_disk_loads_strictly(codec, wave, tmp_path):
    codec.save(tmp_path, dtype=torch.float16)
    again = AudioCodec.load(tmp_path)
    assert torch.equal(again.vae.mel_converter.mel_basis, codec.vae.mel_converter.mel_basis)
    assert (again.encode(wave) - codec.encode(wave)).abs().max() < 0.05
    (tmp_path / "audio_vae" / "latents.safetensors").unlink()
    with pytest.raises(ValueError, match=r"latents\.safetensors"):
        AudioCodec.load(tmp_path)


def test_networks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="64 samples per mel column, the VAE takes 256"):
        AudioCodec.build(THIN_VAE, {**THIN_VOCODER, "upsample_rates": (8, 8), "upsample_kernel_sizes": (16, 16)})


def test_too_short_a_sound_is_refused(codec):
    with pytest.raises(ValueError, match="512 samples"):
        codec.encode(torch.zeros(1, 1, 512))


def test_the_pocket_codec_has_the_promised_rate_and_size():
    with torch.device("meta"):
        codec = AudioCodec.build(pocket_codecs.AUDIO_VAE, pocket_codecs.VOCODER)
    assert codec.sample_rate / codec.hop == 31.25
    assert codec.channels == 20
    assert sum(p.numel() for p in codec.parameters()) < 6e6
