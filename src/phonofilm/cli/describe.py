"""What a recipe, a model or a clip is, in a few lines for people; weights are neither made nor loaded."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import torch
from torch import nn

from phonofilm.files.media import read_manifest
from phonofilm.files.plain import check_name
from phonofilm.recipes.experiment import Experiment
from phonofilm.recipes.lookup import find_recipe, names_of


def show(name: str) -> str:
    """A clip's manifest, a model's training and figures above its recipe, or a recipe.

    Raises ``UserError`` for a name that is none of these.
    """
    from phonofilm.checkpoints.folder import read_experiment
    from phonofilm.generation.pipeline import find_model

    path = Path(name)
    check_name(path)
    if path.is_file():
        return json.dumps(read_manifest(path), indent=1)
    if ":" in name or (not path.is_dir() and name.split("/")[0] in _recipes()):
        return describe(find_recipe(name))
    content = read_experiment(find_model(name)[1])
    training = content["training"]
    facts = {**training.get("notes", {}), **training.get("metrics", {})}
    lines = [f"{name}: trained with phonofilm {content['version']}", *(f"  {key}: {facts[key]}" for key in facts)]
    return "\n".join([*lines, describe(find_recipe(content["recipe"], foreign=False))])


def _recipes() -> set[str]:
    return {*names_of("recipe"), *names_of("study")}


def describe(experiment: Experiment) -> str:
    """Tokens, parameters by stream, tasks and settings of a recipe."""
    with torch.device("meta"):
        backbone = experiment.model.build()
        video_codec = experiment.video_codec()
    audio_codec = experiment.audio_codec()  # its filterbank wants real numbers; the network is small
    geometry = experiment.geometry
    layout = experiment.layout(geometry, video_codec, audio_codec)
    counts = parameters(backbone)
    tasks = ", ".join(f"{task.name} {share:.0%}" for task, share in experiment.tasks)
    scales = ", ".join(f"{term.video_scale:g} / {term.audio_scale:g}" for term in experiment.guidance) or "none"
    grid = layout.video
    lines = [
        f"recipe {experiment.name}: {type(experiment.model).__name__}, {len(backbone.blocks)} blocks",
        f"  clips       {geometry.num_frames} pixel frames of {geometry.width} x {geometry.height} at "
        f"{geometry.fps:g} fps ({geometry.seconds:.2f} s), sound at {audio_codec.sample_rate} Hz",
        f"  tokens      {grid.tokens} video ({grid.frames} x {grid.rows} x {grid.columns}), "
        f"{layout.audio.tokens} audio",
        f"  parameters  {_millions(sum(counts.values()))} = "
        + " + ".join(f"{part} {_millions(count)}" for part, count in counts.items()),
        f"  tasks       {tasks}",
        f"  sampling    {experiment.sampling.steps} steps, shift {experiment.sampling.shift:g}; "
        f"guidance (video / audio) {scales}",
        f"  training    {experiment.train.steps} steps of {experiment.train.batch} samples, learning rate "
        f"{experiment.optim.lr:g}",
    ]
    return "\n".join(lines)


def parameters(backbone: nn.Module) -> dict[str, int]:
    """Number of parameters that serve video, audio and the conditions."""
    counts = Counter({"video": 0, "audio": 0, "conditions": 0})
    for name, tensor in backbone.named_parameters():
        streams = [part.split("_")[0] for part in name.split(".") if part.split("_")[0] in ("video", "audio")]
        counts[streams[0] if streams else "conditions"] += tensor.numel()
    return dict(counts)


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count < 1e9 else f"{count / 1e9:.2f} B"
