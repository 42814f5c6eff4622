"""Guidance of your own, on the shipped model's weights: python examples/own_guidance.py OUT.

A term of guidance moves the model away from what it says of an edited input; an edit is any function of an ``AVInput``.
What is not linear in velocities is a ``finish``: a function of the input, the plain and the guided output.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

import phonofilm
from phonofilm import Pipeline, Prompt, Request
from phonofilm.diffusion.guidance import Finish, Guidance
from phonofilm.types import AVInput, AVOutput


def without_scene(input: AVInput) -> AVInput:
    """The same request without its scene, which the shipped model saw on 15 % of its training samples."""
    return replace(input, cond=input.cond | {"scene": input.cond["nothing"]})


def without_words(input: AVInput) -> AVInput:
    """The same request with nothing said and nothing to be heard."""
    nothing = input.cond["nothing"]
    return replace(input, cond=input.cond | {"speech": nothing, "sound": nothing})


SCENE_THEN_WORDS = (
    Guidance(contrast=without_scene, video_scale=3.0, audio_scale=1.0, sigmas=(0.5, 1.0)),  # looks are decided early
    Guidance(contrast=without_words, video_scale=1.5, audio_scale=2.5),
)


def rescaled(input: AVInput, plain: AVOutput, guided: AVOutput) -> AVOutput:
    """Give the guided velocities the spread of the plain ones (Lin et al. 2023, arXiv 2305.08891, section 3.4)."""

    def spread_of(x: torch.Tensor) -> torch.Tensor:
        return x.std(dim=(1, 2), keepdim=True)

    return replace(
        guided,
        video=guided.video * spread_of(plain.video) / spread_of(guided.video),
        audio=guided.audio * spread_of(plain.audio) / spread_of(guided.audio),
    )


def with_guidance(pipeline: Pipeline, *terms: Guidance, finish: Finish | None = None) -> Pipeline:
    """The same model, guided otherwise."""
    experiment = replace(pipeline.checkpoint.experiment, guidance=terms, finish=finish)
    return replace(pipeline, checkpoint=replace(pipeline.checkpoint, experiment=experiment))


def main(out: Path, steps: int = 8) -> None:
    out.mkdir(parents=True, exist_ok=True)
    shipped = phonofilm.load("pocket").adjusted(steps=steps)  # half of the usual 16, for a quick look
    pipelines = {
        "shipped": shipped,
        "none": with_guidance(shipped),
        "scene_then_words": with_guidance(shipped, *SCENE_THEN_WORDS),
        "rescaled": with_guidance(shipped, *SCENE_THEN_WORDS, finish=rescaled),
    }
    scene = "a woman with blonde hair, tan skin, green background"
    prompt = Prompt(scene=scene, speech=(("", "lay green by t six now"),))
    request = Request(prompt=prompt, seed=3)
    clips = {name: pipeline.generate(request) for name, pipeline in pipelines.items()}
    for name, clip in clips.items():
        phonofilm.write_clip(out / f"{name}.mp4", clip)
        away = (clip.video.float() - clips["shipped"].video.float()).abs().mean()
        print(f"{out / name}.mp4: {away:.1f} of 255 away from the shipped guidance, mean over pixels")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["runs/guided"]))
