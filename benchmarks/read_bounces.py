"""How well contacts of a ball are read from pictures like a model's: python benchmarks/read_bounces.py --clips 24.

True clips are noised in picture and sound to a level and drawn again from there by the shipped model, so that they look
like generated ones and keep the contacts of their scripts. Level 0 is the codecs alone. Prints F1 of the contacts
seen against the true ones, within 80 ms, and the spread of their offsets.
"""

import argparse
import statistics

import torch

import phonofilm
from phonofilm.diffusion.guidance import guided
from phonofilm.diffusion.sampling import sigmas
from phonofilm.diffusion.tasks import Pair, compose
from phonofilm.diffusion.tokens import audio_tokens, patchify
from phonofilm.evaluate.readers import events
from phonofilm.generation.inputs import signed
from phonofilm.generation.pipeline import Pipeline, decode, draw_noise
from phonofilm.puppets import bounces, stage
from phonofilm.puppets.performance import perform
from phonofilm.puppets.script import Script, write_script
from phonofilm.types import Clip, Request


@torch.no_grad()
def drawn_again(pipeline: Pipeline, script: Script, level: float) -> Clip:
    """The clip of a script, through the codecs and drawn by the model from a noise level on."""
    checkpoint, experiment = pipeline.checkpoint, pipeline.checkpoint.experiment
    performance = perform(script)
    latents = checkpoint.video_codec.encode(signed(stage.draw([performance]).video[0]))
    sound = audio_tokens(checkpoint.audio_codec.encode(performance.wave[None]))
    clean = Pair(patchify(latents, experiment.patch), sound)
    geometry, task = pipeline.resolve(Request(prompt=script.prompt)).kind
    layout = experiment.layout(geometry, checkpoint.video_codec, checkpoint.audio_codec)
    noise = draw_noise(pipeline, layout, [script.seed])
    start = torch.full((1,), level)
    input = compose(task, layout, clean, noise, Pair(start, start), experiment.encode([script.prompt], voices=[()]))
    levels = sigmas(experiment.sampling.steps, experiment.sampling.shift)
    levels = torch.cat((start, levels[levels < level - 1e-6]))
    model = guided(checkpoint.backbone, *experiment.guidance, passes=experiment.sampling.passes)
    return decode(pipeline, experiment.sampling.sampler(model, input, levels), geometry)[0]


def main() -> None:
    """Print one line for each level."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--model", default="pocket")
    options = parser.parse_args()
    pipeline = phonofilm.load(options.model)
    for level in (0.0, 0.5, 0.75, 0.9):
        pairs = count = 0
        offsets: list[float] = []
        for seed in range(options.clips):
            script = write_script(seed, split="val", stage="ball")
            true = [event.seconds for event in script.events]
            seen = bounces.read_contacts(drawn_again(pipeline, script, level).video, script.fps)
            match = events.match(true, seen, 0.08)
            pairs, count = pairs + match.pairs, count + len(true) + len(seen)
            offsets += match.offsets
        spread = 1000 * statistics.pstdev(offsets)
        print(f"drawn from level {level:g}: F1 {2 * pairs / count:.3f}, offsets spread by {spread:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
