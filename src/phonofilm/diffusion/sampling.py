"""From noise to data: samplers are functions of a model, an input and the noise levels to visit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.diffusion.flow import shift
from phonofilm.diffusion.guidance import Passes, one_by_one
from phonofilm.types import AVInput, AVOutput, Model, Sampler, Stream


def sigmas(steps: int, shift_factor: float = 1.0) -> Float[Tensor, " N"]:
    """Noise levels from 1 to 0 for so many steps, moved towards noise by ``shift_factor``."""
    if steps < 1:
        raise ValueError(f"{steps} sampling steps: at least 1 is needed")
    return shift(torch.linspace(1, 0, steps + 1), shift_factor)


def euler(model: Model, input: AVInput, sigmas: Float[Tensor, " N"]) -> AVInput:
    """Follow the velocity in straight steps (one call of the model each)."""
    for now, then in zip(sigmas[:-1], sigmas[1:]):
        input = step_to(input, model(input), now, then)
    return input


def heun(model: Model, input: AVInput, sigmas: Float[Tensor, " N"]) -> AVInput:
    """Steps along the mean of the velocities at both ends (two calls each; the last step is Euler's)."""
    for now, then in zip(sigmas[:-1], sigmas[1:]):
        here = model(input)
        ahead = step_to(input, here, now, then)
        if then > 0:
            there = model(ahead)
            mean = AVOutput(video=(here.video + there.video) / 2, audio=(here.audio + there.audio) / 2)
            ahead = step_to(input, mean, now, then)
        input = ahead
    return input


def step_to(input: AVInput, output: AVOutput, now: Float[Tensor, ""], then: Float[Tensor, ""]) -> AVInput:
    """The input carried from one noise level to another along a velocity; given tokens stay."""
    return replace(
        input,
        video=_step_stream(input.video, output.video, now, then),
        audio=_step_stream(input.audio, output.audio, now, then),
    )


def _step_stream(
    stream: Stream, velocity: Float[Tensor, "B S C"], now: Float[Tensor, ""], then: Float[Tensor, ""]
) -> Stream:
    x = stream.x + (then - now).to(stream.x) * velocity
    return replace(
        stream,
        x=torch.where(stream.given.unsqueeze(-1), stream.x, x),
        sigma=torch.where(stream.sigma > 0, then.to(stream.sigma), stream.sigma),
    )


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a recipe samples by default."""

    sampler: Sampler = euler
    steps: int = 16
    shift: float = 3.0
    passes: Passes = one_by_one
    """How the passes of guidance are run."""

    def run(self, model: Model, input: AVInput) -> AVInput:
        """Turn noise into data by the recipe's sampler, steps and shift."""
        return self.sampler(model, input, sigmas(self.steps, self.shift))


def counted(model: Model, tick: Callable[[], object]) -> Model:
    """The model, calling ``tick`` after every call: for progress bars."""

    def call(input: AVInput) -> AVOutput:
        output = model(input)
        tick()
        return output

    return call


def from_scheduler(scheduler: object) -> Sampler:
    """A sampler out of a flow-matching scheduler of diffusers (``set_timesteps(sigmas=...)`` and ``step``).

    Each stream gets a copy of the scheduler, since it keeps a step counter.
    """
    import copy

    def sample(model: Model, input: AVInput, sigmas: Float[Tensor, " N"]) -> AVInput:
        copies = {name: copy.deepcopy(scheduler) for name in ("video", "audio")}
        for part in copies.values():
            part.set_timesteps(sigmas=sigmas[:-1].cpu().numpy())  # pyright: ignore[reportAttributeAccessIssue]
        times = copies["video"].timesteps  # pyright: ignore[reportAttributeAccessIssue]
        for index, time in enumerate(times):
            output = model(input)
            then = copies["video"].sigmas[index + 1]  # pyright: ignore[reportAttributeAccessIssue]
            streams = {
                name: _stepped(part, getattr(output, name), time, getattr(input, name), then)
                for name, part in copies.items()
            }
            input = replace(input, **streams)
        return input

    return sample


def _stepped(scheduler: object, velocity: Tensor, time: Tensor, stream: Stream, then: Tensor) -> Stream:
    x = scheduler.step(velocity, time, stream.x, return_dict=False)[0]  # pyright: ignore[reportAttributeAccessIssue]
    return replace(
        stream,
        x=torch.where(stream.given.unsqueeze(-1), stream.x, x),
        sigma=torch.where(stream.sigma > 0, then.to(stream.sigma), stream.sigma),
    )
