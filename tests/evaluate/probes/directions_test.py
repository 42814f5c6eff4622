"""Every measure of the exact and offline tiers moves under every damage as docs/guides/evaluate.md says.

The table there is what is tested: a measure without a row fails, and so does one that moves otherwise, or has a number
where the table has none. A cell with ~ is left to chance. What needs a package of its own runs where that is installed.
"""

import math
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from extras import needed

needed("espeakng_loader", "librosa", "scipy", "pocketsphinx", "jiwer")

from phonofilm.evaluate.cases import controls
from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.cases.truth import truth_of
from phonofilm.evaluate.probes import wording
from phonofilm.evaluate.probes.factors import FACTOR_FRECHET, FACTORS
from phonofilm.evaluate.probes.families import PROBES
from phonofilm.evaluate.probes.probe import Examined, Unmeasured
from phonofilm.evaluate.probes.turns import hear_turns
from phonofilm.files.media import read_clip, write_clip
from phonofilm.puppets.corpus import truth
from phonofilm.puppets.performance import perform
from phonofilm.puppets.script import write_script
from phonofilm.puppets.stage import draw
from phonofilm.types import Clip

FPS = 24.0
SEEDS = {"speaker": (2, 1), "rain": (0, 1), "ball": (0, 1), "keyboard": (0, 1), "dialogue": (0, 2)}
"""The clip that is harmed, and the one whose sound or picture is swapped in: of speakers a low voice for a high one."""
STAGES = {"picture": "rain", "ball": "ball", "keys": "keyboard", "turns": "dialogue", "turn_voices": "dialogue"}
"""By probe; all others are about a speaker."""
SIZES = {"dialogue": 128}
"""Pixels: of two heads in 64 the mouths are too small to be read."""
DAMAGE = {
    "sound 3 frames late": lambda clip, other: controls.delay_audio(clip, 3 / FPS),
    "another's sound": controls.swap_audio,
    "another's picture": lambda clip, other: replace(clip, video=other.video[: len(clip.video)]),
    "muted": lambda clip, other: controls.silence(clip),
    "frozen": lambda clip, other: controls.freeze(clip),
    "noise on the picture": lambda clip, other: controls.add_noise(clip, decibels=-math.inf),
    "noise on the sound": lambda clip, other: controls.add_noise(clip, pixels=0.0, decibels=10.0),
    "noise for the sound": lambda clip, other: replace(clip, audio=white(clip.audio)),
}
PAGE = Path(__file__).parents[3] / "docs" / "guides" / "evaluate.md"


def white(audio):
    return 0.1 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))


def table():
    """The rows of the docs by measure: what each damage does to it."""
    found = {}
    text = PAGE.read_text().split("## What damage does")[1].split("\n## ")[0]
    header, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]
    assert header[1:] == list(DAMAGE)
    for names, *cells in rows[1:]:
        found |= {name: dict(zip(header[1:], cells, strict=True)) for name in re.findall("`(.*?)`", names)}
    return found


@lru_cache
def puppet(stage, seed=None):
    """What is known about a clip, and the clip, small."""
    seed = SEEDS[stage][0] if seed is None else seed
    performance = perform(write_script(seed, split="val", stage=stage))
    drawing = draw([performance], size=SIZES.get(stage, 64))
    clip = Clip(video=drawing.video[0], audio=performance.wave, fps=FPS, sample_rate=16000)
    known = truth_of(truth(performance, drawing.mouth[0]))
    return Entry(name=stage, path=Path("none"), truth=known, lines=known.said, others=("good evening to you",)), clip


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The speaker's clip as a file, which reconstructions are compared with."""
    path = tmp_path_factory.mktemp("reference") / "speaker.mp4"
    write_clip(path, puppet("speaker")[1])
    return path


def read(name, entry, clip):
    """A probe's values of one clip, those that are summed as shares; none where it refuses."""
    probe = next(p for p in PROBES if p.name == name)
    try:
        found = probe.read(entry, Examined.of(clip)).values
    except Unmeasured:
        return {}
    ratios = {m.name for m in probe.measures if m.how == "ratio"}
    return {key: value / (weight if key in ratios else 1) for key, (value, weight) in found.items()}


def read_set(damage):
    """The Frechet distance of two speakers who are each damaged, or swap with each other."""
    both = [puppet("speaker", seed) for seed in SEEDS["speaker"]]
    try:
        harmed = [Examined.of(damage(clip, both[1 - k][1])) for k, (_, clip) in enumerate(both)]
        found = [FACTORS.read(entry, clip).vectors for (entry, _), clip in zip(both, harmed, strict=True)]
    except Unmeasured:
        return {}
    vectors = {name: [f[name] for f in found] for name in FACTOR_FRECHET.vectors}
    return {FACTOR_FRECHET.measure.name: FACTOR_FRECHET.prepare([], vectors)(range(2))}


def move(measure, before, after):
    """What the table has to say about a measure that was one number and is another, or none."""
    if after is None:
        return "absent"
    least = {"ms": 10.0, "dB": 0.5, "MOS": 0.1}.get(re.split("[, ]", measure.unit)[0], 0.01)
    return "=" if abs(after - before) < least else "↑" if after > before else "↓"


def check(measures, read_damaged):
    own, rows, wrong = read_damaged(lambda clip, other: clip), table(), []
    assert set(own) == {m.name for m in measures}
    for damage, harm in DAMAGE.items():
        found = read_damaged(harm)
        for m in measures:
            seen, told = move(m, own[m.name], found.get(m.name)), rows[m.name][damage]
            if told not in (seen, "~"):
                wrong.append(f"{m.name}, {damage}: {own[m.name]} becomes {found.get(m.name)}, the table says {told}")
    assert wrong == []


MEASURED = [probe for probe in PROBES if probe.measures and not probe.weights]
BESIDE = ("reconstruction", "pesq", "stoi")
"""Probes that compare with a reference."""


def test_every_measure_has_a_row():
    assert set(table()) == {m.name for probe in MEASURED for m in probe.measures} | {FACTOR_FRECHET.measure.name}


@pytest.mark.parametrize("probe", MEASURED, ids=lambda probe: probe.name)
def test_damage_does_what_the_table_says(probe, reference):
    for module in probe.modules:
        pytest.importorskip(module)
    stage = STAGES.get(probe.name, "speaker")
    (entry, clip), other = puppet(stage), puppet(stage, SEEDS[stage][1])[1]
    if probe.name in BESIDE:
        entry, clip = replace(entry, reference=reference), read_clip(reference)
    check(probe.measures, lambda harm: read(probe.name, entry, harm(clip, other)))


def test_damage_to_a_set():
    check([FACTOR_FRECHET.measure], read_set)


def test_a_puppet_that_turns_into_another_drifts():
    entry, clip = puppet("speaker")
    other = puppet("speaker", SEEDS["speaker"][1])[1].video
    half = len(clip.video) // 2
    own = read("identity", entry, clip)
    found = read("identity", entry, replace(clip, video=torch.cat([clip.video[:half], other[half : len(clip.video)]])))
    assert found["exact.identity_drift"] > own["exact.identity_drift"] + 20
    assert found["exact.identity_kept"] < own["exact.identity_kept"]


def test_one_mouth_takes_nothing_over_and_a_turn_without_pitch_has_no_height():
    entry, clip = puppet("dialogue")
    half = clip.video.shape[-1] // 2
    video = torch.cat([clip.video[..., :half], clip.video[:1, ..., half:].expand_as(clip.video[..., half:])], dim=-1)
    found = read("turns", entry, replace(clip, video=video))
    assert found.keys() == {"exact.turns", "exact.turn_voices"}
    assert found["exact.turns"] < 0.7
    turns = hear_turns(clip.audio, 16000)
    start, end = round(turns.start_of_second * 16000), round(turns.end * 16000)
    audio = clip.audio.clone()
    audio[:, start:end] = white(audio[:, start:end])
    found = read("turns", entry, replace(clip, audio=audio))
    assert found.keys() == {"exact.turns", "exact.turn_switch_ms"}


@pytest.mark.parametrize("frames", [-2, 3])
@pytest.mark.parametrize(
    ("name", "stage", "metric"),
    [("lips", "speaker", "exact.lip_offset_ms"), ("ball", "ball", "exact.event_offset_ms")],
)
def test_a_shift_by_some_frames_is_the_offset(name, stage, metric, frames):
    entry, clip = puppet(stage)
    own = read(name, entry, clip)[metric]
    found = read(name, entry, controls.delay_audio(clip, frames / FPS))[metric]
    assert found - own == pytest.approx(1000 * frames / FPS, abs=12)


def test_words_are_found_where_the_truth_has_them():
    entry, clip = puppet("speaker")
    assert read("word_times", entry, clip)["offline.word_time_err_ms"] < 60
    shifted = read("word_times", entry, controls.delay_audio(clip, 3 / FPS))["offline.word_time_err_ms"]
    assert shifted == pytest.approx(125, abs=40)
    said = " ".join(word for word, _, _ in entry.truth.words)
    found = wording.align_words(clip.audio, said)
    assert [word for word, _, _ in found] == said.split()
    assert all(start < end for _, start, end in found)
