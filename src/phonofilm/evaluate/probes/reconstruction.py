"""How near a reconstruction is to the clip that it is made of: figures for codecs."""

from __future__ import annotations

import math
import warnings

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.probes.probe import AUDIO, LIMITS, VIDEO, Found, Measure, Probe, Unmeasured
from phonofilm.evaluate.readers.lips import SILENCE
from phonofilm.files.media import read_clip
from phonofilm.files.resample import resample
from phonofilm.types import Clip

BEST = 100.0
"""dB that identical pictures and sounds get, so that means stay finite."""
SPEECH_RATE = 16000


def _measure(name: str, title: str, better: str, unit: str, package: str = "") -> Measure:
    return Measure(
        reads=VIDEO if title.startswith("picture") else AUDIO,
        name=name,
        title=title,
        better=better,
        unit=unit,
        evaluator=package or "none",
        package=package,
        preparation="both cut to the shorter; sound mono" + (", at 16 kHz" if package else ""),
    )


PSNR = _measure("exact.recon_psnr", "picture against its reference", "up", "dB")
SSIM = _measure("exact.recon_ssim", "picture against its reference: SSIM of the luma, windows of 7", "up", "share")
SI_SDR = _measure("exact.recon_si_sdr", "sound against its reference; falls by 100 dB for 1 ms of delay", "up", "dB")
STFT = _measure("exact.recon_stft", "sound against its reference: mean |difference| of log spectra", "down", "dB")
PESQ = _measure("offline.pesq", "sound against its reference: PESQ, wide band", "up", "MOS, 1 to 4.64", "pesq")
STOI = _measure("offline.stoi", "sound against its reference: intelligibility", "up", "share", "pystoi")


def psnr(one: UInt8[Tensor, "T 3 H W"], two: UInt8[Tensor, "T 3 H W"]) -> float:
    """Peak signal-to-noise ratio over all pixels in dB, at most 100."""
    error = sum(float((a.float() - b.float()).square().mean()) for a, b in zip(one, two, strict=True)) / len(one)
    return min(BEST, 10 * math.log10(255**2 / error)) if error else BEST


def ssim(one: UInt8[Tensor, "T 3 H W"], two: UInt8[Tensor, "T 3 H W"]) -> float:
    """Structural similarity of the luma (Wang et al. 2004) with uniform windows of 7 pixels, mean over frames."""
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = []
    for a, b in zip(one, two, strict=True):
        x, y = ((luma * p.double()).sum(0, keepdim=True) for p in (a, b))
        mx, my = avg_pool2d(x, 7, 1), avg_pool2d(y, 7, 1)
        vx, vy = avg_pool2d(x * x, 7, 1) - mx * mx, avg_pool2d(y * y, 7, 1) - my * my
        vxy = avg_pool2d(x * y, 7, 1) - mx * my
        score = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
        found.append(float(score.mean()))
    return sum(found) / len(found)


def si_sdr(made: Float[Tensor, " N"], reference: Float[Tensor, " N"]) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), between -100 and 100."""
    made, reference = (w.double() - w.double().mean() for w in (made, reference))
    target = (made @ reference) / (reference @ reference).clamp(min=1e-20) * reference
    noise = made - target
    return max(-BEST, min(BEST, float(10 * torch.log10((target @ target + 1e-20) / (noise @ noise + 1e-20)))))


def stft_distance(made: Float[Tensor, " N"], reference: Float[Tensor, " N"]) -> float:
    """Mean absolute difference of log magnitudes in dB, windows of 512 and 2048, levels cut 80 dB below the loudest."""
    found = []
    for size in (512, 2048):
        window = torch.hann_window(size)
        spectra = [
            torch.stft(w.float(), size, size // 4, window=window, return_complex=True, pad_mode="constant").abs()
            for w in (made, reference)
        ]
        floor = 1e-4 * float(spectra[1].max()) + 1e-9
        levels = [20 * s.clamp(min=floor).log10() for s in spectra]
        found.append(float((levels[0] - levels[1]).abs().mean()))
    return sum(found) / len(found)


def _twin(entry: Entry) -> Clip:
    assert entry.reference is not None
    if not entry.reference.is_file():
        raise Unmeasured("no reference of that name")
    return read_clip(entry.reference, limits=LIMITS)


def _sounds(clip: Clip, twin: Clip, rate: int) -> tuple[Tensor, Tensor]:
    if not clip.audio.shape[-1] or not twin.audio.shape[-1]:
        raise Unmeasured("no sound")
    waves = [resample(c.audio.mean(0), c.sample_rate, rate) for c in (clip, twin)]
    length = min(len(w) for w in waves)
    return waves[0][:length], waves[1][:length]


def _silent(*waves: Float[Tensor, " N"]) -> bool:
    """Whether one of these sounds is silence."""
    return any(not len(wave) or float(wave.abs().max()) < SILENCE for wave in waves)


def _exact(entry: Entry, clip: Clip) -> Found:
    twin = _twin(entry)
    count = min(len(clip.video), len(twin.video))
    if clip.video.shape[1:] != twin.video.shape[1:] or abs(clip.fps - twin.fps) > 0.01:
        raise Unmeasured("picture of another size or frame rate than the reference's")
    one, two = clip.video[:count], twin.video[:count]
    values = {PSNR.name: (psnr(one, two), 1.0), SSIM.name: (ssim(one, two), 1.0)}
    if clip.audio.shape[-1] and twin.audio.shape[-1]:
        made, true = _sounds(clip, twin, twin.sample_rate)
        if not _silent(true):
            values[STFT.name] = (stft_distance(made, true), 1.0)
        if not _silent(made, true):  # no scale makes silence the reference
            values[SI_SDR.name] = (si_sdr(made, true), 1.0)
    return Found(values=values)


def _spoken(entry: Entry, clip: Clip) -> tuple[Tensor, Tensor]:
    waves = _sounds(clip, _twin(entry), SPEECH_RATE)
    if _silent(*waves):
        raise Unmeasured("silent")
    return waves


def _pesq(entry: Entry, clip: Clip) -> Found:
    made, true = _spoken(entry, clip)
    from pesq import pesq  # pyright: ignore[reportMissingImports]

    return Found(values={PESQ.name: (float(pesq(SPEECH_RATE, true.numpy(), made.numpy(), "wb")), 1.0)})


def _stoi(entry: Entry, clip: Clip) -> Found:
    made, true = _spoken(entry, clip)
    from pystoi import stoi  # pyright: ignore[reportMissingImports]

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            found = float(stoi(true.numpy(), made.numpy(), SPEECH_RATE))
        except RuntimeWarning as warning:  # too little is left for it; pystoi would answer 1e-5
            raise Unmeasured("less than 0.4 s of the reference is loud enough") from warning
    return Found(values={STOI.name: (found, 1.0)})


def _wants(entry: Entry) -> bool:
    return entry.reference is not None


RECONSTRUCTION = Probe("reconstruction", (PSNR, SSIM, SI_SDR, STFT), _wants, _exact)
PESQ_PROBE = Probe("pesq", (PESQ,), _wants, _pesq, ("pesq",), "pip install 'phonofilm[offline]'")
STOI_PROBE = Probe("stoi", (STOI,), _wants, _stoi, ("pystoi",), "pip install 'phonofilm[offline]'")
