"""The second flow: request -> encoders -> task -> sampler(guided(model)) -> codecs -> clip."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from phonofilm.checkpoints.folder import Checkpoint, load_checkpoint
from phonofilm.diffusion.guidance import guided, level
from phonofilm.diffusion.tasks import Pair, Task, compose
from phonofilm.diffusion.tokens import Geometry, audio_latents, audio_tokens, patchify, stack_conditions, unpatchify
from phonofilm.errors import UserError, unknown
from phonofilm.files.plain import check_name
from phonofilm.generation import inputs
from phonofilm.generation.shot import Shot, resolve
from phonofilm.types import AVInput, AVOutput, Clip, Layout, Model, Request
from phonofilm.version import __version__

Progress = Callable[[float], object]
SHIPPED = Path(__file__).parents[1] / "models"
"""Checkpoint folders that come with the package."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load(
    model: str = "pocket", *, device: str = "cpu", recipe: str | None = None, trust: str | Path | None = None
) -> Pipeline:
    """A model ready to generate: a shipped model's name, a checkpoint folder or a hub id ("owner/name").

    ``recipe`` names another than the folder's, perhaps foreign code. ``trust`` names the model's folder once more,
    where that holds code that may run: a speaker encoder in TorchScript. Raises ``UserError`` for an unknown name (with
    the nearest), a device that is not there and a folder that is damaged.
    """
    name, folder = find_model(model)
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch says it in either way
        reason = str(error).splitlines()[0]
        raise UserError(f"device {device!r} cannot be used here ({reason}); cpu always can") from error
    checkpoint = load_checkpoint(folder, recipe=recipe, device=device)
    if trust is not None:
        if Path(trust).resolve() != folder.resolve():
            raise UserError(f"--trust {trust}: the model's folder is {folder}; code runs from nowhere else")
        checkpoint = replace(checkpoint, experiment=checkpoint.experiment.trusting(folder))
    return Pipeline(name=name, checkpoint=checkpoint, device=device)


def find_model(model: str) -> tuple[str, Path]:
    """The name and the folder of a shipped model, of a folder on disk, or of a hub repository (downloaded)."""
    shipped = {path.name: path for path in sorted(SHIPPED.glob("*")) if (path / "experiment.json").is_file()}
    if model in shipped:
        return model, shipped[model]
    path = Path(model)
    check_name(path)
    if path.exists():
        return path.resolve().name, path
    if HUB_ID.fullmatch(model):
        return model, _download(model)
    raise unknown("model", model, shipped)


def _download(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(model, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt"]))
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"model {model!r} is neither a folder here nor to be had from the hub ({reason})") from error


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A model with its codecs, encoders and settings: it turns requests into clips."""

    name: str
    checkpoint: Checkpoint
    device: str = "cpu"

    def generate(self, request: Request, *, progress: Progress | None = None) -> Clip:
        """One clip; the same request on the same machine gives the same clip.

        Raises ``UserError`` for a request that the model was not made for.
        """
        return self.generate_many([request], progress=progress)[0]

    def generate_many(self, requests: Sequence[Request], *, progress: Progress | None = None) -> list[Clip]:
        """Clips of one length and one task, sampled together: the same as one by one, up to rounding.

        ``progress`` is called with the share of the way from noise to data.
        """
        return self.draw([self.resolve(request) for request in requests], progress=progress)

    def resolve(self, request: Request) -> Shot:
        """All that making a request's clip reads; ``UserError`` for one that the model was not made for."""
        return resolve(request, self.checkpoint)

    def draw(self, shots: Sequence[Shot], *, progress: Progress | None = None) -> list[Clip]:
        """The clips of shots of one kind, sampled together; see ``generate_many``."""
        kinds = {shot.kind for shot in shots}
        if len(kinds) != 1:
            raise ValueError(f"{len(kinds)} lengths or tasks in one batch: sample together what has the same kind")
        return generate(self, shots, progress or (lambda share: None))

    def adjusted(self, *, steps: int | None = None, guidance: float | None = None) -> Pipeline:
        """The same model with other sampling steps or another guidance scale (1 is none)."""
        experiment = self.checkpoint.experiment
        if steps is not None:
            experiment = replace(experiment, sampling=replace(experiment.sampling, steps=steps))
        if guidance is not None:
            if len(experiment.guidance) != 1:
                count = len(experiment.guidance)
                raise UserError(f"{experiment.name} has {count} terms of guidance, not one scale: change its recipe")
            term = replace(experiment.guidance[0], video_scale=guidance, audio_scale=guidance)
            experiment = replace(experiment, guidance=(term,))
        return replace(self, checkpoint=replace(self.checkpoint, experiment=experiment))

    def manifest(self, shot: Shot) -> dict[str, object]:
        """How a clip came to be, for its metadata: the same manifest means the same clip on the same machine."""
        checkpoint, prompt = self.checkpoint, shot.prompt
        return {
            "phonofilm": __version__,
            "model": self.name,
            "weights": checkpoint.hash,
            "recipe": checkpoint.experiment.name,
            "task": shot.task.name,
            "prompt": {
                "scene": prompt.scene,
                "sound": prompt.sound,
                "speech": [list(line) for line in prompt.speech],
                "negative": prompt.negative,
            },
            "given": shot.given,
            "seed": shot.seed,
            "seconds": round(shot.geometry.seconds, 4),
            "steps": checkpoint.experiment.sampling.steps,
            "guidance": [[term.video_scale, term.audio_scale] for term in checkpoint.experiment.guidance],
        }


@torch.no_grad()
def generate(pipeline: Pipeline, shots: Sequence[Shot], progress: Progress) -> list[Clip]:
    """Shots of one kind to clips: compose, sample, decode."""
    experiment, (geometry, task), layout = pipeline.checkpoint.experiment, shots[0].kind, shots[0].layout
    noise = Pair(*(part.to(pipeline.device) for part in draw_noise(pipeline, layout, [shot.seed for shot in shots])))
    clean = place_given(pipeline, shots, noise)
    one = torch.ones(len(shots), device=pipeline.device)
    cond = stack_conditions([shot.cond for shot in shots], pipeline.device)
    input = compose(task, layout, clean, noise, Pair(one, one), cond)
    passes = experiment.sampling.passes
    model = guided(pipeline.checkpoint.backbone, *experiment.guidance, finish=experiment.finish, passes=passes)
    output = experiment.sampling.run(watched(model, progress), input)
    clips = decode(pipeline, with_clip(output, task, layout, clean), geometry)
    progress(1.0)
    return [inputs.restored(clip, shot.fitted, shot.kept) for clip, shot in zip(clips, shots)]


def draw_noise(pipeline: Pipeline, layout: Layout, seeds: Sequence[int]) -> Pair:
    """Noise for every token from one CPU generator per sample: a seed gives the same at any batch size."""
    checkpoint = pipeline.checkpoint
    rows, columns = checkpoint.experiment.patch
    shapes = (
        (layout.video.tokens + layout.video_refs, checkpoint.video_codec.channels * rows * columns),
        (layout.audio.tokens + layout.audio_refs, checkpoint.audio_codec.channels),
    )
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return Pair(*(torch.stack([torch.randn(shape, generator=g) for g in generators]) for shape in shapes))


def place_given(pipeline: Pipeline, shots: Sequence[Shot], like: Pair) -> Pair:
    """Tokens of what the shots were given, from the start of the clip, then those of voices; zeros elsewhere."""
    codec, (geometry, _) = pipeline.checkpoint.video_codec, shots[0].kind
    layout, samples = shots[0].layout, geometry.num_samples(pipeline.checkpoint.audio_codec.sample_rate)
    clean = Pair(torch.zeros_like(like.video), torch.zeros_like(like.audio))
    for index, given in enumerate(shot.fitted for shot in shots):
        video = given.image if given.video is None else given.video
        if video is not None:
            whole = video[: (len(video) - 1) // codec.temporal_stride * codec.temporal_stride + 1]
            latents = codec.encode(inputs.signed(whole).to(pipeline.device))
            tokens = patchify(latents, pipeline.checkpoint.experiment.patch)[0]
            clean.video[index, : len(tokens)] = tokens
        if given.audio is not None:
            tokens = _audio_tokens(pipeline, given.audio, samples)
            clean.audio[index, : len(tokens)] = tokens
        if given.voice is not None and layout.audio_refs:
            tokens = _audio_tokens(pipeline, given.voice, given.voice.shape[-1])
            clean.audio[index, layout.audio.tokens :] = tokens
    return clean


def _audio_tokens(pipeline: Pipeline, wave: Float[Tensor, "1 N"], samples: int) -> Float[Tensor, "S C"]:
    """Tokens of sound that silence follows until it has so many samples."""
    whole = F.pad(wave, (0, samples - wave.shape[-1])).to(pipeline.device)
    return audio_tokens(pipeline.checkpoint.audio_codec.encode(whole[None]))[0]


def with_clip(output: AVInput, task: Task, layout: Layout, clean: Pair) -> AVInput:
    """A sampled input with the known tokens of the clip itself in the picture, so that decoding continues from them.

    Where the place of known tokens is beside the stream, the network has drawn them anew. A portrait is no part of
    the clip: its first frame stays as it was made.
    """
    if not task.needs & {"video", "clip"}:
        return output
    known = task.known(layout)[0].to(clean.video.device)[None, :, None]
    return replace(output, video=replace(output.video, x=torch.where(known, clean.video, output.video.x)))


def watched(model: Model, progress: Progress) -> Model:
    """The model, telling how far from noise it is called."""

    def call(input: AVInput) -> AVOutput:
        progress(1 - level(input))
        return model(input)

    return call


def decode(pipeline: Pipeline, output: AVInput, geometry: Geometry) -> list[Clip]:
    """Pictures and sound of equal length out of clean tokens; an absent stream has no pixel frames or no samples.

    Clip by clip: it takes less memory, and what a codec makes of a clip does not depend on the others.
    """
    checkpoint, video, audio = pipeline.checkpoint, output.video, output.audio
    rate = checkpoint.audio_codec.sample_rate
    pixels = torch.zeros(len(video.x), 0, 3, geometry.height, geometry.width, dtype=torch.uint8)
    sound = torch.zeros(len(audio.x), 1, 0)
    if video.grid.frames:
        latents = unpatchify(video.x, video.grid, checkpoint.experiment.patch)
        made = torch.cat([checkpoint.video_codec.decode(one[None]) for one in latents])
        pixels = ((made + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).transpose(1, 2).cpu()
    if audio.grid.frames:
        latents = audio_latents(audio.x, audio.grid)
        wave = torch.cat([checkpoint.audio_codec.decode(one[None]) for one in latents])
        sound = wave[..., : geometry.num_samples(rate)].float().clamp(-1, 1).cpu()
    return [Clip(video=p, audio=s, fps=geometry.fps, sample_rate=rate) for p, s in zip(pixels, sound)]
