"""A glance at a model in training: a few held-out prompts of the val split, generated and scored in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from phonofilm.backbone import Backbone
from phonofilm.codecs.loading import load_audio_codec, load_video_codec
from phonofilm.evaluate.clips import request_of
from phonofilm.evaluate.metrics import METRICS, measure
from phonofilm.evaluate.observe import observe
from phonofilm.evaluate.prompts import Case, held_out
from phonofilm.experiment import Experiment
from phonofilm.generate import Film
from phonofilm.train.loop import Hook
from phonofilm.types import Clip
from phonofilm.weights import Checkpoint, Training

COUNTS = {"grid": 10, "talk": 4, "ball": 2}
"""One GRID sentence for each voice, a few conversational ones, and balls."""
NAMES = {
    "offline.wer_grid": "glance/wer_grid",
    "offline.wer_talk": "glance/wer_talk",
    "exact.lip_corr": "glance/lip_corr",
    "exact.lip_offset_within_42ms": "glance/lip_in_time",
    "exact.looks": "glance/looks",
    "exact.voice_class": "glance/voice",
    "exact.event_f1@80ms": "glance/event_f1",
}
"""Metrics and what they are called in a training log."""
WRONG = "glance/wrong"
"""Mean of what is missing to perfect over all figures of a glance, 0 best: what the best checkpoint is kept by."""


def validation_cases(counts: Mapping[str, int] = COUNTS) -> tuple[Case, ...]:
    """Return prompts of the val split, never of the test split; always the same."""
    return held_out("val", counts)


def glance(cases: Sequence[Case], clips: Sequence[Clip]) -> dict[str, float]:
    """Score clips of these cases, one figure per metric, and ``WRONG``.

    About 0.3 s a clip. A clip that cannot be measured counts as wrong.
    """
    observations = [observe(case, clip, condition="generated") for case, clip in zip(cases, clips, strict=True)]
    figures, wrong = {}, []
    for metric in METRICS:
        figure = measure(metric, "generated", observations) if metric.name in NAMES else None
        if figure is not None and figure.value is not None:
            figures[NAMES[metric.name]] = figure.value
            wrong.append(min(1.0, figure.value if metric.better == "down" else 1 - figure.value))
    return figures | {WRONG: sum(wrong) / len(wrong)}


def glancing(experiment: Experiment, codecs: Path, *, counts: Mapping[str, int] = COUNTS, batch: int = 4) -> Hook:
    """Make a hook for training that generates and scores clips of the val split with the weights of that step.

    ``codecs`` is a folder with vae, audio_vae and vocoder. Keep the best checkpoint by ``WRONG``.
    """
    cases = validation_cases(counts)
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
        film = Film(name="training", checkpoint=checkpoint, device=str(device))
        clips: list[Clip] = []
        for start in range(0, len(requests), batch):
            clips += film.generate_many(requests[start : start + batch])
        return glance(cases, clips)

    return hook
