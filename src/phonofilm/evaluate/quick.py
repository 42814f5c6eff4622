"""Validation in training: a few held-out prompts of the val split, generated and scored in memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from phonofilm.checkpoints.folder import Checkpoint, Training
from phonofilm.codecs.loading import load_audio_codec, load_video_codec
from phonofilm.errors import UserError
from phonofilm.evaluate.cases.clips import request_of
from phonofilm.evaluate.cases.entries import entry_of
from phonofilm.evaluate.cases.heldout import Case, held_out
from phonofilm.evaluate.engine import Job, faults, measure_clip
from phonofilm.evaluate.report.figures import figures
from phonofilm.evaluate.report.metrics import METRICS
from phonofilm.generation.pipeline import Pipeline
from phonofilm.network.backbone import Backbone
from phonofilm.recipes.experiment import Experiment
from phonofilm.train.loop import Hook
from phonofilm.types import Clip

COUNTS = {"grid": 10, "talk": 4, "ball": 2}
"""One GRID sentence for each voice, a few conversational ones, and balls."""
PACKAGES = {"exact": ("scipy", "librosa", "espeakng_loader"), "offline": ("pocketsphinx", "jiwer")}
"""What the figures of a tier need, and phonofilm[evaluate] brings."""
NAMES = {
    "offline.wer_grid": "eval_clips/wer_grid",
    "offline.wer_talk": "eval_clips/wer_talk",
    "exact.lip_corr": "eval_clips/lip_corr",
    "exact.lip_offset_within_42ms": "eval_clips/lip_in_time",
    "exact.looks": "eval_clips/looks",
    "exact.voice_class": "eval_clips/voice",
    "exact.event_f1@80ms": "eval_clips/event_f1",
}
"""Metrics and what they are called in a training log."""
WRONG = "eval_clips/wrong"
"""Mean of what is missing to perfect over all figures of these clips, 0 best: what the best checkpoint is kept by."""


def validation_cases(counts: Mapping[str, int] = COUNTS) -> tuple[Case, ...]:
    """Return prompts of the val split, never of the test split; always the same."""
    return held_out("val", counts)


def counts_of(clips: int) -> dict[str, int]:
    """Prompts of each group for so many clips: an eighth balls, a quarter conversation, the rest GRID sentences."""
    counts = {"grid": clips - clips // 4 - clips // 8, "talk": clips // 4, "ball": clips // 8}
    return {group: count for group, count in counts.items() if count}


def tiers_here() -> tuple[str, ...]:
    """Tiers that can be measured with what is installed; says on stderr what is missing for words.

    Raises ``UserError`` where not even the exact tier can.
    """
    absent = {tier: [name for name in names if find_spec(name) is None] for tier, names in PACKAGES.items()}
    brings = "pip install 'phonofilm[evaluate]' brings what is missing"
    if absent["exact"]:
        raise UserError(f"scoring clips needs {', '.join(absent['exact'])}; {brings}")
    if absent["offline"]:
        print(f"scoring leaves out words, without {', '.join(absent['offline'])}; {brings}", file=sys.stderr)
    return tuple(tier for tier, names in absent.items() if not names)


def score_clips(
    cases: Sequence[Case], clips: Sequence[Clip], *, tiers: Sequence[str] = ("exact", "offline")
) -> dict[str, float]:
    """Score clips of these cases, one figure per metric of these tiers, and ``WRONG``.

    About 0.3 s a clip. A clip that cannot be measured counts as wrong; an evaluator that fails raises ``UserError``.
    """
    metrics = [metric for metric in METRICS if metric.name in NAMES and metric.tier in tiers]
    entries = {case.id: entry_of(case, Path()) for case in cases}
    outcomes = []
    for case, clip in zip(cases, clips, strict=True):
        probes = tuple(dict.fromkeys(metric.probe.name for metric in metrics if metric.about(entries[case.id])))
        outcomes += measure_clip(Job(entry=entries[case.id], probes=probes), clip)
    for probe, (why, _) in faults(outcomes).items():
        raise UserError(f"scoring clips: the evaluator {probe} failed: {why}")
    found, wrong = {}, []
    better = {metric.name: metric.better for metric in metrics}
    for one in figures(metrics, entries, outcomes, charged=True):
        if one.value is not None:
            found[NAMES[one.metric]] = one.value
            wrong.append(min(1.0, one.value if better[one.metric] == "down" else 1 - one.value))
    return found | {WRONG: sum(wrong) / len(wrong)}


def clip_scoring(experiment: Experiment, codecs: Path, *, counts: Mapping[str, int] = COUNTS, batch: int = 4) -> Hook:
    """Make a hook for training that generates and scores clips of the val split with the weights of that step.

    ``codecs`` is a folder with vae, audio_vae and vocoder. Keep the best checkpoint by ``WRONG``. Raises ``UserError``
    at once where packages are missing for it; without PocketSphinx the figures of words are absent.
    """
    tiers, cases = tiers_here(), validation_cases(counts)
    requests = [request_of(case) for case in cases]
    video_codec, audio_codec = load_video_codec(codecs), load_audio_codec(codecs)

    def hook(step: int, backbone: Backbone) -> Mapping[str, float]:
        device = next(backbone.parameters()).device
        checkpoint = Checkpoint(
            experiment=experiment,
            backbone=backbone,
            video_codec=video_codec.to(device),
            audio_codec=audio_codec.to(device),
            training=Training(),
            hash=f"step {step}",
        )
        pipeline = Pipeline(name="training", checkpoint=checkpoint, device=str(device))
        clips: list[Clip] = []
        for start in range(0, len(requests), batch):
            clips += pipeline.generate_many(requests[start : start + batch])
        return score_clips(cases, clips, tiers=tiers)

    return hook
