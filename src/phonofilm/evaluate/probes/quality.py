"""Figures of other people's small models that come in wheels: DNSMOS, speakers, mouths of real faces.

None of them is a dependency: what is missing says which package to install, and its figure is absent.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.probes.probe import AUDIO, Found, Measure, Pool, Probe, Unmeasured
from phonofilm.evaluate.readers.lips import SILENCE
from phonofilm.files.resample import resample
from phonofilm.types import Clip

RATE = 16000
PERMUTATIONS = 500
MOUTH_FPS = 25


def _dnsmos(name: str, title: str) -> Measure:
    return Measure(
        name=name,
        title=f"{title}; music and effects are out of its domain",
        better="up",
        unit="MOS",
        reads=AUDIO,
        evaluator="speechmos, DNSMOS",
        package="speechmos",
        preparation="16 kHz mono, repeated until 9.01 s are full",
    )


P808 = _dnsmos("offline.dnsmos_p808", "quality of speech as P.808 asks for it")
OVERALL = _dnsmos("offline.dnsmos_ovrl", "quality of speech over all, P.835")
EER = Measure(
    name="offline.spk_eer",
    title="speakers told apart by pairs: equal-error rate",
    better="down",
    unit="share",
    evaluator="Resemblyzer, cosine of 256 numbers",
    package="Resemblyzer",
    preparation="16 kHz mono, Resemblyzer's own trimming",
)
MOUTH_Z = Measure(
    name="offline.mouth_loudness_z",
    title="mouths of real faces move with their own sound more than with others'",
    better="up",
    unit=f"z over {PERMUTATIONS} permutations",
    evaluator="mediapipe 0.10.21 face mesh, gap of the inner lips over the distance of the eyes",
    package="mediapipe",
    preparation=f"one face, {MOUTH_FPS} per second, against log RMS at no lag",
)


def _wave(clip: Clip) -> np.ndarray:
    if clip.audio.shape[-1] == 0:
        raise Unmeasured("no sound")
    wave = resample(clip.audio.mean(0), clip.sample_rate, RATE).clamp(-1, 1)
    if wave.abs().amax() < SILENCE:  # DNSMOS would still give it 1.8 to 2.2
        raise Unmeasured("silent")
    return wave.numpy()


def _read_dnsmos(entry: Entry, clip: Clip) -> Found:
    del entry
    wave = _wave(clip)
    from speechmos import dnsmos  # pyright: ignore[reportMissingImports]

    found: Any = dnsmos.run(wave, sr=RATE)
    return Found(values={P808.name: (float(found["p808_mos"]), 1.0), OVERALL.name: (float(found["ovrl_mos"]), 1.0)})


def _read_speaker(entry: Entry, clip: Clip) -> Found:
    wave = _wave(clip)
    from resemblyzer import VoiceEncoder, preprocess_wav  # pyright: ignore[reportMissingImports]

    wave = preprocess_wav(wave, source_sr=RATE)
    if len(wave) < RATE // 2:
        raise Unmeasured("less than 0.5 s of speech is left")
    vector = VoiceEncoder("cpu", verbose=False).embed_utterance(wave)
    label = float(zlib.crc32(entry.speaker.encode()) % 1_000_003)  # a name as a number that JSON keeps
    return Found(vectors={"speaker.vector": tuple(vector.tolist()), "speaker.label": (label,)})


def equal_error_rate(same: Sequence[float], other: Sequence[float]) -> float:
    """Where as many pairs of one speaker fall below a threshold as pairs of two speakers reach it. NaN without both."""
    if not len(same) or not len(other):
        return float("nan")
    yes, no = np.sort(same), np.sort(other)
    cuts = np.unique(np.concatenate([yes, no, [np.inf]]))
    missed = np.searchsorted(yes, cuts, side="left") / len(yes)
    false = 1 - np.searchsorted(no, cuts, side="left") / len(no)
    place = int(np.abs(missed - false).argmin())
    return float((missed[place] + false[place]) / 2)


def _prepare_eer(
    names: Sequence[str], vectors: Mapping[str, Sequence[tuple[float, ...]]]
) -> Callable[[Sequence[int]], float]:
    del names
    units = np.array(vectors["speaker.vector"])
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    alike = units @ units.T
    labels = np.array(vectors["speaker.label"])[:, 0]

    def figure(indices: Sequence[int]) -> float:
        some = sorted(set(indices))  # a clip drawn twice would pair with itself
        left, right = np.triu_indices(len(some), k=1)
        one, two = np.array(some)[left], np.array(some)[right]
        same = labels[one] == labels[two]
        return equal_error_rate(alike[one, two][same].tolist(), alike[one, two][~same].tolist())

    return figure


def _read_mouth(entry: Entry, clip: Clip) -> Found:
    del entry
    wave = _wave(clip)
    import mediapipe  # pyright: ignore[reportMissingImports]

    count = round(clip.seconds * MOUTH_FPS)
    picks = np.minimum(((np.arange(count) + 0.5) / MOUTH_FPS * clip.fps).astype(int), len(clip.video) - 1)
    opening = []
    with mediapipe.solutions.face_mesh.FaceMesh(refine_landmarks=True, max_num_faces=1) as mesh:
        for pick in picks:
            found = mesh.process(clip.video[pick].permute(1, 2, 0).contiguous().numpy()).multi_face_landmarks
            points = np.array([[p.x, p.y] for p in found[0].landmark]) if found else None
            opening.append(np.nan if points is None else _gap(points, clip.video.shape[-1] / clip.video.shape[-2]))
    known = np.flatnonzero(np.isfinite(opening))
    if len(known) < count / 2:
        raise Unmeasured(f"a face in {len(known)} of {count} pixel frames only")
    filled = np.interp(np.arange(count), known, np.array(opening)[known])
    hop = RATE // MOUTH_FPS
    power = [float((wave[k * hop : (k + 1) * hop] ** 2).mean()) if k * hop < len(wave) else 0.0 for k in range(count)]
    loudness = 10 * np.log10(np.maximum(power, 1e-6))
    return Found(vectors={"mouth.opening": tuple(filled.tolist()), "mouth.loudness": tuple(loudness.tolist())})


def _gap(points: Float[np.ndarray, "P 2"], aspect: float) -> float:
    """Inner lips apart (landmarks 13 and 14) over outer corners of the eyes apart (33 and 263)."""
    scaled = points * [aspect, 1.0]
    eyes = np.linalg.norm(scaled[33] - scaled[263])
    return float(np.linalg.norm(scaled[13] - scaled[14]) / eyes) if eyes > 0 else float("nan")


def _prepare_mouth(
    names: Sequence[str], vectors: Mapping[str, Sequence[tuple[float, ...]]]
) -> Callable[[Sequence[int]], float]:
    del names
    mouths, sounds = (vectors[name] for name in ("mouth.opening", "mouth.loudness"))
    table = np.array([[_correlation(m, s) for s in sounds] for m in mouths])

    def figure(indices: Sequence[int]) -> float:
        some = np.array(sorted(set(indices)))
        if len(some) < 3:
            return float("nan")
        part = table[np.ix_(some, some)]
        rng = np.random.default_rng(0)
        drawn = [part[np.arange(len(some)), rng.permutation(len(some))].mean() for _ in range(PERMUTATIONS)]
        spread = float(np.std(drawn))
        return (float(np.diag(part).mean()) - float(np.mean(drawn))) / spread if spread else float("nan")

    return figure


def _correlation(one: Sequence[float], two: Sequence[float]) -> float:
    size = min(len(one), len(two))
    a, b = (np.array(v[:size]) - np.mean(v[:size]) for v in (one, two))
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / scale) if scale > 1e-12 else 0.0


def _spoken(entry: Entry) -> bool:
    """Whether somebody speaks, as far as is known."""
    return bool(entry.lines) or entry.truth is None


def _real(entry: Entry) -> bool:
    """Whether the clip may show a real face: a puppet has none that a face mesh knows."""
    return entry.truth is None


DNSMOS = Probe(
    "dnsmos",
    (P808, OVERALL),
    _spoken,
    _read_dnsmos,
    ("speechmos", "onnxruntime", "librosa", "requests"),
    "pip install 'phonofilm[offline]'",
)
SPEAKER = Probe(
    "speaker",
    (),
    lambda entry: bool(entry.speaker),
    _read_speaker,
    ("resemblyzer",),
    "pip install Resemblyzer 'setuptools<81'",
)
MOUTH = Probe("mouth", (), _real, _read_mouth, ("mediapipe",), "pip install mediapipe==0.10.21")
SPEAKER_EER = Pool(EER, ("speaker.vector", "speaker.label"), _prepare_eer)
MOUTH_LOUDNESS = Pool(MOUTH_Z, ("mouth.opening", "mouth.loudness"), _prepare_mouth)
