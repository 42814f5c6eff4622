"""A request, resolved once: every refusal happens here, before anything is drawn, and nothing is worked out twice."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from torch import Tensor

from phonofilm.checkpoints.folder import Checkpoint, Training
from phonofilm.diffusion.tasks import Task
from phonofilm.diffusion.tokens import Geometry
from phonofilm.errors import UserError
from phonofilm.generation import inputs
from phonofilm.generation.request import ABSENT, brought, check_request, geometry_of, span_of, voices_of
from phonofilm.types import Clip, Layout, Prompt, Request, Tokens

SLACK = 1.1
"""How much more speech than the 99th percentile of the training data may be tried."""
WORD = re.compile(r"[a-z0-9']+")


@dataclass(frozen=True, kw_only=True)
class Shot:
    """All that making one clip reads. What the request gave is fitted to the model; the request itself is let go."""

    prompt: Prompt
    seed: int
    geometry: Geometry
    task: Task
    layout: Layout
    """Where tokens stand, those of references included."""
    fitted: inputs.Fitted
    kept: inputs.Kept
    """Pixel frames and samples of the clip that will be the given ones."""
    cond: dict[str, Tokens]
    """Every condition and spare of the prompt and its voices (B = 1), on the CPU."""
    given: dict[str, object]
    """What tells given parts from others, by their names, for manifests."""
    notes: tuple[str, ...]
    """What was done to given parts, in lines for people: widened spans, fitted sizes and rates."""
    warnings: tuple[str, ...]
    """What is unlike the training data, in lines for people."""

    @property
    def kind(self) -> tuple[Geometry, Task]:
        """Shots of one kind can be sampled together."""
        return self.geometry, self.task


def resolve(request: Request, checkpoint: Checkpoint) -> Shot:
    """Everything about a request that does not depend on noise. Text and speaker encoders run here, once.

    Raises ``UserError`` for a request that the model was not made for.
    """
    check_request(request)
    experiment, training = checkpoint.experiment, checkpoint.training
    video, audio = checkpoint.video_codec, checkpoint.audio_codec
    span = span_of(request, experiment.geometry.fps)
    task = experiment.task_for(brought(request), absent=ABSENT[request.only], span=span)
    geometry = geometry_of(request, experiment.geometry, video.temporal_stride, training.num_frames)
    layout = experiment.layout(geometry, video, audio)
    kept = inputs.kept(task, layout, geometry, video.temporal_stride, audio.sample_rate)
    inputs.check_size(request, geometry)
    inputs.check_kept(request, geometry, kept)
    inputs.check_reference(request, task)
    _check_words(request, training, geometry)
    cond = experiment.encode([request.prompt], voices=[experiment.speaker_vectors(voices_of(request))])
    return Shot(
        prompt=request.prompt,
        seed=request.seed,
        geometry=geometry,
        task=task,
        layout=task.layout(layout),
        fitted=inputs.fit(request, geometry, task, audio),
        kept=kept,
        cond=cond,
        given={name: _digest(getattr(request, name)) for name in sorted(brought(request))},
        notes=tuple(inputs.notes(request, geometry, audio.sample_rate, kept)),
        warnings=tuple(_warnings(request.prompt, training)),
    )


def _check_words(request: Request, training: Training, geometry: Geometry) -> None:
    prompt = request.prompt
    words = any((prompt.scene, prompt.sound, prompt.speech))
    if not words and not brought(request) & {"video", "audio", "clip"}:
        raise UserError('nothing to make: the prompt is empty; say what to show, "a woman with red hair"')
    fastest, letters = training.letters_per_second[-1], count_letters(prompt)
    if fastest and letters > SLACK * fastest * geometry.seconds:
        raise UserError(
            f"the speech is too long: its {letters} letters need a clip of {letters / fastest:.1f} s at the pace "
            f"this model speaks, and the clip lasts {geometry.seconds:.1f} s; say it in fewer words"
        )


def count_letters(prompt: Prompt) -> int:
    """Letters and digits of all that is said."""
    return sum(character.isalnum() for _, words in prompt.speech for character in words)


def _warnings(prompt: Prompt, training: Training) -> list[str]:
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


def _digest(part: object) -> object:
    """Something short that tells given parts apart; numbers as they are."""
    if isinstance(part, Tensor):
        return hashlib.sha256(part.contiguous().cpu().numpy().tobytes()).hexdigest()[:16]
    if isinstance(part, Clip):
        when = [] if part.times is None else [_digest(part.times)]
        return [_digest(part.video), _digest(part.audio), part.fps, part.sample_rate, *when]
    return [_digest(one) for one in part] if isinstance(part, tuple) else part
