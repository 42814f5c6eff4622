"""The second flow: request -> encoders -> task -> sampler(guided(model)) -> codecs -> clip."""

from __future__ import annotations

import hashlib
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
from phonofilm.diffusion.tokens import Geometry, audio_latents, audio_tokens, patchify, unpatchify
from phonofilm.errors import UserError, unknown
from phonofilm.generation import inputs
from phonofilm.generation.request import ABSENT, brought, check_request, geometry_of, span_of, voices_of
from phonofilm.types import AVInput, AVOutput, Clip, Layout, Model, Prompt, Request
from phonofilm.version import __version__

Progress = Callable[[float], object]
SHIPPED = Path(__file__).parent / "models"
"""Checkpoint folders that come with the package."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
SLACK = 1.1
"""How much more speech than the 99th percentile of the training data may be tried."""
WORD = re.compile(r"[a-z0-9']+")


def load(model: str = "pocket", *, device: str = "cpu", recipe: str | None = None) -> Pipeline:
    """A model ready to generate: a shipped model's name, a checkpoint folder or a hub id ("owner/name").

    ``recipe`` names another than the folder's, perhaps foreign code. Raises ``UserError`` for an unknown name (with
    the nearest) or a device that is not there.
    """
    name, folder = find_model(model)
    try:
        torch.empty(1, device=device)
        checkpoint = load_checkpoint(folder, recipe=recipe, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch says it in either way
        reason = str(error).splitlines()[0]
        raise UserError(f"device {device!r} cannot be used here ({reason}); cpu always can") from error
    return Pipeline(name=name, checkpoint=checkpoint, device=device)


def find_model(model: str) -> tuple[str, Path]:
    """The name and the folder of a shipped model, of a folder on disk, or of a hub repository (downloaded)."""
    shipped = {path.name: path for path in sorted(SHIPPED.glob("*")) if (path / "experiment.json").is_file()}
    if model in shipped:
        return model, shipped[model]
    path = Path(model)
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
        for request in requests:
            self.check(request)
        kinds = {self.kind(request) for request in requests}
        if len(kinds) != 1:
            raise ValueError(f"{len(kinds)} lengths or tasks in one batch: sample together what has the same kind")
        return generate(self, requests, progress or (lambda share: None))

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

    def kind(self, request: Request) -> tuple[Geometry, Task]:
        """Length and task of a request; raises ``UserError`` where the model has none that fits."""
        check_request(request)
        experiment, codec = self.checkpoint.experiment, self.checkpoint.video_codec
        span = span_of(request, experiment.geometry.fps)
        task = experiment.task_for(brought(request), absent=ABSENT[request.only], span=span)
        trained = self.checkpoint.training.num_frames
        return geometry_of(request, experiment.geometry, codec.temporal_stride, trained), task

    def check(self, request: Request) -> None:
        """Raise ``UserError`` for a request that the model was not made for, before anything is computed."""
        geometry, task = self.kind(request)
        inputs.check_kept(request, geometry, self.kept(request))
        inputs.check_reference(request, task)
        # Refuses characters that it cannot take.
        experiment = self.checkpoint.experiment
        experiment.encode([request.prompt], voices=[experiment.speaker_vectors(voices_of(request))])
        words = any((request.prompt.scene, request.prompt.sound, request.prompt.speech))
        if not words and not brought(request) & {"video", "audio", "clip"}:
            raise UserError('nothing to make: the prompt is empty; say what to show, "a woman with red hair"')
        fastest = self.checkpoint.training.letters_per_second[-1]
        letters = count_letters(request.prompt)
        if fastest and letters > SLACK * fastest * geometry.seconds:
            raise UserError(
                f"the speech is too long: its {letters} letters need a clip of {letters / fastest:.1f} s at the pace "
                f"this model speaks, and the clip lasts {geometry.seconds:.1f} s; say it in fewer words"
            )

    def kept(self, request: Request) -> inputs.Kept:
        """The pixel frames and samples of the clip that will be those of the request."""
        checkpoint, (geometry, task) = self.checkpoint, self.kind(request)
        video, audio = checkpoint.video_codec, checkpoint.audio_codec
        layout = checkpoint.experiment.layout(geometry, video, audio)
        return inputs.kept(task, layout, geometry, video.temporal_stride, audio.sample_rate)

    def notes(self, request: Request) -> list[str]:
        """What is done to the given parts of a request, in lines for people: widened spans, fitted sizes and rates."""
        geometry, _ = self.kind(request)
        return inputs.notes(request, geometry, self.checkpoint.audio_codec.sample_rate, self.kept(request))

    def warnings(self, request: Request) -> list[str]:
        """What about a request is unlike the training data, in lines for people."""
        prompt, training = request.prompt, self.checkpoint.training
        said = " ".join(words for _, words in prompt.speech)
        lines = (
            ("heard", said, training.words),
            ("read", f"{prompt.scene} {prompt.sound} {prompt.negative}", training.scene_words),
        )
        found = []
        for verb, text, known in lines:
            strange = [word for word in dict.fromkeys(WORD.findall(text.lower())) if word not in known]
            if strange and known:
                found.append(f"in training the model never {verb} {', '.join(map(repr, strange))}")
        return found

    def manifest(self, request: Request) -> dict[str, object]:
        """How a clip came to be, for its metadata: the same manifest means the same clip on the same machine."""
        checkpoint, (geometry, task) = self.checkpoint, self.kind(request)
        prompt = request.prompt
        return {
            "phonofilm": __version__,
            "model": self.name,
            "weights": checkpoint.hash,
            "recipe": checkpoint.experiment.name,
            "task": task.name,
            "prompt": {
                "scene": prompt.scene,
                "sound": prompt.sound,
                "speech": [list(line) for line in prompt.speech],
                "negative": prompt.negative,
            },
            "given": {name: _digest(value) for name, value in _parts(request).items()},
            "seed": request.seed,
            "seconds": round(geometry.seconds, 4),
            "steps": checkpoint.experiment.sampling.steps,
            "guidance": [[term.video_scale, term.audio_scale] for term in checkpoint.experiment.guidance],
        }


@torch.no_grad()
def generate(pipeline: Pipeline, requests: Sequence[Request], progress: Progress) -> list[Clip]:
    """Requests of one kind to clips: encode, compose, sample, decode."""
    checkpoint, experiment = pipeline.checkpoint, pipeline.checkpoint.experiment
    geometry, task = pipeline.kind(requests[0])
    layout = task.layout(experiment.layout(geometry, checkpoint.video_codec, checkpoint.audio_codec))
    noise = Pair(*(part.to(pipeline.device) for part in draw_noise(pipeline, layout, [r.seed for r in requests])))
    fitted = [inputs.fit(request, geometry, checkpoint.audio_codec.sample_rate) for request in requests]
    clean = place_given(pipeline, requests, fitted, layout, noise)
    one = torch.ones(len(requests), device=pipeline.device)
    voices = [experiment.speaker_vectors(voices_of(request)) for request in requests]
    cond = experiment.encode([r.prompt for r in requests], pipeline.device, voices=voices)
    input = compose(task, layout, clean, noise, Pair(one, one), cond)
    passes = experiment.sampling.passes
    model = guided(checkpoint.backbone, *experiment.guidance, finish=experiment.finish, passes=passes)
    output = experiment.sampling.run(watched(model, progress), input)
    clips = decode(pipeline, with_clip(output, task, layout, clean), geometry)
    progress(1.0)
    return [inputs.restored(clip, part, pipeline.kept(r)) for clip, part, r in zip(clips, fitted, requests)]


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


def place_given(
    pipeline: Pipeline, requests: Sequence[Request], fitted: Sequence[inputs.Fitted], layout: Layout, like: Pair
) -> Pair:
    """Tokens of what the requests bring, from the start of the clip, then those of voices; zeros elsewhere."""
    codec, (geometry, task) = pipeline.checkpoint.video_codec, pipeline.kind(requests[0])
    rate, hop = pipeline.checkpoint.audio_codec.sample_rate, pipeline.checkpoint.audio_codec.hop
    clean = Pair(torch.zeros_like(like.video), torch.zeros_like(like.audio))
    for index, (request, part) in enumerate(zip(requests, fitted)):
        video = part.video
        if video is None and request.image is not None:
            video = inputs.scaled(request.image[None], geometry)
        if video is not None:
            whole = video[: (len(video) - 1) // codec.temporal_stride * codec.temporal_stride + 1]
            latents = codec.encode(inputs.signed(whole).to(pipeline.device))
            tokens = patchify(latents, pipeline.checkpoint.experiment.patch)[0]
            clean.video[index, : len(tokens)] = tokens
        if part.audio is not None:
            tokens = _audio_tokens(pipeline, part.audio, geometry.num_samples(rate))
            clean.audio[index, : len(tokens)] = tokens
        if task.reference is not None and layout.audio_refs:
            voice = task.reference.wave(inputs.mono(request.voice[0][1], rate), rate, hop)
            tokens = _audio_tokens(pipeline, voice, voice.shape[-1])
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
    """Pictures and sound of equal length out of clean tokens; an absent stream has no pixel frames or no samples."""
    checkpoint, video, audio = pipeline.checkpoint, output.video, output.audio
    rate = checkpoint.audio_codec.sample_rate
    pixels = torch.zeros(len(video.x), 0, 3, geometry.height, geometry.width, dtype=torch.uint8)
    sound = torch.zeros(len(audio.x), 1, 0)
    if video.grid.frames:
        latents = unpatchify(video.x, video.grid, checkpoint.experiment.patch)
        made = torch.cat([checkpoint.video_codec.decode(one[None]) for one in latents])  # one by one: less memory
        pixels = ((made + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).transpose(1, 2).cpu()
    if audio.grid.frames:
        wave = checkpoint.audio_codec.decode(audio_latents(audio.x, audio.grid))
        sound = wave[..., : geometry.num_samples(rate)].float().clamp(-1, 1).cpu()
    return [Clip(video=p, audio=s, fps=geometry.fps, sample_rate=rate) for p, s in zip(pixels, sound)]


def _parts(request: Request) -> dict[str, object]:
    return {name: getattr(request, name) for name in sorted(brought(request))}


def count_letters(prompt: Prompt) -> int:
    """Letters and digits of all that is said."""
    return sum(character.isalnum() for _, words in prompt.speech for character in words)


def _digest(part: object) -> object:
    """Something short that tells given parts apart; numbers as they are."""
    if isinstance(part, Tensor):
        return hashlib.sha256(part.contiguous().cpu().numpy().tobytes()).hexdigest()[:16]
    if isinstance(part, Clip):
        return [_digest(part.video), _digest(part.audio), part.fps, part.sample_rate]
    return [_digest(one) for one in part] if isinstance(part, tuple) else part
