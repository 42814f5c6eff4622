"""Clips to look at while a model is trained: mp4s and a sheet with a few pixel frames of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from phonofilm.checkpoints.folder import Checkpoint, Training
from phonofilm.codecs.loading import load_audio_codec, load_video_codec
from phonofilm.network.backbone import Backbone
from phonofilm.recipes.experiment import Experiment
from phonofilm.train.loop import Hook
from phonofilm.types import Clip, Prompt, Request

FRAMES = 6
"""Pixel frames of each clip on the sheet."""


def sampling(experiment: Experiment, codecs: str | Path, folder: str | Path, prompts: Sequence[Prompt]) -> Hook:
    """A hook that writes ``folder/step-N``: a clip for each prompt and ``sheet.png``, one row a clip.

    All processes sample, since each may hold but a part of the weights; the first one writes. A sampler's seed is
    the number of the prompt, so that the same clip can be watched growing.
    """
    folder = Path(folder)
    video, audio = load_video_codec(codecs), load_audio_codec(codecs)
    requests = [Request(prompt=prompt, seed=seed) for seed, prompt in enumerate(prompts)]

    def hook(step: int, backbone: Backbone) -> Mapping[str, float]:
        from phonofilm.generation.pipeline import Pipeline

        device = str(next(backbone.parameters()).device)
        checkpoint = Checkpoint(
            experiment=experiment,
            backbone=backbone,
            video_codec=video.to(device),
            audio_codec=audio.to(device),
            training=Training(),
            hash=f"step {step}",
        )
        clips = Pipeline(name=experiment.name, checkpoint=checkpoint, device=device).generate_many(requests)
        if first():
            write(folder / f"step-{step:08d}", clips)
        return {}

    return hook


def first() -> bool:
    """Whether this process writes for all."""
    from torch import distributed

    return not distributed.is_initialized() or distributed.get_rank() == 0


def write(folder: Path, clips: Sequence[Clip]) -> None:
    """Write clips and their sheet."""
    from phonofilm.files.media import write_clip

    folder.mkdir(parents=True, exist_ok=True)
    for number, clip in enumerate(clips):
        write_clip(folder / f"{number}.mp4", clip)
    sheet([clip for clip in clips if len(clip.video)]).save(folder / "sheet.png")


def sheet(clips: Sequence[Clip], frames: int = FRAMES) -> Image.Image:
    """Pixel frames spread evenly over each clip, one row a clip."""
    rows = []
    for clip in clips:
        picks = [round((k + 0.5) * len(clip.video) / frames - 0.5) for k in range(frames)]
        rows.append(Image.fromarray(clip.video[picks].permute(2, 0, 3, 1).flatten(1, 2).contiguous().numpy()))
    whole = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)))
    for number, row in enumerate(rows):
        whole.paste(row, (0, sum(other.height for other in rows[:number])))
    return whole
