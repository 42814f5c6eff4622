"""Figures of reconstructions and of sets: closed forms, and the direction of every one."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from phonofilm.evaluate.cases import controls
from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.folder import Sources, evaluate_folder
from phonofilm.evaluate.probes import quality, reconstruction
from phonofilm.evaluate.probes.probe import Unmeasured
from phonofilm.files.media import read_clip, write_clip
from phonofilm.types import Clip


def picture(seed=0):
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    frames = [128 + 100 * torch.sin(x / 4 + t + seed) * torch.cos(y / 5) for t in range(6)]
    return torch.stack(frames)[:, None].expand(-1, 3, -1, -1).to(torch.uint8)


def sound(seed=0):
    return torch.randn(8000, generator=torch.Generator().manual_seed(seed)) * 0.1


def test_psnr_by_hand():
    one = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    assert reconstruction.psnr(one, one) == 100
    assert reconstruction.psnr(one, one + 51) == pytest.approx(20 * math.log10(5))


def test_ssim():
    own = picture()
    noisy = (
        (own + 30 * torch.randn(own.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 255).to(torch.uint8)
    )
    assert reconstruction.ssim(own, own) == pytest.approx(1.0)
    assert 0 < reconstruction.ssim(noisy, own) < 0.9
    assert reconstruction.ssim(255 - own, own) < 0


def test_si_sdr_by_hand():
    true = torch.tensor([1.0, -1.0, 1.0, -1.0])
    apart = torch.tensor([1.0, 1.0, -1.0, -1.0])  # at right angles, of a tenth of the amplitude: 20 dB
    assert reconstruction.si_sdr(3 * (true + 0.1 * apart), true) == pytest.approx(20)
    assert reconstruction.si_sdr(true, true) == 100
    wave = sound()
    assert reconstruction.si_sdr(wave.roll(16), wave) < 0  # 1 ms late: the trap that its title names


def test_stft_distance():
    wave = sound()
    assert reconstruction.stft_distance(wave, wave) == 0
    assert reconstruction.stft_distance(wave / 10, wave) == pytest.approx(20, abs=0.5)
    assert reconstruction.stft_distance(wave.roll(16), wave) < reconstruction.stft_distance(sound(1), wave)


def test_a_folder_against_its_reference(tmp_path):
    for name, seed in (("same", 0), ("other", 2)):
        audio = sound()[None]
        reference = Clip(video=picture(), audio=audio, fps=12.0, sample_rate=16000)
        made = Clip(video=picture(seed), audio=audio if not seed else sound(1)[None], fps=12.0, sample_rate=16000)
        write_clip(tmp_path / "true" / f"{name}.mp4", reference)
        write_clip(tmp_path / "made" / f"{name}.mp4", made)
    write_clip(tmp_path / "made" / "extra.mp4", made)
    sources = Sources(clips=tmp_path / "made", reference=tmp_path / "true")
    report = evaluate_folder(sources, tmp_path / "report", tiers=["exact"], num_controls=0, workers=1)
    found = {o.name: o for o in report.outcomes}
    for metric, sign in (("psnr", 1), ("ssim", 1), ("si_sdr", 1), ("stft", -1)):
        same, other = (found[name].values[f"exact.recon_{metric}"][0] for name in ("same", "other"))
        assert sign * same > sign * other
    assert report.figure("exact.recon_psnr").used == 2
    assert found["extra"].missed == {"reconstruction": "no reference of that name"}


def test_another_size_is_refused(tmp_path):
    small, clip = (
        Clip(video=picture()[..., :size, :size], audio=sound()[None], fps=12.0, sample_rate=16000) for size in (16, 32)
    )
    write_clip(tmp_path / "a.mp4", small)
    entry = Entry(name="a", path=tmp_path / "a.mp4", reference=tmp_path / "a.mp4")
    with pytest.raises(Unmeasured, match="another size"):
        reconstruction.RECONSTRUCTION.read(entry, clip)


@pytest.fixture
def beside(tmp_path):
    """A clip that is known to be its own reference."""
    write_clip(tmp_path / "a.mp4", Clip(video=picture(), audio=sound()[None], fps=12.0, sample_rate=16000))
    return Entry(name="a", path=tmp_path / "a.mp4", reference=tmp_path / "a.mp4"), read_clip(tmp_path / "a.mp4")


def test_silence_has_no_marks_of_quality(beside):
    entry, clip = beside
    muted = controls.silence(clip)
    probes = (quality.DNSMOS, quality.SPEAKER, quality.MOUTH, reconstruction.PESQ_PROBE, reconstruction.STOI_PROBE)
    for probe in probes:  # refused before any of their packages is asked for
        with pytest.raises(Unmeasured, match="silent"):
            probe.read(entry, muted)
    kept = {"exact.recon_psnr", "exact.recon_ssim"}
    assert reconstruction.RECONSTRUCTION.read(entry, muted).values.keys() == kept | {"exact.recon_stft"}
    write_clip(entry.reference, controls.silence(clip))
    assert reconstruction.RECONSTRUCTION.read(entry, clip).values.keys() == kept


def test_intelligibility_falls_with_noise_and_of_too_little_there_is_none(beside):
    pytest.importorskip("pystoi")
    entry, clip = beside
    own, noisy = (
        reconstruction.STOI_PROBE.read(entry, c).values["offline.stoi"][0]
        for c in (clip, controls.add_noise(clip, decibels=0.0))
    )
    assert own > 0.99 > noisy + 0.1
    write_clip(entry.reference, replace(clip, audio=clip.audio[:, :4000]))
    with pytest.raises(Unmeasured, match="0.4 s"):
        reconstruction.STOI_PROBE.read(entry, clip)


def test_equal_error_rate_by_hand():
    assert quality.equal_error_rate([0.8, 0.9], [0.1, 0.2]) == 0
    assert quality.equal_error_rate([0.1, 0.2], [0.8, 0.9]) == 1
    assert quality.equal_error_rate([0.4, 0.6, 0.8, 0.9], [0.1, 0.2, 0.3, 0.5]) == 0.25
    assert math.isnan(quality.equal_error_rate([], [0.5]))


def test_speakers_that_sound_alike_are_not_told_apart():
    rng = np.random.default_rng(0)
    voices = rng.standard_normal((3, 16))
    labels = [(float(k // 4),) for k in range(12)]
    for noise, low, high in ((0.1, 0.0, 0.01), (20.0, 0.3, 0.7)):
        vectors = [tuple(voices[k // 4] + noise * rng.standard_normal(16)) for k in range(12)]
        figure = quality.SPEAKER_EER.prepare([], {"speaker.vector": vectors, "speaker.label": labels})
        assert low <= figure(range(12)) <= high
        assert low <= figure([*range(12), 0, 0]) <= high  # drawn twice, a clip does not pair with itself


def test_mouths_that_follow_their_sound_stand_out():
    rng = np.random.default_rng(0)
    sounds = [tuple(rng.standard_normal(50)) for _ in range(8)]
    mouths = [tuple(0.5 * np.array(s) + rng.standard_normal(50)) for s in sounds]
    follow = quality.MOUTH_LOUDNESS.prepare([], {"mouth.opening": mouths, "mouth.loudness": sounds})
    swapped = quality.MOUTH_LOUDNESS.prepare([], {"mouth.opening": mouths[1:] + mouths[:1], "mouth.loudness": sounds})
    assert follow(range(8)) > 3
    assert swapped(range(8)) < 1
    assert math.isnan(follow([0, 1]))
